"""ShapeNet as Occupancy Networks publishes it: Choy's 137 px pictures, points inside and outside, surface, voxels.

``{class}/{train,val,test}.lst`` and ``{class}/{model}/``: ``img_choy2016/000.jpg ..`` with ``cameras.npz``,
``points.npz``, ``pointcloud.npz``, ``model.binvox``.
"""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from ast_jax.data.images import read_image
from ast_jax.data.records import Collection
from ast_jax.data.store import ObjectRecord
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.binvox import read_binvox
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
)
from ast_jax.datasets.shapenet_dvr import list_pictures, read_views
from ast_jax.files.archives import source_folder
from ast_jax.files.npz import load_npz
from ast_jax.shapes.normalise import rotation_y
from render import PerspectiveCamera, from_dvr

# camera_mat is in pixels of pictures of this side, whatever the size of the files.
CAMERA_SIDE = 137
OCCUPANCY_SIDE = 32
# ShapeNetCore.v1, by its README: +Y is up and +X is the front. Ours is +Z: (x, y, z) -> (-z, y, x).
TURN = rotation_y(-90.0)
# Background differs from its colour by at most this, of 255: in brightness, above the noise of JPEG on white and below
# the light grey of most white objects; in hue, far above the colours that JPEG smears over an outline.
BRIGHTNESS_TOLERANCE, HUE_TOLERANCE = 12, 60
LUMA = np.array([0.299, 0.587, 0.114])  # JPEG's, ITU-R BT.601
# Connected parts of the object smaller than this, px, are noise of the compression.
MIN_PART = 4
MASK_FOLDERS = ("mask_choy2016", "img_choy2016_mask", "mask")


def read(options: ReadOptions) -> Collection:
    """List the models of the tree.

    Args:
      options: ``source`` is the folder that holds the folders of classes, or an archive of it; ``category`` a class
        or ``all``; ``variant`` "full" keeps all 100,000 points of each kind, not 10,000.

    Returns:
      Objects of 24 views with cameras, occupancy, points of the surface and query points, turned so that the front
      looks to +Z; the longer side of the bounding box is 1. Masks come from the plain background where the tree has
      none.

    Raises:
      ValueError: no such tree, or an unknown class or variant.
    """
    check_variant(options.variant)
    root = find_tree(source_folder(options.source), ("ShapeNet", "data/ShapeNet"))
    present = {identifier for identifier in CLASSES if (root / identifier).is_dir()}
    classes, notices = choose_classes(options.category, present, root)
    load, files = partial(_load, options=options), ("points.npz", "pointcloud.npz", "model.binvox")
    if options.checking:
        files += picture_names(root, classes, ("img_choy2016",))  # cameras.npz lies there, too
    records, missing = tree_records(root, classes, ("{split}.lst",), load, files)
    size, points = options.image_size or 137, options.variant or "10000"
    settings = {"source": "shapenet_occnet", "image_size": size, "points": points}
    return Collection(
        category_name(options.category, classes),
        "perspective",
        records,
        problems=missing,
        notices=notices,
        settings=settings,
    )


def _load(folder: Path, object_id: str, *, options: ReadOptions) -> ObjectRecord:
    numbers, images = _read_views(folder)
    points = load_npz(folder / "points.npz", ("points", "occupancies", "loc", "scale"))
    cloud = load_npz(folder / "pointcloud.npz", ("points", "normals"))
    camera = _read_cameras(folder / "img_choy2016" / "cameras.npz", numbers, points["loc"], points["scale"])
    inside = _unpack_bits(points["occupancies"], len(points["points"]), folder / "points.npz")
    queries = choose_points(len(inside), object_id, options.seed, options.variant)
    surface = choose_points(len(cloud["points"]), object_id, options.seed, options.variant)
    return ObjectRecord(
        images=resize_rgba(images, options.image_size or 137),
        keypoints_ndc=np.zeros((len(images), 0, 3), np.float32),
        occupancy=occupancy_from_binvox(read_binvox(folder / "model.binvox")),
        surface_points=turned(cloud["points"][surface], TURN),
        surface_normals=turned(cloud["normals"][surface], TURN),
        # AST-DIFF: Occupancy Networks adds noise of 1e-4 to these half-precision points when it trains on them.
        query_points=turned(points["points"][queries], TURN),
        query_inside=inside[queries],
        **camera_fields(camera, TURN),
    )


