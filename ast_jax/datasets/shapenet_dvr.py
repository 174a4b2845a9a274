"""NMR's pictures of ShapeNet as a tree of folders, as DVR publishes it ("NMR_Dataset"), with points of the surface.

``{class}/softras_{split}.lst`` and ``{class}/{model}/``: ``image/0000.png ..``, ``mask/0000.png ..``, ``cameras.npz``,
``pointcloud.npz``.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.data.images import IMAGE_SUFFIXES, read_rgb
from ast_jax.data.masks import read_mask
from ast_jax.data.records import Collection
from ast_jax.data.store import ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.cutout import resize_rgba
from ast_jax.datasets.shapenet import (
    CLASSES,
    camera_fields,
    category_name,
    check_variant,
    choose_classes,
    choose_points,
    find_tree,
    picture_names,
    tree_records,
    turned,
    unmirror,
)
from ast_jax.files.archives import source_folder
from ast_jax.files.npz import load_npz
from ast_jax.shapes.normalise import rotation_y
from render import PerspectiveCamera, from_dvr

# Steps of azimuth between NMR's views; they go one way round the object.
RING_STEP_DEG = 15.0
# Points that must fall on the mask, grown by a pixel; a wrong frame gives clearly less.
MIN_SHARE_IN_MASKS = 0.9


def read(options: ReadOptions) -> Collection:
    """List the models of the tree.

    Args:
      options: ``source`` is the folder that holds the folders of classes, or an archive of it; ``category`` a class
        or ``all``; ``variant`` "full" keeps all points of the surface, not 10,000.

    Returns:
      Objects of 24 views with cameras and points of the surface, turned so that the front looks to +Z. These files
      have no solid.

    Raises:
      ValueError: no such tree, or an unknown class or variant.
    """
    check_variant(options.variant)
    root = find_tree(source_folder(options.source), ("NMR_Dataset", "shapenet_nmr", "data/NMR_Dataset"))
    present = {identifier for identifier in CLASSES if (root / identifier).is_dir()}
    classes, notices = choose_classes(options.category, present, root)
    load, files = partial(_load, options=options), ("cameras.npz", "pointcloud.npz")
    if options.checking:
        files += picture_names(root, classes, ("image", "mask"))
    records, missing = tree_records(root, classes, ("softras_{split}.lst", "{split}.lst"), load, files)
    settings = {"source": "shapenet_dvr", "image_size": options.image_size or 64, "points": options.variant or "10000"}
    return Collection(
        category_name(options.category, classes),
        "perspective",
        records,
        problems=missing,
        notices=notices,
        settings=settings,
    )


def _load(folder: Path, object_id: str, *, options: ReadOptions) -> ObjectRecord:
    numbers, images = read_views(folder / "image", folder / "mask")
    camera = _read_cameras(folder / "cameras.npz", numbers)
    turn = front_turn(camera) @ unmirror(camera)
    cloud = load_npz(folder / "pointcloud.npz", ("points", "normals"))
    rows = choose_points(len(cloud["points"]), object_id, options.seed, options.variant)
    record = ObjectRecord(
        images=resize_rgba(images, options.image_size or 64),
        keypoints_ndc=np.zeros((len(images), 0, 3), np.float32),
        surface_points=turned(cloud["points"][rows], turn),
        surface_normals=turned(cloud["normals"][rows], turn),
        **camera_fields(camera, turn),
    )
    share = share_in_masks(record)
    if share < MIN_SHARE_IN_MASKS:
        raise ValueError(
            f"{folder}: only {share:.0%} of pointcloud.npz falls on the masks through cameras.npz; the files do not "
            "belong together."
        )
    return record


def read_views(image_folder: Path, mask_folder: Path) -> tuple[list[int], np.ndarray]:
    """The numbers of the views, and their square pictures uint8 ``[n, h, w, 4]`` with the masks as alpha.

    Raises:
      ValueError: none there, a mask missing, a broken file, or sizes that differ.
    """
    paths = list_pictures(image_folder)
    images = []
    for path in paths:
        rgb, mask = read_rgb(path), read_mask(_same_stem(mask_folder, path))
        if mask.shape != rgb.shape[:2] or mask.shape[0] != mask.shape[1]:
            raise ValueError(f"{path}: {rgb.shape[:2]} px but its mask {mask.shape}; expected equal squares.")
        images.append(np.concatenate([rgb, np.round(mask * 255).astype(np.uint8)[..., None]], -1))
    if len({image.shape for image in images}) != 1:
        raise ValueError(f"{image_folder}: its pictures differ in size.")
    return [int(path.stem) for path in paths], np.stack(images)


def list_pictures(folder: Path) -> list[Path]:
    """Pictures whose name is a number, in its order.

    Raises:
      ValueError: there is none.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in found if path.stem.isdecimal() and path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise ValueError(f"{folder}: no pictures such as 0000.png there.")
    return found


def _same_stem(folder: Path, picture: Path) -> Path:
    """The picture of the same name, in whatever format."""
    names = [folder / f"{picture.stem}{suffix}" for suffix in (picture.suffix, *IMAGE_SUFFIXES)]
    return next((path for path in names if path.is_file()), names[0])


def _read_cameras(path: Path, numbers: list[int]) -> PerspectiveCamera:
    arrays = load_npz(path)
    names = [f"{name}_{number}" for name in ("world_mat", "camera_mat") for number in numbers]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{path}: has no {missing[0]}.")
    stacked = [np.stack([arrays[f"{name}_{n}"] for n in numbers]) for name in ("world_mat", "camera_mat")]
    scale = [arrays[f"scale_mat_{n}"] for n in numbers if f"scale_mat_{n}" in arrays]
    try:
        return from_dvr(*stacked, np.stack(scale) if len(scale) == len(numbers) else None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def front_turn(camera: PerspectiveCamera) -> Float[np.ndarray, "3 3"]:
    """The quarter turns about +Y that bring the first of NMR's views before +Z; the identity for other cameras.

    NMR's first view looks at the front. Which axis that is in the files is not documented, but the cameras tell.

    Args:
      camera: leading axis of views, in their order.
    """
    rotation = np.asarray(camera.rotation, np.float64) @ unmirror(camera).T
    eye = -np.einsum("nji,nj->ni", rotation, np.asarray(camera.translation, np.float64))
    azimuth = np.rad2deg(np.arctan2(eye[:, 0], eye[:, 2]))
    steps = (np.diff(azimuth) + 180) % 360 - 180
    if len(steps) == 0 or np.abs(np.abs(steps) - RING_STEP_DEG).max() > 1 or len(set(np.sign(steps))) > 1:
        return np.eye(3)
    return rotation_y(-90.0 * np.round(azimuth[0] / 90))


def share_in_masks(record: ObjectRecord) -> float:
    """Share of the surface points that fall on the mask, grown by a pixel; mean over the views."""
    points = record.surface_points[:: max(1, len(record.surface_points) // 1000)].astype(np.float64)
    view = np.einsum("nij,mj->nmi", record.rotation, points) + record.translation[:, None]
    ndc = view[..., :2] / -view[..., 2:] * record.focal[:, None] + record.principal[:, None]
    size = record.images.shape[1]
    grown = np.pad(record.images[..., 3] > 0, ((0, 0), (2, 2), (2, 2)))
    near = np.stack([np.roll(grown, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]).any(0)
    column = np.clip(np.floor((ndc[..., 0] + 1) / 2 * size), -2, size + 1).astype(int) + 2
    row = np.clip(np.floor((1 - ndc[..., 1]) / 2 * size), -2, size + 1).astype(int) + 2
    return float(near[np.arange(len(near))[:, None], row, column].mean())
