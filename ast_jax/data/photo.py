"""A picture of one object and its mask, from files as people have them."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

from ast_jax.data.images import deep_grey, is_deep, open_picture

HOW_TO = "give --mask FILE (white object on black), or a picture whose alpha channel is the mask"
# A pixel this far from the background's colour (largest difference of a channel, of 1) may be object: well
# above the noise of JPEG at its usual quality.
PLAIN_TOLERANCE = 0.08
# The least part of the border that must show the background's colour; the rest may be the object, cut off.
PLAIN_BORDER = 0.85
# With twice the tolerance the object must still be nearly the same, or its outline is a guess.
STABLE_IOU = 0.85


def load_photo(
    image_path: str | Path, mask_path: str | Path | None = None
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Read a picture and find its object: by a mask file, else by alpha, else by a plain background.

    Args:
      image_path: any format, mode and bit depth that pillow reads; turned upright as its EXIF data say.
      mask_path: a picture of the same size, object bright and background black, any mode; or with the mask as
        its alpha channel.

    Returns:
      Straight RGB and the mask, float32 in [0, 1].

    Raises:
      ValueError: a file is missing or broken, sizes differ, the mask is empty, or there is no mask and the
        background is not plain; the message says what to do.
    """
    picture = open_picture(image_path)
    rgb, alpha = _colour_and_alpha(picture)
    if mask_path is not None:
        mask = read_mask(mask_path)
        if mask.shape != rgb.shape[:2]:
            sizes = " but ".join(f"{w} x {h} px" for h, w in (mask.shape, rgb.shape[:2]))
            raise ValueError(f"{mask_path}: the mask is {sizes} the picture {image_path}; make the sizes equal.")
        return rgb, mask
    if alpha is not None and alpha.min() < 1:
        if alpha.max() <= 0.5:
            raise ValueError(f"{image_path}: its alpha channel is transparent everywhere; {HOW_TO}.")
        return rgb, alpha
    try:
        return rgb, plain_background_mask(rgb).astype(np.float32)
    except ValueError as error:
        raise ValueError(f"{image_path}: no mask, and {error}; {HOW_TO}.") from error


def plain_background_mask(rgb: Float[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """The one object before a background of one colour.

    What differs from the median colour of the border, holes filled, largest connected part.

    Args:
      rgb: in [0, 1].

    Returns:
      True on the object.

    Raises:
      ValueError: the border is not of one colour, or what stands out is not clearly one object.
    """
    height, width = rgb.shape[:2]
    ring = max(1, min(height, width) // 50)
    border = np.ones((height, width), bool)
    border[ring : height - ring, ring : width - ring] = False
    distance = np.abs(rgb - np.median(rgb[border], axis=0).reshape(1, 1, 3)).max(-1)
    if np.mean(distance[border] < PLAIN_TOLERANCE) < PLAIN_BORDER:
        raise ValueError("its background is not of one colour")
    mask, certain = (_largest_part(distance > PLAIN_TOLERANCE * factor) for factor in (1, 2))
    share = mask.mean()
    if not 0.005 < share < 0.95:
        raise ValueError(f"what differs from the background covers {share:.1%} of it, which is no object")
    if (mask & certain).sum() < STABLE_IOU * (mask | certain).sum():
        raise ValueError("the object's colours are too near to the background's to tell them apart")
    others = ((distance > PLAIN_TOLERANCE * 2) & ~mask).sum()
    if others > 0.3 * mask.sum():
        raise ValueError("several things stand out from the background")
    return mask


def _largest_part(foreground: np.ndarray) -> np.ndarray:
    """Holes filled, specks dropped; parts that touch at a corner are one."""
    labels, count = ndimage.label(ndimage.binary_fill_holes(foreground), structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros(foreground.shape, bool)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _colour_and_alpha(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 RGB, and alpha where the picture has it."""
    if is_deep(picture):
        grey = deep_grey(picture)
        return np.repeat(grey[..., None], 3, axis=-1), None
    has_alpha = picture.has_transparency_data
    pixels = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"), np.float32) / 255
    return pixels[..., :3], pixels[..., 3] if has_alpha else None


def read_mask(path: str | Path) -> Float[np.ndarray, "h w"]:
    """Alpha where it says something, else what is not black in a palette, else brightness.

    Brightness counts relative to the brightest pixel, because masks are also stored as 0 and 1 of 255.

    Returns:
      float32 in [0, 1].

    Raises:
      ValueError: missing, broken, or no pixel is bright.
    """
    picture = open_picture(path)
    rgb, alpha = _colour_and_alpha(picture)
    if alpha is not None and alpha.min() < alpha.max():
        mask = alpha
    elif picture.mode in ("P", "PA"):
        mask = (rgb.max(-1) > 0).astype(np.float32)
    else:
        mask = rgb.mean(-1)
        mask = mask / max(float(mask.max()), 1e-6)
    if mask.max() <= 0.5:
        raise ValueError(f"{path}: the mask is empty, no pixel of it is bright; it needs a white object on black.")
    return mask.astype(np.float32)
