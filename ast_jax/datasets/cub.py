"""CUB-200-2011 as it is published: photographs, boxes, key points, segmentations. Cameras are ours."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from ast_jax.data.frames import PADDING
from ast_jax.data.images import read_image
from ast_jax.data.records import Collection, Count, LazyRecord
from ast_jax.data.store import ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.annotated import Annotation, PhotoCamera, read_annotation
from ast_jax.datasets.cmr_cache import chosen_variant, find_folder
from ast_jax.datasets.cub_cmr import KEYPOINT_NAMES
from ast_jax.datasets.structure_from_motion import Semantics, fit_camera, structure_from_motion
from ast_jax.files.archives import read_lines
from ast_jax.files.inside import inside

# Pictures of train_test_split.txt: to learn from, and to test with.
OFFICIAL = (5994, 5794)
# CMR writes "min kp threshold 6", and means more than 6: 11,736 pictures have that many, it has 11,735; 11,684 have
# more than 7, as many as its threshold 7 leaves.
MIN_VISIBLE = 7
# Of CMR's cleaned set, which has one picture less than have that many key points.
CLEANED, CLEANED_TOLERANCE = (5964, 5771), 1
# Pictures that structure from motion gets when a download is looked over: enough for the mean shape, in seconds.
CHECK_SAMPLE = 400
# A segmentation's grey value is the share of annotators who saw the bird there.
MASK_THRESHOLD = 127
# Farther from the corner there are no pixels. Problems are named up to this many, and counted beyond.
MAX_COORDINATE, MAX_NAMED = 1e5, 50
_NUMBER = re.compile("[0-9]{1,9}")
SEMANTICS = Semantics(
    mirror=np.array([0, 1, 2, 3, 4, 5, 10, 11, 12, 9, 6, 7, 8, 13, 14]),
    left=(6, 7, 8),
    front=(KEYPOINT_NAMES.index("beak"), KEYPOINT_NAMES.index("tail")),
    up=(KEYPOINT_NAMES.index("back"), KEYPOINT_NAMES.index("belly")),
)


@dataclass(frozen=True)
class Listing:
    """What the text files say.

    Args:
      names: image number to path below ``images/``.
      boxes: ``[n, 4]`` numbers of the first and the last pixels, the first of the picture is 1.
      parts: ``[n, 15, 3]`` x and y as pixel numbers, visible.
      train: ``[n]``.
      problems: lines that are none, and pictures of which the files say too little; these are left out.
    """

    names: dict[int, str]
    boxes: Float[np.ndarray, "n 4"]
    parts: Float[np.ndarray, "n 15 3"]
    train: Bool[np.ndarray, " n"]
    problems: tuple[str, ...] = ()


def read(options: ReadOptions) -> Collection:
    """List CUB-200-2011 out of the official archives.

    Pictures with fewer than 7 visible key points are left out, as by CMR. The test pictures are divided into val and
    test by chance (``options.seed``).

    Args:
      options: ``source`` has ``CUB_200_2011/`` and ``segmentations/`` in it. ``variant``: ``cmr`` (default, 256 px,
        cameras by structure from motion) or ``ast`` (64 px, AST's and Unicorn's squares, no cameras).

    Raises:
      ValueError: a file is missing or broken; the message names it.

    Source: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, Caltech CNS-TR-2011-001.
    """
    variant, image_size = chosen_variant(options)
    images = find_folder(options.source, ("CUB_200_2011/images", "images"), "folder of CUB's photographs")
    folders = ("segmentations", "CUB_200_2011/segmentations")
    segmentations = find_folder(options.source, folders, "segmentations (segmentations.tgz, unpacked)")
    listing = read_listing(images.parent)
    kept = np.flatnonzero((listing.parts[..., 2] > 0).sum(1) >= MIN_VISIBLE)
    cameras, facts, problems = _cameras(listing, kept, options.checking) if variant == "cmr" else ({}, {}, ())
    splits = _splits(listing.train[kept], options.seed)
    numbers, records = list(listing.names), []
    for k, split in zip(kept, splits):
        if variant == "cmr" and k not in cameras:
            continue
        name = listing.names[numbers[k]]
        files = inside(images, name), inside(segmentations, name).with_suffix(".png")
        annotation = Annotation(
            files[0], listing.boxes[k], listing.parts[k], partial(read_segmentation, files[1]), None
        )
        load = partial(_load, annotation, cameras.get(k), variant, image_size)
        records.append(LazyRecord(f"{numbers[k]:05d}", str(split), load, {"image": name}, files))
    return Collection(
        category="bird",
        camera="orthographic" if variant == "cmr" else "unknown",
        records=tuple(records),
        keypoint_names=KEYPOINT_NAMES,
        problems=(*listing.problems, *problems),
        counts=_counts(listing, kept),
        settings={
            "variant": variant,
            "image_size": image_size,
            "box_padding": PADDING,
            "min_visible": MIN_VISIBLE,
            "seed": options.seed,
            **facts,
        },
    )


def read_listing(root: Path) -> Listing:
    """The text files of the archive.

    ``bounding_boxes.txt`` has x, y, width, height. Its README does not say where pixels begin; x and y reach down to
    0, and in pictures 500 px wide x + width is often 499 and rarely more: so x is the number of the first pixel
    and x + width that of the last one, counted from 0. Key points are taken as counted from 0, too.

    Args:
      root: the folder ``CUB_200_2011``.

    Raises:
      ValueError: a file is missing, or no line of it is good; the message names it.
    """
    problems: list[str] = []
    names = _names(root, problems)
    boxes = _by_image(root / "bounding_boxes.txt", names, 1, 4, problems)[:, 0]
    # From x, y, width, height counted from 0 to first and last pixel counted from 1.
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) + 1
    parts = _by_image(root / "parts" / "part_locs.txt", names, len(KEYPOINT_NAMES), 3, problems, numbered=True)
    parts[..., :2] += 1
    train = _by_image(root / "train_test_split.txt", names, 1, 1, problems)[:, 0, 0]
    whole = np.isfinite(boxes).all(1) & np.isfinite(parts).all((1, 2)) & np.isfinite(train)
    if not whole.any():
        raise ValueError(problems[0])
    names = {number: name for (number, name), good in zip(names.items(), whole) if good}
    return Listing(names, boxes[whole], parts[whole], train[whole] > 0, _shortened(problems))


def _names(root: Path, problems: list[str]) -> dict[int, str]:
    """Image number to path."""
    path, names = root / "images.txt", {}
    for number, name in _rows(path, 2, problems):
        try:
            inside(root / "images", name)
            names[int(number)] = name
        except ValueError as error:
            problems.append(f"{path}: image {number}: {error}")
    if not names:
        raise ValueError(problems[0])
    return names


def _shortened(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - MAX_NAMED
    return (*problems[:MAX_NAMED], *([f"{more} further problems of the kind."] if more > 0 else ()))


def read_segmentation(path: Path) -> Bool[np.ndarray, "h w"]:
    """Where more than half of the annotators saw the bird; a ValueError that names a bad file."""
    return read_image(path, as_stored=True)[..., 0] > MASK_THRESHOLD


def _cameras(
    listing: Listing, kept: np.ndarray, checking: bool
) -> tuple[dict[int, Callable[[], PhotoCamera]], dict, tuple[str, ...]]:
    """Position in the listing to what gives the camera, facts for the index, and the names of pictures without one.

    Where a download is only looked over, the mean shape comes from some pictures, and each camera when it is asked for.
    """
    sample = kept
    if checking and len(kept) > CHECK_SAMPLE:
        sample = kept[np.linspace(0, len(kept) - 1, CHECK_SAMPLE).round().astype(int)]
    motion = structure_from_motion(listing.parts[sample], SEMANTICS)
    facts, names = {"mean_keypoints": motion.points.round(4).tolist()}, list(listing.names.values())
    if len(sample) < len(kept):
        return {int(k): partial(_fitted_camera, motion.points, listing.parts[k]) for k in kept}, facts, ()
    cameras = {
        int(k): partial(PhotoCamera, float(motion.scale[row]), motion.trans[row], motion.rotation[row])
        for row, k in enumerate(kept)
        if motion.found[row]
    }
    problems = tuple(
        f"{names[k]}: its key points give no camera; it is left out." for k in kept[np.flatnonzero(~motion.found)]
    )
    return cameras, facts, problems


def _fitted_camera(points: np.ndarray, parts: np.ndarray) -> PhotoCamera:
    return PhotoCamera(*fit_camera(points, parts))


def _load(
    annotation: Annotation, camera: Callable[[], PhotoCamera] | None, variant: str, image_size: int
) -> ObjectRecord:
    if camera is not None:
        annotation = replace(annotation, camera=camera())
    return read_annotation(annotation, variant, image_size)


def _counts(listing: Listing, kept: np.ndarray) -> tuple[Count, ...]:
    """The archive's own numbers, which a whole download has exactly, and CMR's."""
    train = listing.train
    return (
        Count("images.txt", len(train), sum(OFFICIAL)),
        Count("train_test_split.txt, to learn from", int(train.sum()), OFFICIAL[0]),
        Count("train_test_split.txt, to test with", int((~train).sum()), OFFICIAL[1]),
        Count("cleaned as by CMR, to learn from", int(train[kept].sum()), CLEANED[0], CLEANED_TOLERANCE),
        Count("cleaned as by CMR, to test with", int((~train[kept]).sum()), CLEANED[1], CLEANED_TOLERANCE),
    )


def _splits(train: np.ndarray, seed: int) -> np.ndarray:
    splits = np.where(train, "train", "test").astype(object)
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~train))
    splits[others[: len(others) // 2]] = "val"
    return splits


def _rows(path: Path, columns: int, problems: list[str]) -> list[list[str]]:
    """The words of each good line, which may be separated by spaces within the last one.

    Raises:
      ValueError: missing, empty, or no line is good.
    """
    rows, bad = [], []
    for number, line in enumerate(read_lines(path), start=1):
        row = line.split(maxsplit=columns - 1)
        if len(row) == columns and _NUMBER.fullmatch(row[0]):
            rows.append(row)
        else:
            bad.append(f"{path}: line {number} is {line[:80]!r}, expected {columns} words, the first a number.")
    if not rows:
        raise ValueError(bad[0] if bad else f"{path}: is empty.")
    problems += bad
    return rows


def _by_image(
    path: Path, names: dict[int, str], count: int, columns: int, problems: list[str], *, numbered: bool = False
) -> np.ndarray:
    """``[n, count, columns]``: what a file of numbers says of each picture, in the order of `names`; NaN: nothing good.

    Args:
      path: lines of image number, (with ``numbered``: a number from 1 to ``count``,) and the columns.
      problems: gets those of this file.
    """
    values = np.full((len(names), count, columns), np.nan)
    place = {number: k for k, number in enumerate(names)}
    for row in _rows(path, 1 + numbered + columns, problems):
        image = int(row[0])
        if image not in place:
            continue
        part = int(row[1]) if numbered and _NUMBER.fullmatch(row[1]) else 1 - numbered
        try:
            numbers = [float(word) for word in row[1 + numbered :]]
        except ValueError:
            numbers = []
        if not 1 <= part <= count:
            problems.append(f"{path}: a part number of image {image} is not within 1 to {count}.")
        elif not numbers or not all(abs(value) <= MAX_COORDINATE for value in numbers):
            problems.append(f"{path}: says {' '.join(row)[:80]!r} of image {image}, which are no pixels.")
        else:
            values[place[image], part - 1] = numbers
    missing = np.isnan(values).any((1, 2))
    problems += [f"{path}: says nothing, or too little, of image {n}." for n, gap in zip(names, missing) if gap]
    return values
