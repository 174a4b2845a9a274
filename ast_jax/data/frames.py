"""The square picture about an annotated box, as the protocols of CMR and of AST cut it, without their random jitter.

Box coordinates here are pixel numbers as the annotation has them; the first pixel is number 1. The square that comes
out is a ``crop.Box``: in pixels, 0 at the left and upper borders of the photograph.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image

from ast_jax.data.crop import Box, Taps, resample

# Margin on each side as a fraction of that side of the box, both protocols.
PADDING = 0.05


@dataclass(frozen=True)
class Framing:
    """How one method makes its square pictures.

    Args:
      square: from the box to the square.
      cut: from the photograph (``uint8 [h, w, 3]``), its mask (0 or 1), the square and a size to RGBA.
      image_size: of the method's own pictures, px.
    """

    square: Callable[[np.ndarray], Box]
    cut: Callable[[np.ndarray, np.ndarray, Box, int], np.ndarray]
    image_size: int


def cmr_square(box: Float[np.ndarray, "4"]) -> Box:
    """CMR's square: first pixel 0, padded, rounded, the shorter side grown about the centre.

    ``b = box - 1``; ``b += 0.05 (-w, -h, w, h)`` with ``w = x2 - x1 + 1``; round; ``side = max(w, h)`` of the rounded
    box; left and top move out by ``round((side - w) / 2)``, ``round((side - h) / 2)``.

    Args:
      box: x1, y1, x2, y2: numbers of the first and last pixels of the object, the first of the picture is 1.

    Returns:
      The square; its sides are whole numbers.

    Source: Kanazawa et al., CMR, ECCV 2018, and released code.
    """
    return _square(np.asarray(box, np.float64) - 1, _round_half_away, last_pixel=1)


def ast_square(box: Float[np.ndarray, "4"]) -> Box:
    """The square of AST and Unicorn: as `cmr_square`, but pixel numbers are used as they are.

    The number of the first pixel (1) counts as its distance from the border, and the last pixel is left out: the
    square is one pixel smaller than CMR's and half a pixel to the right of it and below.

    Source: Monnier et al., Unicorn, ECCV 2022, and released code, which AST's is built on.
    """
    return _square(np.asarray(box, np.float32), round, last_pixel=0)


def _square(box: np.ndarray, rounded: Callable[[float], float], *, last_pixel: int) -> Box:
    width, height = box[2:] - box[:2] + 1
    padded = box + np.asarray([PADDING * float(side) for side in (-width, -height, width, height)], box.dtype)
    left, top, right, bottom = (int(rounded(value)) for value in padded)
    width, height = right - left + last_pixel, bottom - top + last_pixel
    side = max(width, height)
    return Box(float(left - rounded((side - width) / 2)), float(top - rounded((side - height) / 2)), float(side))


def jittered_square(box: Float[np.ndarray, "4"], moves: tuple[float, float, float, float]) -> Box:
    """The square of a box whose sides move, for training.

    ``left = x1 + (m_1 - 0.05) w``, ``top = y1 + (m_2 - 0.05) h``, ``right = x2 + (m_3 + 0.05) w``,
    ``lower = y2 + (m_4 + 0.05) h``; then the shorter side grows about the centre.

    Args:
      box: left, top, right and lower side, any unit, y down.
      moves: m, of each side.

    Source: Kanazawa et al., CMR, ECCV 2018, and released code, which AST's does likewise.
    """
    # AST-DIFF: both round to whole pixels of the photograph before they square.
    width, height = box[2:] - box[:2]
    moved = np.asarray(moves) + PADDING * np.array([-1, -1, 1, 1])
    left, top, right, bottom = box + moved * [width, height, width, height]
    side = max(right - left, bottom - top)
    return Box(float((left + right - side) / 2), float((top + bottom - side) / 2), float(side))


def _round_half_away(value: float) -> float:
    """``round`` of Python 2, in which CMR is written; Python 3 rounds halves to even numbers."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def cmr_cut(
    rgb: UInt8[np.ndarray, "h w 3"], mask: Integer[np.ndarray, "h w"], square: Box, size: int
) -> UInt8[np.ndarray, "size size 4"]:
    """White and no mask beyond the photograph; picture and mask are resized bilinearly, without antialiasing."""
    picture = _window(np.dstack([rgb, 255 * mask]).astype(np.float32), square, fill=(255, 255, 255, 0))
    taps = _bilinear_taps(int(square.side), size)
    return np.rint(resample(picture[None], taps, taps)[0]).astype(np.uint8)


