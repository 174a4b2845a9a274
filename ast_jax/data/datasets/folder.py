"""A folder of one's own photographs, with masks and, where they are known, cameras and key points.

Layout, all but the pictures optional::

    photos/NAME.jpg            or photos/images/NAME.jpg; sub-folders are searched
    photos/NAME_mask.png       or photos/masks/NAME.png; or the alpha channel; or a background of one colour
    photos/cameras.json        a camera for each picture; then the pictures of a sub-folder are views of one object
    photos/keypoints.json      or keypoints.csv
    photos/train.txt val.txt test.txt
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from ast_jax.data.archives import read_lines, source_folder
from ast_jax.data.crop import object_box
from ast_jax.data.cutout import Cutout, record_of
from ast_jax.data.datasets import ReadOptions
from ast_jax.data.datasets.annotations import Keypoints, make_camera, read_cameras, read_keypoints, safe_id
from ast_jax.data.images import IMAGE_SUFFIXES
from ast_jax.data.near_duplicates import split_by_group
from ast_jax.data.photo import load_photo
from ast_jax.data.records import Collection, LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord

# Margin on each side, fraction of the longer side of the object's box.
PADDING = 0.1
FRACTIONS = (0.8, 0.1, 0.1)
MASK_FOLDERS = ("masks", "mask")
MASK_ENDINGS = ("_mask", "-mask", ".mask")
IMAGE_FOLDER = "images"


def read(options: ReadOptions) -> Collection:
    """List the photographs of a folder.

    Args:
      options: ``source`` the folder or an archive of it; ``category`` any name; ``seed`` draws the splits where there
        are no lists of them.

    Returns:
      An object per photograph; an object per sub-folder where cameras are given.

    Raises:
      ValueError: no picture, or a file of cameras, key points or splits that does not fit; the message names it.
    """
    root = source_folder(options.source)
    pictures = find_pictures(root)
    cameras, keypoints = read_cameras(root), read_keypoints(root)
    groups = _group(pictures, root, by_folder=cameras is not None)
    splits = _read_splits(root, groups) or _draw_splits(list(groups), options.seed)
    load = partial(_load, root=root, size=options.image_size or 128, cameras=cameras, keypoints=keypoints)
    records = [
        LazyRecord(
            name,
            splits[name],
            partial(load, tuple(paths)),
            {"files": [_key(p, root) for p in paths]},
            (*paths, *(_masks(paths, root) if options.checking else ())),
        )
        for name, paths in groups.items()
        if name in splits
    ]
    unlisted = [name for name in groups if name not in splits]
    return Collection(
        category=options.category or Path(options.source).name.split(".")[0],
        camera="unknown" if cameras is None else "perspective",
        records=tuple(records),
        keypoint_names=keypoints.names,
        problems=tuple(f"{name}: in none of train.txt, val.txt and test.txt." for name in unlisted),
        settings={"source": "folder", "image_size": options.image_size or 128, "padding": PADDING},
    )


def find_pictures(root: Path) -> list[Path]:
    """The pictures below a folder that are no masks, in order of their names.

    Raises:
      ValueError: there is none.
    """
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    inside = {path: path.relative_to(root).parts for path in found}
    pictures = [
        path
        for path in found
        if not path.stem.endswith(MASK_ENDINGS)
        and not any(part in MASK_FOLDERS or part.startswith(".") for part in inside[path])
    ]
    if not pictures:
        raise ValueError(f"{root}: no picture there ({', '.join(IMAGE_SUFFIXES)}).")
    return pictures


def find_mask(picture: Path, root: Path) -> Path | None:
    """The mask of a picture: beside it with ``_mask`` in its name, or of the same name in a folder ``masks``.

    The folder lies beside the picture, beside the folder that holds it, or in the root with the same sub-folders.
    """
    names = [picture.with_name(picture.stem + ending) for ending in MASK_ENDINGS]
    inside = picture.relative_to(root).with_suffix("")
    below = Path(*[part for part in inside.parts if part != IMAGE_FOLDER])
    for folder in MASK_FOLDERS:
        places = [picture.parent / folder / picture.stem, root / folder / inside, root / folder / below]
        if picture.parent != root:
            places.append(picture.parent.parent / folder / picture.stem)
        names += [place.with_name(place.name + ending) for place in places for ending in ("", *MASK_ENDINGS)]
    candidates = [name.with_name(name.name + suffix) for name in names for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def _masks(pictures: list[Path], root: Path) -> list[Path]:
    found = [find_mask(picture, root) for picture in pictures]
    return [path for path in found if path is not None]


def _key(picture: Path, root: Path) -> str:
    """How cameras, key points and lists name a picture: its path in the folder, without ``images``."""
    parts = picture.relative_to(root).parts
    return "/".join(part for part in parts if part != IMAGE_FOLDER)


def _group(pictures: list[Path], root: Path, by_folder: bool) -> dict[str, list[Path]]:
    """Object id -> its pictures.

    Raises:
      ValueError: two pictures of one name.
    """
    groups: dict[str, list[Path]] = {}
    for path in pictures:
        key = _key(path, root)
        if by_folder and "/" in key:
            groups.setdefault(safe_id(key.rpartition("/")[0]), []).append(path)
            continue
        name = safe_id(key.rpartition(".")[0])
        if name in groups:
            raise ValueError(f"{path}: {groups[name][0]} has the same name ({name}); rename one of them.")
        groups[name] = [path]
    return groups


def _read_splits(root: Path, groups: dict[str, list[Path]]) -> dict[str, str] | None:
    """Object id -> split, by the lists; None where there are none."""
    paths = {split: root / f"{split}.txt" for split in SPLITS if (root / f"{split}.txt").is_file()}
    if not paths:
        return None
    names = {name: name for name in groups}
    names |= {safe_id(_key(path, root)): name for name, files in groups.items() for path in files}
    splits: dict[str, str] = {}
    for split, path in paths.items():
        for line in read_lines(path):
            name = names.get(safe_id(line.removeprefix("./").removeprefix(f"{IMAGE_FOLDER}/").rstrip("/")))
            if name is None:
                raise ValueError(f"{path}: {line!r} is no picture or sub-folder of {root}.")
            if splits.setdefault(name, split) != split:
                raise ValueError(f"{path}: {line!r} is in {splits[name]}.txt, too.")
    return splits


def _draw_splits(names: list[str], seed: int) -> dict[str, str]:
    positions = split_by_group(names, FRACTIONS, seed)
    return {names[k]: split for split, rows in positions.items() for k in rows}


def _load(paths: Sequence[Path], *, root: Path, size: int, cameras: dict | None, keypoints: Keypoints) -> ObjectRecord:
    cutouts = [_cut(path, root, cameras, keypoints) for path in paths]
    try:
        return record_of(cutouts, size)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from error


def _cut(path: Path, root: Path, cameras: dict | None, keypoints: Keypoints) -> Cutout:
    mask_path = find_mask(path, root)
    rgb, mask = load_photo(path, mask_path)
    try:
        box = object_box(mask, padding=PADDING)
    except ValueError as error:
        raise ValueError(f"{mask_path or path}: {error}") from error
    key, camera = _key(path, root), None
    if cameras is not None:
        if key not in cameras:
            raise ValueError(f"{root / 'cameras.json'}: has no camera of {key!r}; give one for each picture.")
        camera = jax.tree.map(np.asarray, make_camera(cameras[key], mask.shape, f"{root / 'cameras.json'}: {key}"))
    return Cutout(rgb, mask, box, keypoints.of(key), camera, 1 / (1 + 2 * PADDING))
