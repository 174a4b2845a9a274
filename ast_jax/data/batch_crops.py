"""The crops of a batch: of the inputs, and of the views that supervise them."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, UInt8

from ast_jax.data.augment import Draw
from ast_jax.data.crop import Background, Box, composite, crop_camera, crop_keypoints, crop_rgb, crop_rgba, premultiply
from ast_jax.data.frames import jittered_square
from render import PerspectiveCamera


def cut_inputs(
    stored: UInt8[np.ndarray, "b h w 4"], boxes: list[Box], size: int, *, masked: bool
) -> Float[np.ndarray, "b size size 4"]:
    """What the model will see, colour times alpha: the object, or with ``masked=False`` the whole picture."""
    if masked:
        return crop_rgba(premultiplied(stored), boxes, size)
    return crop_rgb(stored[..., :3].astype(np.float32) / 255, boxes, size)


def shown_pictures(
    premultiplied: Float[np.ndarray, "b h w 4"], background: Background, *, masked: bool
) -> Float[np.ndarray, "b h w c"]:
    """Pictures over the background, with the coverage as a fourth channel where they are cut out."""
    rgb = composite(premultiplied, background)
    return np.concatenate([rgb, np.clip(premultiplied[..., 3:], 0.0, 1.0)], axis=-1) if masked else rgb


def input_box(whole: Box, annotated: np.ndarray | None, draw: Draw) -> Box:
    """What the input of a sample is cut to, in pixels of the stored picture.

    Args:
      whole: the box without augmentation; with ``draw.sides`` the whole stored square.
      annotated: sides of the annotated box as fractions of the stored square's; None where they are not stored.
      draw: of the sample.
    """
    if draw.sides is not None:
        # AST-DIFF: CMR and AST cut the jittered square out of the photograph, and we out of the stored square. Of what
        # it shows about a twentieth of the box's side may lie beyond, never the box itself; border pixels stand in.
        whole = jittered_square(whole.side * annotated.astype(np.float64), draw.sides)
    return whole.moved(*draw.jitter)


def crop_first_view(targets, camera: PerspectiveCamera, keypoints, boxes: list[Box], frame_size: int):
    """The first supervising view through the boxes that the input is cut with, given in pixels of the stored frame."""
    size = targets.shape[2]
    scaled = _scaled(boxes, size / frame_size)
    targets, keypoints = targets.copy(), keypoints.copy()
    targets[:, 0] = crop_rgba(targets[:, 0], scaled, size)
    keypoints[:, 0] = crop_keypoints(keypoints[:, 0], scaled, (size, size))
    first = crop_camera(jax.tree.map(lambda x: x[:, 0], camera), scaled, (size, size))
    camera = jax.tree.map(lambda all_views, new: np.concatenate([new[:, None], all_views[:, 1:]], 1), camera, first)
    return targets, camera, keypoints


def crop_first_surroundings(pictures: Float[np.ndarray, "b s h w 4"], boxes: list[Box], frame_size: int) -> np.ndarray:
    """As `crop_first_view`, of pictures that are opaque: border pixels are repeated beyond them, as in the input."""
    size = pictures.shape[2]
    cut = crop_rgb(pictures[:, 0, ..., :3], _scaled(boxes, size / frame_size), size)
    return np.concatenate([cut[:, None], pictures[:, 1:]], axis=1)


def _scaled(boxes: list[Box], factor: float) -> list[Box]:
    return [Box(*(value * factor for value in dataclasses.astuple(box))) for box in boxes]


def first_frames(boxes: list[Box] | None, frame_size: int, draws: list[Draw]) -> Float[np.ndarray, "b 2 2"]:
    """Where the first supervising views show what the stored pictures show; see `Batch.frame`.

    Args:
      boxes: that they were cut out of, in pixels of the stored frame; None where they are whole.
      frame_size: sides of the stored frame, px.
      draws: say which samples are mirrored.
    """
    count = len(draws)
    whole = np.ones((count, 2), np.float32), np.zeros((count, 2), np.float32)
    camera = PerspectiveCamera(
        np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3)), np.zeros((count, 3)), *whole
    )
    if boxes is not None:
        camera = crop_camera(camera, boxes, (frame_size, frame_size))
    frames = np.stack([camera.focal, camera.principal], axis=1).astype(np.float32)
    frames[np.array([draw.mirror for draw in draws]), :, 0] *= -1
    return frames


def opaque(rgba: UInt8[np.ndarray, "*b h w 4"]) -> Float[np.ndarray, "*b h w 4"]:
    """Stored pictures as float32 in [0, 1], with what lies around the object, covered everywhere."""
    picture = rgba.astype(np.float32) / 255
    picture[..., 3] = 1
    return picture


def premultiplied(rgba: UInt8[np.ndarray, "*b h w 4"]) -> Float[np.ndarray, "*b h w 4"]:
    """Stored pictures as float32 in [0, 1], colours times alpha."""
    picture = rgba.astype(np.float32)
    picture *= 1 / 255
    return premultiply(picture[..., :3], picture[..., 3])
