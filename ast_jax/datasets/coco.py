"""COCO and data sets in its JSON format: one object per annotated instance of a category."""

from functools import partial
from pathlib import Path

import numpy as np

from ast_jax.data.crop import Box, object_box
from ast_jax.data.images import read_rgb
from ast_jax.data.near_duplicates import split_by_group
from ast_jax.data.records import Collection, LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.annotations import safe_id
from ast_jax.datasets.coco_masks import segmentation_mask
from ast_jax.datasets.cutout import Cutout, record_of
from ast_jax.files.archives import load_json, source_folder
from ast_jax.files.inside import inside
from ast_jax.near_match import hint

PADDING = 0.1
# Instances whose box is smaller than this on its longer side, px, are left out: too little to see.
MIN_BOX_SIDE = 32.0
FRACTIONS = (0.8, 0.1, 0.1)
# What no object can be made of, though nothing is wrong with it; other reasons to leave an instance out are problems.
BY_DESIGN = ("crowds", "too small")
# Malformed annotations are named up to this many, and counted beyond.
MAX_NAMED = 20
# variant -> how the names of the annotation files begin
VARIANTS = {"": ("instances", "annotations", "_annotations"), "keypoints": ("person_keypoints", "keypoints")}


def read(options: ReadOptions, *, min_box_side: float = MIN_BOX_SIDE) -> Collection:
    """List the instances of a category.

    Args:
      options: ``source`` is a JSON file, or a folder with ``annotations/instances_{train,val}2017.json`` and the
        pictures in ``train2017/``, ``val2017/`` or ``images/``; ``category`` its name, or empty where there is one;
        ``variant`` "keypoints" reads ``person_keypoints_*.json``; ``seed`` draws the splits where the name of the file
        says none.
      min_box_side: longer side of the annotated box, px; smaller instances are left out.

    Returns:
      An object per instance, cameras unknown. Crowds (``iscrowd``) and instances without a mask are left out.

    Raises:
      ValueError: no annotation file, one that is not COCO's format, or an unknown category.
    """
    files = _annotation_files(Path(options.source), options.variant)
    records, problems, notices, names, category = [], [], [], (), options.category
    for path in files:
        content = _checked(path)
        kind = _find_category(path, content["categories"], options.category)
        category, names = kind["name"], tuple(kind.get("keypoints") or ())
        found, counts, malformed = _list_file(path, content, kind["id"], len(names), options, min_box_side)
        records += found
        problems += [f"{path}: annotation {k} of the list: {error}." for k, error in malformed[:MAX_NAMED]]
        if len(malformed) > MAX_NAMED:
            problems.append(f"{path}: {len(malformed)} annotations are malformed; the first {MAX_NAMED} are named.")
        for reason, count in counts.items():
            (notices if reason in BY_DESIGN else problems).append(f"{path}: {count} instances {reason} left out.")
    sizes = {"image_size": options.image_size or 128, "min_box_side": min_box_side}
    settings = {"source": "coco", "padding": PADDING, **sizes}
    return Collection(
        category, "unknown", tuple(records), names, problems=tuple(problems), notices=tuple(notices), settings=settings
    )


def _annotation_files(source: Path, variant: str) -> list[Path]:
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r}: leave it empty or choose 'keypoints'.")
    if source.suffix == ".json":
        return [source]
    folder = source_folder(source)
    found = sorted(p for place in (folder, folder / "annotations") for p in place.glob("*.json"))
    chosen = [path for path in found if path.name.startswith(VARIANTS[variant])]
    if not chosen and len(found) == 1:
        return found
    if not chosen:
        wanted = VARIANTS[variant][0]
        raise ValueError(f"{folder}: no {wanted}_*.json there nor in annotations/; give the JSON file as --source.")
    return chosen


def _checked(path: Path) -> dict:
    content = load_json(path)
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise ValueError(f"{path}: not COCO's format, it has no list {', '.join(missing)}.")
    for kind in content["categories"]:
        if not isinstance(kind, dict) or type(kind.get("id")) is not int or not isinstance(kind.get("name"), str):
            raise ValueError(f"{path}: not COCO's format, a category has no id and name.")
        names = kind.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: not COCO's format, the key points of a category are not a list of names.")
    return content


def _find_category(path: Path, categories: list[dict], wanted: str) -> dict:
    names = [str(kind.get("name")) for kind in categories]
    if not wanted and len(names) == 1:
        return categories[0]
    if wanted in names:
        return categories[names.index(wanted)]
    raise ValueError(f"category={wanted!r}: {path.name} has {', '.join(sorted(names))}{hint(wanted, names)}")


