"""ShapeNet as NMR and SoftRas publish it: ``{class}_{split}_images.npz`` and ``{class}_{split}_voxels.npz``.

One array per file: pictures uint8 [n, 24, 4, 64, 64], RGBA; voxels [n, 32, 32, 32].

Their renderer draws right-handed meshes mirrored (docs/conventions.md). Our objects are theirs with z negated:
right-handed, seen by plain orbits, the first view before the front (+Z).
"""

import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from ast_jax.data.records import Collection, LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.cutout import resize_rgba
from ast_jax.datasets.shapenet import camera_fields, category_name, choose_classes, class_name, unmirror
from ast_jax.files.archives import source_folder
from ast_jax.files.npz import NpzRows
from render import PerspectiveCamera, from_softras
from render.camera import NMR_DISTANCE

NUM_VIEWS = 24
AZIMUTH_STEP_DEG = -15.0
ELEVATION_DEG, VIEWING_ANGLE_DEG = 30.0, 15.0
# Their evaluation shrinks meshes by 31/32 before it voxelises [-0.5, 0.5]^3, so the grid covers a cube of this side.
# Nearest-neighbour resampling to a grid over the unit cube changes no index: floor(31 x + 16) = floor(32 x + 16)
# at the centres x of 32 voxels.
VOXEL_CUBE = 32 / 31
_FILE = re.compile(r"(\d{8})_(train|val|test)_images\.npz")


def read(options: ReadOptions) -> Collection:
    """List the objects of the files.

    Args:
      options: ``source`` is the folder of the ``.npz`` files, or the archive of it; ``category`` a class or ``all``.

    Returns:
      Objects of 24 views with cameras and occupancy; ids are ``{class}_{split}_{row}``, for the files know no others.

    Raises:
      ValueError: no such files there, none of them readable, or an unknown class.
    """
    folder = _find_folder(source_folder(options.source))
    files = {match.groups(): path for path in sorted(folder.iterdir()) if (match := _FILE.fullmatch(path.name))}
    classes, notices = choose_classes(options.category, {identifier for identifier, _ in files}, folder)
    records, problems = [], []
    for identifier in classes:
        for split in SPLITS:
            if (identifier, split) not in files:
                problems.append(f"{folder}: {identifier}_{split}_images.npz is not there.")
                continue
            try:
                records += _list_file(files[identifier, split], identifier, split, options.image_size or 64)
            except ValueError as error:
                problems.append(f"the {split} split of {class_name(identifier)} is left out: {error}")
    if not records:
        raise ValueError(" ".join(problems))
    return Collection(
        category=category_name(options.category, classes),
        camera="perspective",
        records=tuple(records),
        problems=tuple(problems),
        notices=notices,
        settings={"source": "shapenet_nmr", "image_size": options.image_size or 64, "voxel_cube": VOXEL_CUBE},
    )


def nmr_cameras() -> PerspectiveCamera:
    """The 24 cameras of every object, in NMR's own space: their rotations have determinant -1.

    Source: Kato et al., Neural 3D Mesh Renderer, CVPR 2018, and its code.
    """
    azimuth_deg = np.arange(NUM_VIEWS, dtype=np.float32) * AZIMUTH_STEP_DEG
    return from_softras(NMR_DISTANCE, ELEVATION_DEG, azimuth_deg, VIEWING_ANGLE_DEG)


def occupancy_from_nmr(voxels: np.ndarray) -> Bool[np.ndarray, "r r r"]:
    """Their voxels as our occupancy, indexed x, y, z.

    The files hold ``file[x, z, r-1-y]`` of the solid in NMR's space, and our z is NMR's negated:
    ``ours[x, y, z] = file[x, r-1-z, r-1-y]``.

    Args:
      voxels: ``[r, r, r]`` of the file; above zero is solid.

    Returns:
      Occupancy.

    Source: the evaluation of SoftRas, ICCV 2019, which brings predictions into the axes of the files.
    """
    return np.ascontiguousarray(voxels[:, ::-1, ::-1].transpose(0, 2, 1) > 0)


def _find_folder(source: Path) -> Path:
    """The folder of the files: the source, or the first one below it that holds such files."""
    found = sorted({path.parent for path in source.rglob("*_images.npz") if _FILE.fullmatch(path.name)})
    if not found:
        raise ValueError(f"{source}: no files such as 02691156_train_images.npz there; see docs/data.md.")
    return source if source in found else found[0]


def _list_file(path: Path, identifier: str, split: str, image_size: int) -> list[LazyRecord]:
    images, voxels = NpzRows(path), NpzRows(path.with_name(path.name.replace("_images", "_voxels")))
    side = images.shape[-1]
    if images.shape[1:] != (NUM_VIEWS, 4, side, side) or images.dtype != np.uint8:
        raise ValueError(f"{path}: {images.dtype} {images.shape}, expected uint8 [n, {NUM_VIEWS}, 4, size, size].")
    if len(voxels) != len(images) or len(set(voxels.shape[1:])) != 1 or len(voxels.shape) != 4:
        raise ValueError(f"{voxels.path}: {voxels.shape}, expected [{len(images)}, r, r, r], as there are pictures.")
    provenance = {"class": identifier, "name": class_name(identifier), "file": path.name}
    files = (images.path, voxels.path)
    return [
        LazyRecord(
            f"{identifier}_{split}_{row:05d}", split, partial(_load, images, voxels, row, image_size), provenance, files
        )
        for row in range(len(images))
    ]


def _load(images: NpzRows, voxels: NpzRows, row: int, image_size: int) -> ObjectRecord:
    camera = jax.tree.map(np.asarray, nmr_cameras())
    return ObjectRecord(
        images=resize_rgba(_channels_last(images[row]), image_size),
        keypoints_ndc=np.zeros((NUM_VIEWS, 0, 3), np.float32),
        occupancy=occupancy_from_nmr(voxels[row]),
        **camera_fields(camera, unmirror(camera)),
    )


def _channels_last(views: UInt8[np.ndarray, "n 4 h w"]) -> UInt8[np.ndarray, "n h w 4"]:
    return np.ascontiguousarray(views.transpose(0, 2, 3, 1))
