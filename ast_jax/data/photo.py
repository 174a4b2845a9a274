"""A picture of one object and its mask, from files as people have them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

from ast_jax.data.images import TURNS, Picture, colour_and_alpha, read_picture
from ast_jax.data.masks import border_of, filled, is_cut_out, mask_of, over_border, without_strays

HOW_TO = (
    "give its mask, white object on black (--mask FILE, or NAME_mask.png in a folder), or a picture whose alpha "
    "channel is the mask"
)
# A pixel this far from the background's colour (largest difference of a channel, of 1) may be object: well
# above the noise of JPEG at its usual quality.
PLAIN_TOLERANCE = 0.08
# The least part of the border that must show the background's colour; the rest may be the object, cut off.
PLAIN_BORDER = 0.85
# With twice the tolerance the object must still be nearly the same, or its outline is a guess.
STABLE_IOU = 0.85


@dataclass(frozen=True)
class Photo:
    """A picture of one object.

    Args:
      rgb: straight colour in [0, 1].
      mask: coverage in [0, 1].
      found_by: what told the object: ``alpha channel``, ``plain background``, or the file of the mask.
      notices: what of the files was left out or guessed, a line each.
    """

    rgb: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    found_by: str
    notices: tuple[str, ...] = ()


def load_photo(image_path: str | Path, mask_path: str | Path | None = None) -> Photo:
    """Read a picture and find its object: by a mask file, else by alpha, else by a plain background.

    Alpha counts where it is a cut-out, see `masks.is_cut_out`; else the picture is laid over the colour of its border.
    Small parts beside the object are dropped, see `masks.without_strays`.

    Args:
      image_path: any format, mode and bit depth that pillow reads; turned upright as its EXIF data say, in sRGB as its
        profile says.
      mask_path: a picture of the same size, upright or as the picture is stored, see `masks.mask_of`.

    Returns:
      Picture and mask, float32.

    Raises:
      ValueError: a file is missing or broken, sizes differ, the mask is empty, or there is no mask and the
        background is not plain; the message says what to do.
    """
    picture = read_picture(image_path)
    rgb, alpha = colour_and_alpha(picture.image)
    if mask_path is not None:
        mask, notices = _read_fitting_mask(mask_path, picture, image_path)
        found_by = f"mask file {Path(mask_path).name}"
    elif alpha is not None and alpha.max() <= 0.5:
        raise ValueError(f"{image_path}: its alpha channel is transparent everywhere; {HOW_TO}.")
    elif alpha is not None and is_cut_out(alpha):
        mask, notices, found_by = alpha, (), "alpha channel"
    else:
        rgb, found_by, notices = over_border(rgb, alpha), "plain background", ()
        if alpha is not None and alpha.min() < 1:
            notices = ("its alpha channel is opaque nearly everywhere, so it is not taken as the mask",)
        try:
            found, others = plain_background_mask(rgb)
        except ValueError as error:
            alone = "no mask (its alpha channel is opaque nearly everywhere)" if notices else "no mask"
            raise ValueError(f"{image_path}: {alone}, and {error}; {HOW_TO}.") from error
        mask, notices = found.astype(np.float32), (*notices, *others)
    mask, strays = without_strays(mask)
    return Photo(rgb, mask, found_by, (*picture.notices, *notices, *strays))


def _read_fitting_mask(
    path: str | Path, picture: Picture, image_path: str | Path
) -> tuple[Float[np.ndarray, "h w"], tuple[str, ...]]:
    """The mask in the frame of the upright picture, and notices.

    Raises:
      ValueError: see :func:`load_photo`.
    """
    found = read_picture(path, srgb=False)
    mask, notices = mask_of(found, str(path))
    notices = tuple(f"mask: {notice}" for notice in (*found.notices, *notices))
    upright = picture.image.size[::-1]
    stored = upright[::-1] if picture.orientation >= 5 else upright
    has_turn = picture.orientation > 1 and found.orientation == 1
    if mask.shape == upright:
        if has_turn and stored == upright:
            notices += ("mask: its size fits the picture before and after its EXIF turn; taken as drawn after it",)
        return mask, notices
    if has_turn and mask.shape == stored:
        turned = Image.fromarray(mask).transpose(TURNS[picture.orientation])
        return np.asarray(turned), (
            *notices,
            "mask: drawn before the EXIF turn of the picture, and turned with it",
        )
    own, others = (f"{w} x {h} px" for h, w in (mask.shape, upright))
    raise ValueError(f"{path}: the mask has {own}, the picture {image_path} has {others}; make the sizes equal.")


def plain_background_mask(rgb: Float[np.ndarray, "h w 3"]) -> tuple[Bool[np.ndarray, "h w"], tuple[str, ...]]:
    """The one object before a background of one colour.

    What differs from the median colour of the border, holes filled, largest connected part.

    Args:
      rgb: in [0, 1].

    Returns:
      True on the object, and a notice of what else stands out.

    Raises:
      ValueError: the border is not of one colour, or what stands out is not clearly one object.
    """
    border = border_of(rgb.shape[:2])
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
    return mask, (f"smaller things beside the object, {others} px, are left out",) if others else ()


def _largest_part(foreground: np.ndarray) -> np.ndarray:
    """Holes filled, specks dropped; parts that touch at a corner are one."""
    labels, count = ndimage.label(filled(foreground), structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros(foreground.shape, bool)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