def occupancy_from_binvox(voxels: Bool[np.ndarray, "r r r"]) -> Bool[np.ndarray, "s s s"]:
    """Choy's voxels as occupancy over [-0.5, 0.5]^3 of the normalised model, front to +Z.

    The translation and scale in the files belong to the model as it was before Occupancy Networks moved and scaled
    it. But both are normalised: so the box of the occupied voxels goes to the origin, its longer side becomes 1.

    Args:
      voxels: indexed x, y, z of ShapeNetCore.v1.

    Raises:
      ValueError: no voxel is occupied.
    """
    if not voxels.any():
        raise ValueError("model.binvox: no voxel is occupied.")
    occupied = np.argwhere(voxels)
    low, high = occupied.min(0), occupied.max(0) + 1
    centre = (np.arange(OCCUPANCY_SIDE) + 0.5) / OCCUPANCY_SIDE - 0.5
    places = np.floor((low + high)[:, None] / 2 + centre * (high - low).max()).astype(int)
    padded = np.pad(voxels, 1)  # places beyond the grid are empty
    x, y, z = (np.clip(axis + 1, 0, size + 1) for axis, size in zip(places, voxels.shape))
    resampled = padded[np.ix_(x, y, z)]
    # ours[i, j, k] = theirs[k, j, -1 - i], as TURN carries x to z and z to -x.
    return np.ascontiguousarray(resampled.transpose(2, 1, 0)[::-1])


def plain_mask(rgb: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """What differs from the colour of the corners; holes stay open, for chairs and lamps have real ones.

    Parts of the object in the very colour of the background, white on white, are lost: that is the limit of it.

    Raises:
      ValueError: the corners differ in colour, or nothing stands out.
    """
    background = np.median(rgb[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    difference = rgb - background
    brightness = difference @ LUMA
    hue = np.abs(difference - brightness[..., None]).max(-1)
    distinct = (np.abs(brightness) > BRIGHTNESS_TOLERANCE) | (hue > HUE_TOLERANCE)
    if distinct[[0, 0, -1, -1], [0, -1, 0, -1]].any():
        raise ValueError("its background is not of one colour and there is no folder of masks.")
    labels, count = ndimage.label(distinct, structure=np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=count + 1) >= MIN_PART
    large[0] = False
    if not large.any():
        raise ValueError("nothing in it stands out from its background.")
    return large[labels]


def _read_views(folder: Path) -> tuple[list[int], UInt8[np.ndarray, "n h w 4"]]:
    """Numbers and pictures; masks from their folder, else from alpha, else from the background."""
    pictures = folder / "img_choy2016"
    masks = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
    if masks is not None:
        return read_views(pictures, masks)
    paths = list_pictures(pictures)
    return [int(path.stem) for path in paths], np.stack([_with_mask(path) for path in paths])


def _with_mask(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    image = read_image(path)
    if image.shape[0] != image.shape[1]:
        raise ValueError(f"{path}: {image.shape[1]} x {image.shape[0]} px, expected a square.")
    if image.shape[2] == 4 and image[..., 3].min() < 255:
        return image
    try:
        mask = plain_mask(np.ascontiguousarray(image[..., :3]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return np.concatenate([image[..., :3], mask[..., None] * np.uint8(255)], -1)


def _read_cameras(path: Path, numbers: list[int], loc: np.ndarray, scale: np.ndarray) -> PerspectiveCamera:
    """Cameras of the normalised model: theirs see the model before it was moved and scaled, ``scale x + loc``."""
    names = [f"{name}_{number}" for name in ("world_mat", "camera_mat") for number in numbers]
    arrays = load_npz(path, names)
    world: Float[np.ndarray, "n 3 4"] = np.stack([arrays[f"world_mat_{n}"][:3] for n in numbers])
    pixels: Float[np.ndarray, "n 3 3"] = np.stack([arrays[f"camera_mat_{n}"][:3, :3] for n in numbers])
    to_unit = np.array([[2 / CAMERA_SIDE, 0, -1], [0, 2 / CAMERA_SIDE, -1], [0, 0, 1]])
    to_model = np.eye(4)
    to_model[:3] = np.concatenate([np.eye(3) * np.reshape(scale, ()), np.reshape(loc, (3, 1))], axis=1)
    try:
        return from_dvr(world, to_unit @ pixels, np.broadcast_to(to_model, (len(numbers), 4, 4)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _unpack_bits(occupancies: np.ndarray, count: int, path: Path) -> Bool[np.ndarray, " m"]:
    """One bit per point, packed or not."""
    bits = np.unpackbits(occupancies) if occupancies.dtype == np.uint8 and len(occupancies) < count else occupancies
    if len(bits) < count:
        raise ValueError(f"{path}: {len(bits)} occupancies for {count} points.")
    return bits[:count] > 0.5
