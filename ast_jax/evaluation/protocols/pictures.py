"""What the protocols on photographs share: the camera, silhouettes, projected points, and bytes."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from ast_jax.batch import Batch
from ast_jax.evaluation.keypoints import transfer_keypoints
from ast_jax.evaluation.protocols.base import Item
from render import Camera, rasterize

# Both pictures of AST's and Unicorn's evaluation are drawn at 512, averaged to 256, and resized to the crop.
DRAWN_SIZE, SHOWN_SIZE = 512, 256
# Errors as fractions of CMR's and UMR's squares times this are fractions of the box, which has 5 % on each side.
BOX_SCALE = 1.1
# Against noise of rounding where a byte was divided by 255 and comes back: far below what a picture can show.
_LEVEL_NOISE = 1e-3


@partial(jax.jit, static_argnames="size")
def face_ids(vertices, faces, camera, size: int) -> Int[Array, "b size size"]:
    """The face that each pixel sees, -1 for none."""
    return rasterize(camera.project(vertices), faces, (size, size)).face_id


@jax.jit
def project(points, camera) -> Float[Array, "b v 2"]:
    """Points in NDC."""
    clip = camera.project(points)
    return clip[..., :2] / clip[..., 3:]


def camera_of(item: Item, batch: Batch) -> Camera:
    """The camera that the method found; the given one where it does not look for any."""
    found = item.predicted.found_camera
    return jax.tree.map(lambda x: x[:, 0], batch.camera) if found is None else found


def silhouette(face_id: Int[np.ndarray, "b h w"], size: int) -> Float[np.ndarray, "b size size"]:
    """Coverage at the size of the crop: 2 x 2 means of the drawn pixels, then bilinear as `torch.interpolate`.

    Without antialiasing, that takes only the pixels next to the centre of each output pixel.
    """
    shown = halved((face_id >= 0).astype(np.float64))
    return _bilinear(_bilinear(shown, size, 1), size, 2)


def halved(values: Float[np.ndarray, "b h w"]) -> Float[np.ndarray, "b _ _"]:
    """Means of 2 x 2 pixels."""
    count, height, width = values.shape
    return values.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def _bilinear(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """One axis resized with pixel centres at +0.5, no antialiasing."""
    count = values.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.minimum(np.floor(place).astype(int), max(count - 2, 0))
    weight = (place - low).reshape(-1, *(1,) * (values.ndim - axis - 1))
    high = np.minimum(low + 1, count - 1)
    return np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight


def over_black(images, masks, background) -> Float[np.ndarray, "b h w 3"]:
    """Pictures that lie over the background, over black instead."""
    clear = (1 - np.asarray(masks))[..., None] * np.asarray(background, np.float32)
    return np.clip(np.asarray(images) - clear, 0.0, 1.0)


def to_bytes(image: Float[np.ndarray, "*b c"]) -> UInt8[np.ndarray, "*b c"]:
    """Colours in [0, 1] as the nearest bytes."""
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)


def floor_bytes(image: Float[np.ndarray, "*b c"]) -> UInt8[np.ndarray, "*b c"]:
    """Rounded down, as a cast to bytes does in the released code of AST and Unicorn."""
    return np.floor(np.clip(np.asarray(image, np.float64), 0, 1) * 255 + _LEVEL_NOISE).astype(np.uint8)


def seen_in_both(keypoints: Float[np.ndarray, "n p 3"], start, end) -> Bool[np.ndarray, "m p"]:
    """Which key points are visible in both pictures of a pair."""
    return (keypoints[start, :, 2] > 0.5) & (keypoints[end, :, 2] > 0.5)


def transfer_errors(
    keypoints: Float[np.ndarray, "n p 3"],
    source_points: Float[np.ndarray, "n v 2"],
    target_points: Float[np.ndarray, "n v 2"],
    pairs: Int[np.ndarray, "m 2"],
    usable: Bool[np.ndarray, "n v"] | None = None,
) -> Float[np.ndarray, "m p"]:
    """How far key points that are carried over miss, as fractions of the side of the picture.

    Args:
      keypoints: of all pictures, NDC and visible.
      source_points: points of the surface in each picture, NDC, among which the nearest is looked for.
      target_points: where each of them comes to lie when the picture is the target.
      pairs: source and target.
      usable: which points may be chosen in a source; None: all.
    """
    parts = []
    for first in range(0, len(pairs), 256):  # in parts, for the memory
        a, b = pairs[first : first + 256].T
        moved = transfer_keypoints(
            keypoints[a], source_points[a], target_points[b], None if usable is None else usable[a]
        )
        parts.append(0.5 * np.linalg.norm(moved - keypoints[b, :, :2], axis=-1))
    return np.concatenate(parts)