def _list_file(
    path: Path, content: dict, category: int, num_keypoints: int, options: ReadOptions, min_box_side: float
) -> tuple[list[LazyRecord], dict[str, int], list[tuple[int, str]]]:
    """Records of one annotation file, how many instances were left out, by reason, and the malformed ones."""
    images = {image["id"]: image for image in content["images"] if _is_image(image)}
    chosen, malformed = [], []
    counts = {"crowds": 0, "too small": 0, "without a mask": 0, "of unknown pictures": 0}
    for k, item in enumerate(content["annotations"]):
        try:
            if item.get("category_id") != category:
                continue
            reason = _why_not(item, images, min_box_side)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            malformed.append((k, f"{type(error).__name__}: {error}"))
            continue
        if reason:
            counts[reason] += 1
        else:
            chosen.append(item)
    splits = _splits(path, [item["image_id"] for item in chosen], options.seed)
    records = [
        LazyRecord(
            safe_id(f"{path.stem}_{item['id']}"),
            split,
            partial(_load, path, images[item["image_id"]], item, num_keypoints, options.image_size or 128),
            {"image": images[item["image_id"]]["file_name"], "annotation": item["id"]},
            _files(path, images[item["image_id"]]["file_name"]),
        )
        for item, split in zip(chosen, splits)
    ]
    return records, {reason: count for reason, count in counts.items() if count}, malformed


def _is_image(image) -> bool:
    """Whether an entry names a picture; instances of others are counted as those of unknown pictures."""
    return (
        isinstance(image, dict) and isinstance(image.get("id"), (int, str)) and isinstance(image.get("file_name"), str)
    )


def _why_not(item: dict, images: dict, min_box_side: float) -> str:
    if item.get("iscrowd"):
        return "crowds"
    if not item.get("segmentation"):
        return "without a mask"
    if item.get("image_id") not in images:
        return "of unknown pictures"
    if not isinstance(item["id"], (int, str)):
        raise TypeError("its id is neither a number nor a name")
    box = [float(value) for value in item.get("bbox", (0, 0, np.inf, 0))]
    if len(box) != 4 or np.isnan(box).any():
        raise ValueError(f"its bbox is {box}")
    return "too small" if max(box[2:]) < min_box_side else ""


def _splits(path: Path, image_ids: list, seed: int) -> list[str]:
    """By the name of the file, else drawn; the instances of one picture stay together."""
    named = [split for split in SPLITS if split in path.stem.lower()]
    if named:
        return [named[0]] * len(image_ids)
    positions = split_by_group(image_ids, FRACTIONS, seed)
    split_of = {k: split for split, rows in positions.items() for k in rows}
    return [split_of[k] for k in range(len(image_ids))]


def _load(path: Path, image: dict, item: dict, num_keypoints: int, size: int) -> ObjectRecord:
    where = f"{path}: annotation {item['id']}"
    picture = _find_picture(path, image["file_name"])
    rgb = read_rgb(picture, as_stored=True)
    declared = (image.get("height"), image.get("width"))
    if rgb.shape[:2] != declared:
        rgb = read_rgb(picture)  # some tools draw on the picture as its EXIF data turn it
    if rgb.shape[:2] != declared:
        raise ValueError(f"{picture}: {rgb.shape[1]} x {rgb.shape[0]} px, {path.name} says otherwise.")
    try:
        mask = segmentation_mask(item["segmentation"], rgb.shape[:2])
        box, share = _square(item, mask)
        keypoints = _keypoints(item, num_keypoints)
        return record_of([Cutout(rgb.astype(np.float32) / 255, mask, box, keypoints, None, share)], size)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from error


def _find_picture(path: Path, name: str) -> Path:
    """COCO's folders: ``annotations/instances_val2017.json`` goes with ``val2017/``."""
    candidates = [inside(place, name) for place in _places(path)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ValueError(f"{candidates[0]}: no such file; it was looked for in images/ and beside {path}, too.")


def _places(path: Path) -> list[Path]:
    tail = path.stem.rpartition("_")[2]
    return [
        root / part for root in (path.parent, path.parent.parent) for part in (tail, f"images/{tail}", "images", "")
    ]


def _files(path: Path, name: str) -> tuple[Path, ...]:
    """The picture, or the first place where it should be; none where loading will refuse it."""
    try:
        return (_find_picture(path, name),)
    except ValueError:
        pass
    try:
        return (inside(_places(path)[0], name),)
    except ValueError:
        return ()


def _square(item: dict, mask: np.ndarray) -> tuple[Box, float]:
    """The square about the annotated box, else about the mask; and the share of it that the box takes."""
    if "bbox" not in item:
        return object_box(mask, padding=PADDING), 1 / (1 + 2 * PADDING)
    left, top, width, height = (float(value) for value in item["bbox"])
    longer = max(width, height)
    if not (longer > 0 and min(width, height) >= 0 and np.isfinite([left, top, longer]).all()):
        raise ValueError(f"its box {item['bbox']} is empty, or none.")
    side = longer * (1 + 2 * PADDING)
    return Box(left + (width - side) / 2, top + (height - side) / 2, side), longer / side


def _keypoints(item: dict, count: int) -> np.ndarray:
    """x, y and visible. COCO numbers pixels from 0; its 1 is "labelled but hidden", its 2 is visible."""
    points = np.array(item.get("keypoints") or [0] * (3 * count), np.float32).reshape(count, 3)
    points[:, :2] += 0.5
    points[:, 2] = points[:, 2] == 2
    return points
