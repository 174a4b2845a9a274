"""A tight square picture of the object, cut out and resampled in one antialiased step.

Training pictures and photographs to reconstruct go through the same functions, so the model sees both alike.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from render import PerspectiveCamera

# A square that is this many times larger than its picture is a slip of the annotation.
MAX_GROWTH = 4
Background = tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """A square in the pixels of a source picture; it may reach beyond the picture.

    Args:
      left: x of its left side, px; 0 is the left border of the picture.
      top: y of its upper side, px; 0 is the upper border of the picture.
      side: its length, px, > 0.
    """

    left: float
    top: float
    side: float

    def moved(self, shift_x: float, shift_y: float, zoom: float) -> "Box":
        """The box shifted by fractions of its side and shrunk ``zoom`` times about its centre."""
        side = self.side / zoom
        grown = (self.side - side) / 2
        return Box(self.left + grown + shift_x * self.side, self.top + grown + shift_y * self.side, side)


def object_box(mask: Float[np.ndarray, "h w"] | Bool[np.ndarray, "h w"], *, padding: float = 0.1) -> Box:
    """The square about the object: the longer side of its bounding box, and a margin.

    ``side = max(width, height) * (1 + 2 * padding)``, about the centre of the bounding box.

    Args:
      mask: coverage in [0, 1]; more than one half is object.
      padding: margin on each side as a fraction of the longer side, >= 0.

    Returns:
      The square, in pixels of the mask.

    Raises:
      ValueError: no pixel is object.
    """
    inside = mask > 0.5
    columns = np.flatnonzero(inside.any(0))
    rows = np.flatnonzero(inside.any(1))
    if len(rows) == 0:
        raise ValueError("mask: no pixel above 0.5, so there is no object to crop to; give another mask.")
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    side = max(right - left, bottom - top) * (1 + 2 * padding)
    return Box(float((left + right - side) / 2), float((top + bottom - side) / 2), float(side))


def check_box(box: Box, image_size: tuple[int, int]) -> None:
    """Raises a ValueError where a square has nothing of a picture in it, or is ``MAX_GROWTH`` times larger.

    Args:
      box: in pixels of the picture.
      image_size: its height and width, px.
    """
    height, width = image_size
    inside = box.left < width and box.top < height and min(box.left, box.top) + box.side > 0
    if not (inside and 1 <= box.side <= MAX_GROWTH * max(height, width)):
        raise ValueError(f"the box lies outside the {width} x {height} px of the photograph, or is no box.")


@dataclass(frozen=True)
class Taps:
    """Resampling along one axis: output pixel i is the sum over k of ``weight[i, k] source[index[i, k]]``.

    Args:
      index: ``[b, size, k]`` source pixels, all within the picture.
      weight: ``[b, size, k]``.
    """

    index: Int[np.ndarray, "b size k"]
    weight: Float[np.ndarray, "b size k"]


def tent_taps(
    start: Float[np.ndarray, " b"],
    length: Float[np.ndarray, " b"],
    source_size: int,
    size: int,
    *,
    repeat_border: bool = False,
) -> Taps:
    """An interval of the source as ``size`` pixels: bilinear when magnifying, antialiased when minifying.

    A tent about the centre of the output pixel, as wide as two output pixels or two source pixels, whichever
    is more. Weights of one output pixel sum to one over the endless row of source pixels; those beyond the
    picture are left out, so they count as transparent.

    Args:
      start: where the interval begins, source px.
      length: how long it is, source px, > 0.
      source_size: pixels of the source.
      size: pixels of the output.
      repeat_border: the row goes on beyond the picture as its border pixels are, in place of transparent.

    Returns:
      Taps with float32 weights.
    """
    step = (length / size)[:, None, None]
    reach = np.maximum(step, 1.0)
    centre = start[:, None, None] + (np.arange(size)[:, None] + 0.5)[None] * step
    # Enough whole pixels about the centre to hold the tent, in or out of the picture.
    pixel = np.floor(centre - reach) + np.arange(int(np.ceil(2 * reach.max())) + 1)[None, None]
    weight = np.maximum(1.0 - np.abs(pixel + 0.5 - centre) / reach, 0.0)
    weight /= weight.sum(-1, keepdims=True)
    if repeat_border:
        return Taps(np.clip(pixel, 0, source_size - 1).astype(np.int64), weight.astype(np.float32))
    return _inside_taps(pixel, weight, source_size)


def area_taps(source_size: int, size: int) -> Taps:
    """The whole source as ``size`` pixels, at most as many as it has, each the average over its area."""
    edges = np.arange(size + 1)[None, :, None] * (source_size / size)
    pixel = np.floor(edges[:, :-1]) + np.arange(int(np.ceil(source_size / size)) + 1)[None, None]
    overlap = np.minimum(edges[:, 1:], pixel + 1) - np.maximum(edges[:, :-1], pixel)
    return _inside_taps(pixel, np.maximum(overlap, 0) * size / source_size, source_size)


def _inside_taps(pixel: np.ndarray, weight: np.ndarray, source_size: int) -> Taps:
    inside = (pixel >= 0) & (pixel < source_size)
    index = np.clip(pixel, 0, source_size - 1).astype(np.int64)
    return Taps(index, np.where(inside, weight, 0).astype(np.float32))


def resample(pictures: Float[np.ndarray, "b h w c"], rows: Taps, columns: Taps) -> Float[np.ndarray, "b i j c"]:
    """Resample along both axes.

    As sums of a few rows, not as matrix products: the threads of BLAS would fight with training for cores.
    """
    half_done = _resample_rows(pictures, rows)
    across = np.ascontiguousarray(half_done.swapaxes(1, 2))
    return np.ascontiguousarray(_resample_rows(across, columns).swapaxes(1, 2))


def _resample_rows(pictures: np.ndarray, taps: Taps) -> np.ndarray:
    flat = pictures.reshape(*pictures.shape[:2], -1)
    batch = np.arange(len(taps.index))[:, None]
    result = taps.weight[:, :, 0, None] * flat[batch, taps.index[:, :, 0]]
    for k in range(1, taps.index.shape[2]):
        term = flat[batch, taps.index[:, :, k]]
        term *= taps.weight[:, :, k, None]
        result += term
    return result.reshape(len(pictures), taps.index.shape[1], *pictures.shape[2:])


def crop_rgba(
    premultiplied: Float[np.ndarray, "b h w 4"], boxes: list[Box], size: int
) -> Float[np.ndarray, "b size size 4"]:
    """Cut one square out of each picture and resample it; beyond the picture all is transparent.

    Args:
      premultiplied: float32, colour times alpha, and alpha.
      boxes: one per picture.
      size: pixels of the output's sides.

    Returns:
      Colour times alpha, and alpha, of the squares.
    """
    height, width = premultiplied.shape[1:3]
    left, top, side = np.array([(box.left, box.top, box.side) for box in boxes], np.float64).reshape(-1, 3).T
    return resample(premultiplied, tent_taps(top, side, height, size), tent_taps(left, side, width, size))


def crop_rgb(rgb: Float[np.ndarray, "b h w 3"], boxes: list[Box], size: int) -> Float[np.ndarray, "b size size 4"]:
    """As `crop_rgba` of pictures without a mask: all is opaque, border pixels are repeated beyond the picture."""
    height, width = rgb.shape[1:3]
    left, top, side = np.array([(box.left, box.top, box.side) for box in boxes], np.float64).reshape(-1, 3).T
    rows = tent_taps(top, side, height, size, repeat_border=True)
    cropped = resample(rgb, rows, tent_taps(left, side, width, size, repeat_border=True))
    return np.concatenate([cropped, np.ones_like(cropped[..., :1])], axis=-1)


def area_downsample(pictures: Float[np.ndarray, "b h w c"], size: int) -> Float[np.ndarray, "b size size c"]:
    """Average over the area of each output pixel, which may cover fractions of source pixels.

    Args:
      pictures: float32.
      size: pixels of the output's sides, at most those of the pictures.

    Returns:
      The smaller pictures; the same ones where the size agrees.
    """
    count, height, width = pictures.shape[:3]
    if (height, width) == (size, size):
        return pictures
    rows, columns = area_taps(height, size), area_taps(width, size)
    rows, columns = (Taps(np.repeat(t.index, count, 0), np.repeat(t.weight, count, 0)) for t in (rows, columns))
    return resample(pictures, rows, columns)


def composite(premultiplied: Float[np.ndarray, "*b h w 4"], background: Background) -> Float[np.ndarray, "*b h w 3"]:
    """``rgb = colour * alpha + (1 - alpha) * background``, held within [0, 1]."""
    rgb = np.empty((*premultiplied.shape[:-1], 3), np.float32)
    clear = 1 - premultiplied[..., 3]
    for channel in range(3):  # long rows are faster than an innermost loop of three
        rgb[..., channel] = premultiplied[..., channel] + clear * np.float32(background[channel])
    return np.clip(rgb, 0.0, 1.0, out=rgb)


def premultiply(rgb: Float[np.ndarray, "*b h w 3"], mask: Float[np.ndarray, "*b h w"]) -> Float[np.ndarray, "*b h w 4"]:
    """Colour times alpha, and alpha, as float32."""
    rgba = np.empty((*mask.shape, 4), np.float32)
    rgba[..., 3] = mask
    for channel in range(3):
        np.multiply(rgb[..., channel], mask, out=rgba[..., channel], casting="same_kind")
    return rgba


def crop_to_mask(
    rgb: Float[np.ndarray, "h w 3"],
    mask: Float[np.ndarray, "mask_h mask_w"],
    size: int,
    *,
    padding: float = 0.1,
    jitter: tuple[float, float, float] = (0.0, 0.0, 1.0),
    background: Background = (1.0, 1.0, 1.0),
    masked: bool = True,
) -> tuple[Float[np.ndarray, "size size 3"], Float[np.ndarray, "size size"]]:
    """What the model sees of a picture: the object, large, on a plain ground.

    Args:
      rgb: straight colour in [0, 1]; what it holds outside the mask matters only to ``masked=False``.
      mask: coverage in [0, 1].
      size: pixels of the result's sides, > 0.
      padding: margin on each side as a fraction of the longer side of the bounding box, >= 0.
      jitter: shift in x and y as fractions of the square's side, and zoom (1.1 shows the object 1.1 times
        larger).
      background: RGB in [0, 1] put behind and around the object.
      masked: False keeps the picture about the object; the mask only says where to cut.

    Returns:
      The square picture and its mask.

    Raises:
      ValueError: no pixel of the mask is above one half, or picture and mask differ in size.
    """
    if rgb.shape[:2] != mask.shape:
        raise ValueError(f"mask: is {mask.shape} but the picture is {rgb.shape[:2]}; both need the same size.")
    box = object_box(mask, padding=padding).moved(*jitter)
    rows, columns, box = _window(box, size, mask.shape)
    square = crop_rgba(premultiply(rgb[rows, columns], mask[rows, columns])[None], [box], size)[0]
    coverage = np.clip(square[..., 3], 0.0, 1.0)
    if not masked:
        square = crop_rgb(rgb[rows, columns].astype(np.float32)[None], [box], size)[0]
    return composite(square, background), coverage


def crop_surroundings(
    rgb: Float[np.ndarray, "h w 3"], box: Box, size: int, background: Background = (1.0, 1.0, 1.0)
) -> Float[np.ndarray, "size size 3"]:
    """All that a picture shows in a square, and a plain ground beyond its border.

    Args:
      rgb: in [0, 1].
      box: the square, px of the picture; may reach beyond it.
      size: pixels of the result's sides, > 0.
      background: RGB in [0, 1].
    """
    rows, columns, box = _window(box, size, rgb.shape[:2])
    part = rgb[rows, columns]
    square = crop_rgba(premultiply(part, np.ones(part.shape[:2], np.float32))[None], [box], size)[0]
    return composite(square, background)


def _window(box: Box, size: int, shape: tuple[int, int]) -> tuple[slice, slice, Box]:
    """The part of a large picture that the crop can reach, and the box within it."""
    reach = max(box.side / size, 1.0) + 1
    top, left = (max(int(np.floor(start - reach)), 0) for start in (box.top, box.left))
    bottom, right = (int(np.ceil(start + box.side + reach)) for start in (box.top, box.left))
    rows, columns = slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))
    return rows, columns, Box(box.left - left, box.top - top, box.side)


def crop_camera(camera: PerspectiveCamera, boxes: list[Box], image_size: tuple[int, int]) -> PerspectiveCamera:
    """The camera of the squares, from the camera of the pictures that they were cut out of.

    With ``r = (w, h) / side`` and ``c`` the square's centre in NDC of the picture (x right, y up):
    ``focal' = focal * r`` and ``principal' = (principal - c) * r``.

    Args:
      camera: leading axis ``[b]``.
      boxes: one per camera, in pixels of the picture.
      image_size: height and width of the pictures, px.

    Returns:
      The cameras of the squares.
    """
    centre, ratio = _box_frames(boxes, image_size)
    return dataclasses.replace(camera, focal=camera.focal * ratio, principal=(camera.principal - centre) * ratio)


def photo_camera(camera: PerspectiveCamera, boxes: list[Box], image_size: tuple[int, int]) -> PerspectiveCamera:
    """The camera of the pictures, from the camera of the squares that were cut out of them: undoes `crop_camera`.

    Args:
      camera: leading axis ``[b]``.
      boxes: one per camera, in pixels of the picture.
      image_size: height and width of the pictures, px.

    Returns:
      The cameras of the pictures.
    """
    centre, ratio = _box_frames(boxes, image_size)
    return dataclasses.replace(camera, focal=camera.focal / ratio, principal=camera.principal / ratio + centre)


def crop_keypoints(
    keypoints_ndc: Float[np.ndarray, "b p 3"], boxes: list[Box], image_size: tuple[int, int]
) -> Float[np.ndarray, "b p 3"]:
    """Key points of the squares, from those of the pictures that they were cut out of; see `crop_camera`.

    Args:
      keypoints_ndc: x, y in NDC of the pictures, and visible.
      boxes: one per picture, in its pixels.
      image_size: height and width of the pictures, px.

    Returns:
      x, y in NDC of the squares, and visible, as it was.
    """
    centre, ratio = _box_frames(boxes, image_size)
    moved = (keypoints_ndc[..., :2] - centre[:, None]) * ratio[:, None]
    return np.concatenate([moved, keypoints_ndc[..., 2:]], axis=-1).astype(np.float32)


def _box_frames(boxes: list[Box], image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the squares in NDC of the pictures, and picture sides over square sides; ``[b, 2]`` each."""
    height, width = image_size
    left, top, side = np.array([(box.left, box.top, box.side) for box in boxes], np.float32).reshape(-1, 3).T
    centre = np.stack([2 * (left + side / 2) / width - 1, 1 - 2 * (top + side / 2) / height], -1)
    return centre, np.asarray([[width, height]], np.float32) / side[:, None]
