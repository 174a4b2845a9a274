"""A picture of one object and its mask, from files as people have them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

from ast_jax.data.images import TURNS, Picture, Source, as_picture, colour_and_alpha, name_of
from ast_jax.data.masks import (
    OBJECT_SHARE,
    border_of,
    filled,
    is_cut_out,
    is_rectangle,
    mask_of,
    over_border,
    without_strays,
)
from ast_jax.pretrained.saliency import DoubtfulMask, FindObject

HOW_TO = (
    "give its mask, white object on black (--mask FILE, or NAME_mask.png in a folder), or a picture whose alpha "
    "channel is the mask"
)
INSTALL = 'or pip install "ast-jax[photo]", which brings a network that finds objects'
# A pixel this far from the background's colour (largest difference of a channel, of 1) may be object: well
# above the noise of JPEG at its usual quality.
PLAIN_TOLERANCE = 0.08
# The least part of the border that must show the background's colour; the rest may be the object, cut off.
PLAIN_BORDER = 0.85
# With twice the tolerance the object must still be nearly the same, or its outline is a guess.
STABLE_IOU = 0.85


@dataclass(frozen=True)
class Photo:
    """A picture of one object, or of several.

    Args:
      rgb: straight colour in [0, 1].
      mask: coverage in [0, 1].
      found_by: what told the object: ``alpha channel``, ``plain background``, the network, or the file of the mask.
      notices: what of the files was left out or guessed.
    """

    rgb: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    found_by: str
    notices: tuple[str, ...] = ()


def load_photo(image: Source, mask: Source | None = None, *, find_object: FindObject | None = None) -> Photo:
    """Read a picture and find its object: by a mask, else by alpha, else by a plain background, else by a network.

    Alpha counts where it is a cut-out, see `masks.is_cut_out`; else the picture is laid over the colour of its border.
    Small parts beside the object are dropped, see `masks.without_strays`.

    Args:
      image: a file of any format, mode and bit depth that pillow reads, turned upright as its EXIF data say, in sRGB as
        its profile says; or a pillow image; or an array, see `images.as_picture`.
      mask: a picture of the same size, upright or as the picture is stored, see `masks.mask_of`.
      find_object: asked where nothing else tells the object, see `saliency.SalientObject`; None: nobody is.

    Returns:
      Picture and mask, float32.

    Raises:
      ValueError: a file is missing or broken, sizes differ, the mask is empty, or there is no mask and none is found;
        the message says what to do.
      DoubtfulMask: the network's mask is not to be trusted.
    """
    picture, name = as_picture(image), name_of(image, "the picture")
    rgb, alpha = colour_and_alpha(picture.image)
    if mask is not None:
        cover, notices = _read_fitting_mask(mask, picture, name)
        found_by = f"mask file {Path(mask).name}" if isinstance(mask, str | Path) else "mask"
    elif alpha is not None and alpha.max() <= 0.5:
        raise ValueError(f"{name}: its alpha channel is transparent everywhere; {HOW_TO}.")
    elif alpha is not None and is_cut_out(alpha):
        cover, found_by = alpha, "alpha channel"
        notices = ("what its alpha channel cuts out is a rectangle: if that is a margin, crop it",)
        notices = notices if is_rectangle(alpha) else ()
        rgb = np.where(alpha[..., None] > 0, rgb, np.float32(1))  # what is under transparency is of no use
    else:
        rgb = over_border(rgb, alpha)
        is_opaque = alpha is not None and bool(alpha.min() < 1)
        cover, found_by, notices = _find(rgb, name, is_opaque, find_object)
    cover, strays = without_strays(cover)
    return Photo(rgb, cover, found_by, (*picture.notices, *notices, *strays))


def _find(
    rgb: Float[np.ndarray, "h w 3"], name: str, is_opaque: bool, find_object: FindObject | None
) -> tuple[Float[np.ndarray, "h w"], str, tuple[str, ...]]:
    """Mask, what found it, and notices, from the picture alone."""
    notices = ("its alpha channel is opaque nearly everywhere, so it is not taken as the mask",) if is_opaque else ()
    try:
        found, others = plain_background_mask(rgb)
        return found.astype(np.float32), "plain background", (*notices, *others)
    except ValueError as error:
        if find_object is None:
            alone = "no mask (its alpha channel is opaque nearly everywhere)" if notices else "no mask"
            raise ValueError(f"{name}: {alone}, and {error}; {HOW_TO}, {INSTALL}.") from error
    try:
        mask = find_object(rgb)
    except DoubtfulMask as error:
        raise DoubtfulMask(f"{name}: {error}; {HOW_TO}.", error.mask) from error
    return mask, f"found by {getattr(find_object, 'name', 'a network')}", notices


def _read_fitting_mask(
    source: Source, picture: Picture, image_name: str
) -> tuple[Float[np.ndarray, "h w"], tuple[str, ...]]:
    """The mask in the frame of the upright picture, and notices.

    Raises:
      ValueError: see :func:`load_photo`.
    """
    found, name = as_picture(source, srgb=False), name_of(source, "the mask")
    mask, notices = mask_of(found, name)
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
    raise ValueError(f"{name}: the mask has {own}, the picture {image_name} has {others}; make the sizes equal.")


def plain_background_mask(rgb: Float[np.ndarray, "h w 3"]) -> tuple[Bool[np.ndarray, "h w"], tuple[str, ...]]:
    """One object, or several of similar size, before a background of one colour.

    What differs from the median colour of the border, holes filled; the largest connected part, and those that are at
    least ``masks.OBJECT_SHARE`` of it.

    Args:
      rgb: in [0, 1].

    Returns:
      True on the objects, and a notice of what else stands out.

    Raises:
      ValueError: the border is not of one colour, or what stands out is not clearly an object.
    """
    border = border_of(rgb.shape[:2])
    distance = np.abs(rgb - np.median(rgb[border], axis=0).reshape(1, 1, 3)).max(-1)
    if np.mean(distance[border] < PLAIN_TOLERANCE) < PLAIN_BORDER:
        raise ValueError("its background is not of one colour")
    mask, certain = (_large_parts(distance > PLAIN_TOLERANCE * factor) for factor in (1, 2))
    share = mask.mean()
    if not 0.005 < share < 0.95:
        raise ValueError(f"what differs from the background covers {share:.1%} of it, which is no object")
    if (mask & certain).sum() < STABLE_IOU * (mask | certain).sum():
        raise ValueError("the object's colours are too near to the background's to tell them apart")
    others = ((distance > PLAIN_TOLERANCE * 2) & ~mask).sum()
    if others > 0.3 * mask.sum():
        raise ValueError("many small things stand out from the background")
    return mask, (f"smaller things beside the object, {others} px, are left out",) if others else ()


def _large_parts(foreground: np.ndarray) -> np.ndarray:
    """Holes filled, specks dropped; parts that touch at a corner are one."""
    labels, count = ndimage.label(filled(foreground), structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros(foreground.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= OBJECT_SHARE * sizes.max())[labels] & (labels > 0)
