"""A folder of one's own photographs, with masks and, where they are known, cameras and key points.

Layout, all but the pictures optional::

    photos/NAME.jpg            or photos/images/NAME.jpg; sub-folders are searched
    photos/NAME_mask.png       or photos/masks/NAME.png; or the alpha channel; or a background of one colour
    photos/cameras.json        a camera for each picture; then the pictures of a sub-folder are views of one object
    photos/keypoints.json      or keypoints.csv
    photos/train.txt val.txt test.txt
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

from ast_jax.data.crop import object_box
from ast_jax.data.images import IMAGE_SUFFIXES
from ast_jax.data.near_duplicates import split_by_group
from ast_jax.data.photo import Photo, load_photo
from ast_jax.data.records import Collection, LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.annotations import Keypoints, make_camera, read_cameras, read_keypoints
from ast_jax.datasets.cutout import Cutout, record_of
from ast_jax.files.archives import read_lines, source_folder
from ast_jax.files.names import id_of_path, printable

# Margin on each side, fraction of the longer side of the object's box.
PADDING = 0.1
FRACTIONS = (0.8, 0.1, 0.1)
MASK_FOLDERS = ("masks", "mask")
MASK_ENDINGS = ("_mask", "-mask", ".mask")
IMAGE_FOLDER = "images"
ANNOTATION_FILES = ("cameras.json", "keypoints.json", "keypoints.csv", *(f"{split}.txt" for split in SPLITS))


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
    listing = find_pictures(root)
    cameras, keypoints = read_cameras(root), read_keypoints(root)
    groups, renamed = _group(listing.pictures, root, by_folder=cameras is not None)
    splits = _read_splits(root, groups) or _draw_splits(list(groups), options.seed)
    size = options.image_size or 128
    load = partial(_load, root=root, masks=listing.masks, size=size, cameras=cameras, keypoints=keypoints)
    records = []
    for name, paths in groups.items():
        if name in splits:
            notices: list[str] = []
            masks = [listing.masks[path] for path in paths if path in listing.masks] if options.checking else ()
            provenance = {"files": [_key(path, root) for path in paths]}
            loader = partial(load, tuple(paths), notices)
            records.append(LazyRecord(name, splits[name], loader, provenance, (*paths, *masks), notices))
    unlisted = [name for name in groups if name not in splits]
    return Collection(
        category=options.category or Path(options.source).name.split(".")[0],
        camera="unknown" if cameras is None else "perspective",
        records=tuple(records),
        keypoint_names=keypoints.names,
        problems=tuple(f"{name}: in none of train.txt, val.txt and test.txt." for name in unlisted),
        notices=(*listing.notices, *renamed),
        settings={"source": "folder", "image_size": size, "padding": PADDING},
    )


@dataclass(frozen=True)
class Listing:
    """What a folder of photographs holds.

    Args:
      pictures: in order of their names.
      masks: picture -> its mask, where it has one.
      notices: what was left out, counted and named.
    """

    pictures: list[Path]
    masks: dict[Path, Path]
    notices: tuple[str, ...]


def find_pictures(root: Path) -> Listing:
    """The pictures below a folder, and their masks.

    A mask lies beside its picture with ``_mask`` in its name, or under the same name in a folder ``masks``: beside the
    picture, beside the folder that holds it, or in the root with the same sub-folders. ``gas-mask.png`` is a picture
    where there is no ``gas`` of any kind beside it. Hidden files and folders are passed over.

    Raises:
      ValueError: there is no picture.
    """
    entries = [path for path in sorted(root.rglob("*")) if not path.is_dir()]
    inside = {path: path.relative_to(root) for path in entries}
    entries = [path for path in entries if not any(part.startswith(".") for part in inside[path].parts)]
    files = [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    in_folders = [path for path in files if any(part in MASK_FOLDERS for part in inside[path].parts[:-1])]
    named = [path for path in files if path not in set(in_folders) and path.stem.endswith(MASK_ENDINGS)]
    stems = {path.with_suffix("") for path in entries}
    beside = [path for path in named if path.with_name(_without_ending(path.stem)) in stems]
    by_kind = sorted((*beside, *in_folders), key=lambda path: -IMAGE_SUFFIXES.index(path.suffix.lower()))
    masks = {path.with_suffix(""): path for path in by_kind}  # of two the PNG
    pictures = [path for path in files if path not in set(in_folders) | set(beside)]
    if not pictures:
        raise ValueError(f"{root}: no picture there ({', '.join(IMAGE_SUFFIXES)}).")
    found = {picture: masks[place] for picture in pictures for place in _mask_places(picture, root) if place in masks}
    left_out = set(entries) - set(files) - {root / name for name in ANNOTATION_FILES}
    spare = [path for path in (*beside, *in_folders) if path not in set(found.values())]
    notices = (
        *_counted("left out, not a picture that is read", sorted(left_out), root),
        *_counted("left out, a mask without a picture", spare, root),
        *_counted("taken as a picture, for it is the mask of none", sorted({*named} - {*beside}), root),
    )
    return Listing(pictures, found, notices)


def _without_ending(stem: str) -> str:
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), stem) or stem


def _mask_places(picture: Path, root: Path) -> list[Path]:
    """Where the mask of a picture may be, without its suffix; the last one counts."""
    places = [picture.with_name(picture.stem + ending) for ending in MASK_ENDINGS]
    inside = picture.relative_to(root).with_suffix("")
    below = Path(*[part for part in inside.parts if part != IMAGE_FOLDER])
    for folder in MASK_FOLDERS:
        names = [picture.parent / folder / picture.stem, root / folder / inside, root / folder / below]
        if picture.parent != root:
            names.append(picture.parent.parent / folder / picture.stem)
        places += [name.with_name(name.name + ending) for name in names for ending in ("", *MASK_ENDINGS)]
    return places[::-1]


def _counted(what: str, paths: list[Path], root: Path) -> list[str]:
    """A line for each kind of file, with the first few names."""
    lines = []
    for suffix in sorted({path.suffix.lower() for path in paths}):
        names = [printable(str(path.relative_to(root))) for path in paths if path.suffix.lower() == suffix]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"{len(names)} x {suffix or 'no suffix'} {what}: {', '.join(names[:3])}{more}.")
    return lines


def _key(picture: Path, root: Path) -> str:
    """How cameras, key points and lists name a picture: its path in the folder, without ``images``."""
    parts = picture.relative_to(root).parts
    return "/".join(part for part in parts if part != IMAGE_FOLDER)


def _group(pictures: list[Path], root: Path, by_folder: bool) -> tuple[dict[str, list[Path]], list[str]]:
    """Object id -> its pictures, and a notice for each name that had to be numbered."""
    parts: dict[str, list[Path]] = {}
    for path in pictures:
        key = _key(path, root)
        parts.setdefault(key.rpartition("/")[0] if by_folder and "/" in key else key, []).append(path)
    groups: dict[str, list[Path]] = {}
    taken: set[str] = set()
    renamed = []
    for key, paths in parts.items():
        stem = key if len(paths) > 1 or _key(paths[0], root) != key else key.rpartition(".")[0]
        wanted, name = _object_id(stem), _object_id(stem, key, taken=taken)
        if name != wanted:
            renamed.append(f"{printable(key)} is object {name}, for {wanted} is taken.")
        groups[name] = paths
    return groups, renamed


def _object_id(*keys: str, taken: set[str] | None = None) -> str:
    """Of paths in the folder: ``__`` for ``/``."""
    return id_of_path(*(key.replace("/", "__").lstrip("-._") for key in keys), taken=taken)


def _read_splits(root: Path, groups: dict[str, list[Path]]) -> dict[str, str] | None:
    """Object id -> split, by the lists; None where there are none."""
    paths = {split: root / f"{split}.txt" for split in SPLITS if (root / f"{split}.txt").is_file()}
    if not paths:
        return None
    names: dict[str, list[str]] = {}
    for name, files in groups.items():
        keys = [_key(path, root) for path in files]
        for key in {name, *keys, *(key.rpartition(".")[0] for key in keys), *(k.rpartition("/")[0] for k in keys)}:
            names.setdefault(unicodedata.normalize("NFC", key), []).append(name)
    splits: dict[str, str] = {}
    for split, path in paths.items():
        for line in read_lines(path):
            key = line.removeprefix("./").removeprefix(f"{IMAGE_FOLDER}/").rstrip("/")
            found = names.get(unicodedata.normalize("NFC", key)) if key else None
            if found is None:
                raise ValueError(f"{path}: {line!r} is no picture or sub-folder of {root}.")
            for name in found:
                if splits.setdefault(name, split) != split:
                    raise ValueError(f"{path}: {line!r} is in {splits[name]}.txt, too.")
    return splits


def _draw_splits(names: list[str], seed: int) -> dict[str, str]:
    positions = split_by_group(names, FRACTIONS, seed)
    return {names[k]: split for split, rows in positions.items() for k in rows}


def _load(
    paths: Sequence[Path],
    notices: list[str],
    *,
    root: Path,
    masks: dict[Path, Path],
    size: int,
    cameras: dict | None,
    keypoints: Keypoints,
) -> ObjectRecord:
    cutouts = []
    for path in paths:
        photo = load_photo(path, masks.get(path))
        notices += [f"{printable(_key(path, root))}: {notice}" for notice in photo.notices]
        cutouts.append(_cut(path, photo, root, cameras, keypoints))
    try:
        return record_of(cutouts, size)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from error


def _cut(path: Path, photo: Photo, root: Path, cameras: dict | None, keypoints: Keypoints) -> Cutout:
    try:
        box = object_box(photo.mask, padding=PADDING)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    key, camera = _key(path, root), None
    if cameras is not None:
        if key not in cameras:
            raise ValueError(f"{root / 'cameras.json'}: has no camera of {key!r}; give one for each picture.")
        where = f"{root / 'cameras.json'}: {key}"
        camera = jax.tree.map(np.asarray, make_camera(cameras[key], photo.mask.shape, where))
    return Cutout(photo.rgb, photo.mask, box, keypoints.of(key), camera, 1 / (1 + 2 * PADDING))
