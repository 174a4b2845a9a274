"""The annotation caches of CMR and U-CMR: struct arrays ``images`` and ``sfm_anno`` in MATLAB files."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ast_jax.data.frames import FRAMINGS
from ast_jax.data.records import LazyRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.annotated import Annotation, PhotoCamera, read_annotation
from ast_jax.datasets.matfile import load_structs, load_variable
from ast_jax.files.inside import inside

# CMR's world has x to the object's left, y to its back, z up; ours +Y up, the front at +Z, so +X is left here, too.
FROM_CMR_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
IMAGE_FIELDS = ("rel_path", "bbox", "parts", "mask")
CAMERA_FIELDS = ("scale", "trans", "rot")


@dataclass(frozen=True)
class Cache:
    """The files of one data set.

    Args:
      images: folder of the photographs, that ``rel_path`` is relative to.
      annotations: split to the MATLAB file with ``images``.
      cameras: split to the MATLAB file with ``sfm_anno``.
    """

    images: Path
    annotations: dict[str, Path]
    cameras: dict[str, Path]


def chosen_variant(options: ReadOptions) -> tuple[str, int]:
    """The name of the framing and the size of its pictures; ``cmr`` and its own size where none is asked for.

    Raises:
      ValueError: there is no such framing.
    """
    variant = options.variant or "cmr"
    if variant not in FRAMINGS:
        raise ValueError(f"variant={variant!r}: choose one of {', '.join(FRAMINGS)}.")
    return variant, options.image_size or FRAMINGS[variant].image_size


def find_folder(source: Path, candidates: tuple[str, ...], what: str) -> Path:
    """The first of the folders below `source` that exists; a ValueError that lists them where none does."""
    for candidate in candidates:
        if (source / candidate).is_dir():
            return source / candidate
    looked_for = ", ".join(str(source / candidate) for candidate in candidates)
    raise ValueError(f"{source}: has no {what}; looked for {looked_for}. See docs/data.md.")


def read_cache(cache: Cache, variant: str, image_size: int) -> tuple[tuple[LazyRecord, ...], tuple[str, ...]]:
    """List the objects of all splits.

    Args:
      cache: where the files are.
      variant: ``cmr`` with the cameras of the cache, ``ast`` without.
      image_size: of the stored pictures, px.

    Returns:
      Records, and what is wrong with whole splits, which are left out then.

    Raises:
      ValueError: no split is readable.
    """
    records, problems = [], []
    for split in cache.annotations:
        try:
            annotations, bad = read_split(cache, split, with_cameras=variant == "cmr")
        except ValueError as error:
            problems.append(f"split {split} is left out: {error}")
            continue
        problems += bad
        records += _records(annotations, split, variant, image_size)
    if not records:
        raise ValueError(" ".join(problems))
    return tuple(records), tuple(problems)


def read_split(cache: Cache, split: str, *, with_cameras: bool) -> tuple[list[Annotation | None], list[str]]:
    """The annotations of one split, in the order of the file, None for a bad one; and what is wrong with those.

    Raises:
      ValueError: a file is missing or broken, or the two differ in length; the message names it.
    """
    images = load_structs(cache.annotations[split], "images", IMAGE_FIELDS)
    cameras = [None] * len(images)
    if with_cameras:
        cameras = load_structs(cache.cameras[split], "sfm_anno", CAMERA_FIELDS)
        if len(cameras) != len(images):
            raise ValueError(f"{cache.cameras[split]}: {len(cameras)} cameras for {len(images)} images.")
    annotations, problems = [], []
    for number, (image, camera) in enumerate(zip(images, cameras), start=1):
        try:
            annotations.append(_annotation(cache.images, image, camera))
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            annotations.append(None)
            problems.append(f"{cache.annotations[split]}: images({number}) is not as expected ({error}).")
    return annotations, problems


def mean_keypoints(cache: Cache) -> dict[str, list]:
    """The mean 3D key points (``S`` of a camera file) in our axes for ``dataset.json``; nothing if there are none."""
    for path in cache.cameras.values():
        try:
            points = FROM_CMR_WORLD @ np.asarray(load_variable(path, "S"), np.float64)
        except (ValueError, TypeError):
            continue  # only some of the files have it
        if points.ndim != 2 or not np.isfinite(points).all():
            continue
        return {"mean_keypoints": points.T.round(4).tolist()}
    return {}


def _annotation(images: Path, image, camera) -> Annotation:
    box = np.array([getattr(image.bbox, name) for name in ("x1", "y1", "x2", "y2")], np.float64)
    parts = np.asarray(image.parts, np.float64).T
    if parts.ndim != 2 or parts.shape[1] != 3:
        raise ValueError(f"{image.rel_path}: parts are {parts.T.shape}, expected 3 rows: x, y, visible")
    mask = np.atleast_2d(image.mask) > 0
    if mask.ndim != 2:
        raise ValueError(f"{image.rel_path}: its mask is {mask.shape}")
    # As bits: thousands of masks stay in memory until they are written.
    packed = partial(_unpacked, np.packbits(mask), mask.shape)
    return Annotation(
        inside(images, str(image.rel_path)), box, parts, packed, None if camera is None else _camera(camera)
    )


def _unpacked(bits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape)


def _camera(camera) -> PhotoCamera:
    rotation = np.asarray(camera.rot, np.float64).reshape(3, 3)
    shift = np.asarray(camera.trans, np.float64).reshape(2)
    return PhotoCamera(float(camera.scale), shift, rotation @ FROM_CMR_WORLD.T)


def _records(annotations: list[Annotation | None], split: str, variant: str, image_size: int) -> list[LazyRecord]:
    order = np.arange(len(annotations))
    if variant == "ast" and split != "train":
        # AST and Unicorn measure some things on the first pictures of this order only.
        np.random.RandomState(123).shuffle(order)
    return [
        LazyRecord(
            # The split in the name: CMR's halves of the test set share one picture.
            object_id=f"{split}_{number:05d}",
            split=split,
            load=partial(read_annotation, annotations[number], variant, image_size),
            provenance={"image": "/".join(annotations[number].path.parts[-2:])},
            files=(annotations[number].path,),
        )
        for number in order
        if annotations[number] is not None
    ]
