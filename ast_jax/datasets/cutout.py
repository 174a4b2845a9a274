"""Photographs and rendered pictures as the stored squares of an object."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, UInt8

from ast_jax.data.crop import Box, area_downsample, check_box, crop_camera, crop_keypoints, crop_rgba, premultiply
from ast_jax.data.store import ObjectRecord
from render import PerspectiveCamera
from render.camera import NMR_DISTANCE

# Of a field of view of 30 degrees.
_PLACEHOLDER_FOCAL = 3.732


@dataclass(frozen=True)
class Cutout:
    """One object in one picture, and the square to store of it.

    Args:
      rgb: straight colour in [0, 1].
      mask: coverage in [0, 1].
      box: the square, in pixels of the picture.
      keypoints_px: x, y in pixels of the picture (the centre of its first pixel is at 0.5, 0.5), and visible.
      camera: of the whole picture, leading axis [1]; None where it is not known.
      box_share: longer side of the object's box as a fraction of the square.
    """

    rgb: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    box: Box
    keypoints_px: Float[np.ndarray, "p 3"]
    camera: PerspectiveCamera | None
    box_share: float


def record_of(cutouts: Sequence[Cutout], size: int) -> ObjectRecord:
    """One object from its pictures, which may differ in size.

    Args:
      cutouts: at least one.
      size: side of the stored squares, px.

    Returns:
      The record; where no camera is known, a placeholder that looks at the object's front.

    Raises:
      ValueError: a square shows nothing of its picture or its mask, or is far larger.
    """
    images, keypoints, cameras = [], [], []
    for cutout in cutouts:
        check_box(cutout.box, cutout.mask.shape)
        image = cut_rgba(_rgba(cutout), [cutout.box], size)[0]
        if image[..., 3].max() <= 127:
            raise ValueError("no pixel of the mask lies in the square about the object; give a mask that fits it.")
        images.append(image)
        keypoints.append(_keypoints_of(cutout))
        cameras.append(_camera_of(cutout))
    camera = jax.tree.map(lambda *parts: np.concatenate(parts).astype(np.float32), *cameras)
    return ObjectRecord(
        images=np.stack(images),
        rotation=camera["rotation"],
        translation=camera["translation"],
        focal=camera["focal"],
        principal=camera["principal"],
        keypoints_ndc=np.concatenate(keypoints),
        box_share=np.array([cutout.box_share for cutout in cutouts], np.float32),
    )


def cut_rgba(
    premultiplied: Float[np.ndarray, "b h w 4"], boxes: list[Box], size: int
) -> UInt8[np.ndarray, "b size size 4"]:
    """Squares of pictures as they are stored: straight colour, alpha; what no object covers is black.

    Args:
      premultiplied: float32, colour times alpha, and alpha.
      boxes: one per picture, in its pixels.
      size: side of the squares, px.

    Returns:
      RGBA, straight alpha.
    """
    return _straight(crop_rgba(premultiplied, boxes, size))


def resize_rgba(images: UInt8[np.ndarray, "b s s 4"], size: int) -> UInt8[np.ndarray, "b size size 4"]:
    """Whole square pictures at another size, colours weighted by alpha; the same bytes where the size agrees.

    Smaller pictures are area averages, larger ones bilinear.
    """
    side = images.shape[1]
    if side == size:
        return images
    picture = images.astype(np.float32) / 255
    premultiplied = premultiply(picture[..., :3], picture[..., 3])
    if size < side:
        return _straight(area_downsample(premultiplied, size))
    return cut_rgba(premultiplied, [Box(0.0, 0.0, float(side))] * len(images), size)


def _straight(premultiplied: np.ndarray) -> np.ndarray:
    alpha = premultiplied[..., 3:]
    colour = np.where(alpha > 1 / 512, premultiplied[..., :3] / np.maximum(alpha, 1e-6), 0.0)
    return np.round(np.clip(np.concatenate([colour, alpha], -1), 0, 1) * 255).astype(np.uint8)


def _rgba(cutout: Cutout) -> Float[np.ndarray, "1 h w 4"]:
    return premultiply(cutout.rgb, cutout.mask)[None]


def _keypoints_of(cutout: Cutout) -> Float[np.ndarray, "1 p 3"]:
    """In NDC of the square; those that are not visible are zero."""
    height, width = cutout.mask.shape
    points = np.asarray(cutout.keypoints_px, np.float32)[None]
    ndc = np.stack([2 * points[..., 0] / width - 1, 1 - 2 * points[..., 1] / height, points[..., 2]], -1)
    moved = crop_keypoints(ndc, [cutout.box], (height, width))
    return np.where(points[..., 2:] > 0, moved, 0).astype(np.float32)


def _camera_of(cutout: Cutout) -> dict[str, np.ndarray]:
    if cutout.camera is None:
        return placeholder_camera(1)
    camera = crop_camera(cutout.camera, [cutout.box], cutout.mask.shape)
    return {name: np.asarray(getattr(camera, name)) for name in ("rotation", "translation", "focal", "principal")}


def placeholder_camera(count: int) -> dict[str, np.ndarray]:
    """Fields of a record whose cameras are not known: before the front, as the first view of NMR's pictures.

    Nothing reads them but code that needs finite numbers.
    """
    return {
        "rotation": np.repeat(np.eye(3, dtype=np.float32)[None], count, 0),
        "translation": np.repeat(np.float32([[0, 0, -NMR_DISTANCE]]), count, 0),
        "focal": np.full((count, 2), _PLACEHOLDER_FOCAL, np.float32),
        "principal": np.zeros((count, 2), np.float32),
    }