def ast_cut(
    rgb: UInt8[np.ndarray, "h w 3"], mask: Integer[np.ndarray, "h w"], square: Box, size: int
) -> UInt8[np.ndarray, "size size 4"]:
    """Border pixels repeated beyond the photograph, no mask there; pillow's antialiased bilinear filter for the
    picture and its nearest neighbour for the mask."""
    colour = Image.fromarray(_window(rgb, square)).resize((size, size), Image.Resampling.BILINEAR)
    alpha = _window((255 * mask[..., None]).astype(np.uint8), square, fill=(0,))[..., 0]
    alpha = Image.fromarray(alpha).resize((size, size), Image.Resampling.NEAREST)
    return np.dstack([np.asarray(colour), np.asarray(alpha)])


FRAMINGS = {"cmr": Framing(cmr_square, cmr_cut, 256), "ast": Framing(ast_square, ast_cut, 64)}


def _window(picture: np.ndarray, square: Box, fill: tuple[int, ...] | None = None) -> np.ndarray:
    """The pixels of a square of whole pixels; beyond the picture `fill`, or its border pixels where that is None."""
    height, width = picture.shape[:2]
    rows, columns = (int(start) + np.arange(int(square.side)) for start in (square.top, square.left))
    window = picture[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    if fill is None:
        return window
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return np.where(inside[..., None], window, np.array(fill, picture.dtype))


def _bilinear_taps(source_size: int, size: int) -> Taps:
    """Bilinear interpolation between pixel centres, border pixels repeated (OpenCV's ``INTER_LINEAR``)."""
    place = (np.arange(size) + 0.5) * source_size / size - 0.5
    low = np.floor(place)
    index = np.clip(np.stack([low, low + 1], -1), 0, source_size - 1).astype(np.int64)
    weight = np.stack([low + 1 - place, place - low], -1).astype(np.float32)
    return Taps(index[None], weight[None])


def square_keypoints(parts: Float[np.ndarray, "p 3"], square: Box) -> Float[np.ndarray, "p 3"]:
    """Key points in NDC of the square: ``x = 2 (x_px - left) / side - 1``, ``y = 1 - 2 (y_px - top) / side``.

    ``x_px`` is the distance from the border: the centre of the first pixel is at 0.5, and so is pixel number 1.

    Args:
      parts: x and y as pixel numbers, the first is 1; visible (> 0).
      square: of the photograph.

    Returns:
      float32 x, y in NDC (y up) and visible (0 or 1); all zero where invisible.
    """
    # AST-DIFF: CMR writes 2 x / size - 1 with x = 0 the centre of the first pixel, half a pixel of the photograph up
    # and left of what its renderer draws there; AST and Unicorn are half a pixel down and right.
    x, y = ((parts[:, axis] - 0.5 - start) for axis, start in ((0, square.left), (1, square.top)))
    seen = parts[:, 2] > 0
    ndc = np.stack([2 * x / square.side - 1, 1 - 2 * y / square.side, seen], -1)
    return np.where(seen[:, None], ndc, 0).astype(np.float32)


def square_camera(scale: float, shift: Float[np.ndarray, "2"], square: Box) -> tuple[float, float, float]:
    """A weak-perspective camera of the photograph as CMR's numbers for the square.

    ``s = 2 scale / side`` (CMR: ``scale size / side (1/w + 1/h)`` with ``w = h = size``),
    ``t = 2 (shift_px - corner) / side - 1``.

    Args:
      scale: pixels per world unit.
      shift: where the world's origin falls, pixel numbers x and y, the first is 1.
      square: of the photograph.

    Returns:
      s, tx, ty; y down.
    """
    # AST-DIFF: CMR fits `shift` to pixel numbers that begin with 1 and takes it for numbers that begin with 0, which
    # moves its camera a pixel right and down of its key points. Here the two agree.
    x, y = np.asarray(shift, np.float64) - 0.5
    return (
        float(2 * scale / square.side),
        float(2 * (x - square.left) / square.side - 1),
        float(2 * (y - square.top) / square.side - 1),
    )
