"""Masks as people save them: brightness, alpha, labels, palettes, colours; and what in them is no object."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from ast_jax.data.images import Picture, colour_and_alpha, is_deep, read_picture

# Alpha is a cut-out where at least this much of the picture, outside of the object, is transparent. A screenshot's
# rounded corners take 5 % at a radius of a quarter of its side.
CUT_OUT_SHARE = 0.1
# What fills so much of the box about it is a rectangle, with corners that may be rounded a little.
RECTANGLE = 0.99
# A part of a mask that is smaller than this share of the largest one is a stray: it is no object.
STRAY_SHARE = 0.02
# A part of at least this share of the largest one is an object of its own; smaller ones belong to the nearest object:
# a branch before a bird cuts off its tail.
OBJECT_SHARE = 0.25
# Black is the background where it covers this share of the border; another colour needs more, and no black there.
BLACK_BORDER, NO_BLACK, PLAIN_BORDER = 0.25, 0.02, 0.75
# A picture of more colours is no map of labels, unless its numbers are as small.
MAX_LABELS = 64
# Of 1: what JPEG leaves of black and of white, and the least difference of a colour from its background.
JPEG_NOISE, COLOUR_DIFFERENCE = 0.1, 0.25
# Pascal VOC: classes 1 to 20 and "void", 255, which is this entry of its palette: five pixels about each object, and
# objects that nobody could label. Source: Everingham and Winn, VOC2012 Development Kit, on segmentation.
VOC_CLASSES, VOID, VOID_COLOUR = 20, 255, (224, 224, 192)
_CORNERS = np.ones((3, 3))


def read_mask(path: str | Path) -> Float[np.ndarray, "h w"]:
    """The object in a mask file, see :func:`mask_of`; upright as its EXIF data say.

    Returns:
      float32 in [0, 1].

    Raises:
      ValueError: missing, broken, or object and background cannot be told apart.
    """
    return mask_of(read_picture(path, srgb=False), str(path))[0]


def mask_of(picture: Picture, name: str) -> tuple[Float[np.ndarray, "h w"], tuple[str, ...]]:
    """The object in the picture of a mask.

    By its alpha channel where that is a cut-out. Else the background is what is black, if that reaches the border, or
    the colour that covers the border; every label or colour of a map that is not the background is object, but what
    Pascal VOC calls void counts as what is nearest to it; and between two levels of grey brightness counts, relative
    to the brightest pixel.

    Args:
      picture: of the mask, colours as stored.
      name: for messages.

    Returns:
      float32 in [0, 1], and notices.

    Raises:
      ValueError: object and background cannot be told apart, or there is no object.
    """
    rgb, alpha = colour_and_alpha(picture.image)
    if alpha is not None and alpha.min() <= 0.5 < alpha.max():
        visible = rgb[alpha > 0.5]
        if is_cut_out(alpha) or (visible == visible[0]).all():
            return alpha.astype(np.float32), ()
    values = _values(picture, over_border(rgb, alpha))
    border = border_of(values.shape[:2])
    levels = np.unique(values.reshape(-1, *values.shape[2:]), axis=0) if values.ndim == 2 else None
    try:
        if levels is not None and picture.format not in ("JPEG", "MPO") and _are_labels(levels, picture):
            mask, notices = _from_labels(values, levels, border, picture)
        else:
            mask, notices = _from_brightness(values, border, picture)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return mask.astype(np.float32), notices


def is_cut_out(alpha: Float[np.ndarray, "h w"]) -> bool:
    """Whether an alpha channel tells an object from its surroundings: not so rounded corners, strips, holes."""
    return bool((alpha > 0.5).any() and filled(alpha > 0.5).mean() <= 1 - CUT_OUT_SHARE)


def is_rectangle(alpha: Float[np.ndarray, "h w"]) -> bool:
    """Whether an alpha channel keeps an upright rectangle: a picture in a margin, or a box from the front."""
    opaque = filled(alpha > 0.5)
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    return bool(len(rows)) and bool(opaque[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > RECTANGLE)


def filled(foreground: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """With its holes: what is not connected with the border over background, is foreground."""
    labels, count = ndimage.label(~foreground)
    outside = np.zeros(count + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside[0] = False
    return ~outside[labels]


def without_strays(mask: Float[np.ndarray, "h w"]) -> tuple[Float[np.ndarray, "h w"], tuple[str, ...]]:
    """The mask without parts that are small beside its largest one, and a notice of them.

    Parts that touch at a corner are one.
    """
    labels, count = ndimage.label(mask > 0.5, structure=_CORNERS)
    if count < 2:
        return mask, ()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = (sizes > 0) & (sizes < STRAY_SHARE * sizes.max())
    if not small.any():
        return mask, ()
    stray, kept = small[labels], (labels > 0) & ~small[labels]
    fringe = ndimage.binary_dilation(stray, _CORNERS, iterations=2) & ~ndimage.binary_dilation(kept, iterations=2)
    parts, verb = ("1 stray part", "is") if small.sum() == 1 else (f"{small.sum()} stray parts", "are")
    notice = f"{parts} of the mask, {sizes[small].sum()} px, {verb} left out"
    return np.where(stray | (fringe & ~kept), np.float32(0), mask), (notice,)


def objects_of(mask: Float[np.ndarray, "h w"]) -> list[Float[np.ndarray, "h w"]]:
    """One mask for every object in a mask, the largest first; parts that touch at a corner are one.

    Args:
      mask: coverage in [0, 1].

    Returns:
      Masks that add up to the given one; that one alone where there are no two objects.
    """
    labels, count = ndimage.label(mask > 0.5, structure=_CORNERS)
    sizes = np.bincount(labels.ravel(), minlength=1)
    sizes[0] = 0
    objects = [k for k in np.argsort(-sizes, kind="stable") if sizes[k] and sizes[k] >= OBJECT_SHARE * sizes.max()]
    if len(objects) < 2:
        return [mask]
    nearest = ndimage.distance_transform_edt(~np.isin(labels, objects), return_distances=False, return_indices=True)
    owner = labels[tuple(nearest)]
    return [np.where(owner == k, mask, np.float32(0)) for k in objects]


def border_of(shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """True within a fiftieth of the shorter side from the border, at least one pixel."""
    ring = max(1, min(shape) // 50)
    border = np.ones(shape, bool)
    border[ring : shape[0] - ring, ring : shape[1] - ring] = False
    return border


def over_border(rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"] | None) -> Float[np.ndarray, "h w 3"]:
    """The picture over the median colour of what is opaque of its border: transparent corners become background."""
    if alpha is None or alpha.min() == 1:
        return rgb
    border = border_of(alpha.shape)
    opaque = border & (alpha > 0.5)
    ground = np.median(rgb[opaque if opaque.any() else border], axis=0).astype(np.float32)
    return rgb * alpha[..., None] + ground * (1 - alpha[..., None])


def _values(picture: Picture, rgb: np.ndarray) -> np.ndarray:
    """Numbers of labels or levels ``[h, w]``, or colours ``[h, w, 3]`` of 255."""
    image = picture.image
    if is_deep(image):
        values = np.asarray(image)
        return np.where(np.isfinite(values), values, 0)
    if image.mode == "P" and not image.has_transparency_data:
        return np.asarray(image)
    colours = np.round(rgb * 255).astype(np.int32)
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    if picture.format in ("JPEG", "MPO"):
        return colours
    codes = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
    return codes if len(np.unique(codes)) <= MAX_LABELS else colours


def _are_labels(levels: np.ndarray, picture: Picture) -> bool:
    small = bool(levels.min() >= 0 and levels.max() < MAX_LABELS)
    return picture.image.mode == "P" or len(levels) <= MAX_LABELS or small


def _from_labels(values: np.ndarray, levels: np.ndarray, border: np.ndarray, picture: Picture):
    values, notices = _without_void(values, levels, picture)
    levels = np.unique(values)
    codes = np.searchsorted(levels, values)
    shares = np.bincount(codes[border], minlength=len(levels)) / border.sum()
    colours = _colours_of(levels, picture)
    black = (colours == 0).all(-1)
    if black.all() and picture.image.mode == "P":  # the palette is missing
        black = levels == 0
    if len(levels) == 1:
        _refuse_one_colour(bool(black[0]))
    ground = _background(shares, black)
    distance = np.abs(colours - colours[ground]).max(-1)
    weight = distance / max(distance.max(), 1e-9)
    # A label has pixels among its own kind; the levels along a soft outline have none.
    same = ndimage.minimum_filter(codes, 3) == ndimage.maximum_filter(codes, 3)
    is_label = np.bincount(codes[same], minlength=len(levels)) > 0
    if picture.image.mode == "P":
        is_label[:] = True
    weight = np.where(is_label, 1.0, weight)
    weight[ground] = 0
    if not (weight[np.unique(codes)] > 0.5).any():
        _refuse_one_colour(True)
    return weight[codes], notices if black[ground] else (
        *notices,
        "the colour of its border is taken as the background",
    )


def _without_void(values: np.ndarray, levels: np.ndarray, picture: Picture) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels that Pascal VOC leaves undecided become what is nearest: the outline lies in the middle of their band."""
    if len(levels) < 3:  # beside a background alone it is an object
        return values, ()
    is_void = np.isin(values, levels[(_colours_of(levels, picture) == VOID_COLOUR).all(-1)])
    if levels[-1] == VOID and levels[0] == 0 and levels[-2] <= VOC_CLASSES and picture.image.mode != "P":
        is_class = (values > 0) & (values < VOID)
        if is_class.sum() > (values == VOID).sum():  # else white is the object, and the rest is noise
            is_void = values == VOID
    if not is_void.any():
        return values, ()
    nearest = ndimage.distance_transform_edt(is_void, return_distances=False, return_indices=True)
    count = int(is_void.sum())
    return values[tuple(nearest)], (f'{count} px are "void", as Pascal VOC has it: each is taken as what is nearest',)


def _colours_of(levels: np.ndarray, picture: Picture) -> Float[np.ndarray, "n 3"]:
    """Of labels: of the palette, of codes of three bytes, or grey."""
    image = picture.image
    if image.mode == "P" and not image.has_transparency_data:
        palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], float).reshape(-1, 3)
        return np.vstack([palette, np.zeros((256, 3))])[levels.astype(int)]
    if levels.max() > 255 and not is_deep(image):
        codes = levels.astype(int)
        return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(float)
    return np.repeat(levels.astype(float)[:, None], 3, axis=1)


def _background(shares: Float[np.ndarray, " n"], black: Bool[np.ndarray, " n"]) -> int:
    """Which of the colours is the background, by their shares of the border."""
    dark, most = float(shares[black].sum()), int(np.argmax(shares))
    if dark >= BLACK_BORDER:
        return int(np.argmax(shares * black))
    if dark < NO_BLACK and shares[most] >= PLAIN_BORDER:
        return most
    raise ValueError(
        f"object and background cannot be told apart, black covers {dark:.0%} and another colour {shares[most]:.0%} "
        "of its border; make the object white and all else black, or give the mask as an alpha channel."
    )


def _from_brightness(values: np.ndarray, border: np.ndarray, picture: Picture):
    colours = values if values.ndim == 3 else values[..., None]
    colours = np.maximum(colours.astype(np.float32), 0)
    scale = max(float(colours.max()), 1e-6)
    colours = colours / (255 if values.ndim == 3 else scale)
    edge = colours[border]
    dark = edge.max(-1) < 0.5
    bright = np.median(edge[~dark], axis=0) if (~dark).any() else np.ones(colours.shape[-1], np.float32)
    plain = ~dark & (np.abs(edge - bright).max(-1) < COLOUR_DIFFERENCE)
    is_bright = _background(np.array([dark.mean(), plain.mean()]), np.array([True, False]))
    difference = np.abs(colours - (bright if is_bright else 0)).max(-1)
    if difference.max() <= (COLOUR_DIFFERENCE if values.ndim == 3 or is_bright else 0):
        _refuse_one_colour(not is_bright)
    if values.ndim == 3 and (np.ptp(colours, axis=-1) > COLOUR_DIFFERENCE).mean() > 0.001:
        mask = (difference > COLOUR_DIFFERENCE).astype(np.float32)  # classes by colour have no half-covered pixels
    else:
        mask = difference / difference.max()
    if picture.format in ("JPEG", "MPO"):
        mask = np.where(mask < JPEG_NOISE, 0, np.where(mask > 1 - JPEG_NOISE, 1, mask))
    return mask, ("the colour of its border is taken as the background",) if is_bright else ()


def _refuse_one_colour(black: bool) -> None:
    if black:
        raise ValueError("the mask is empty, no pixel of it is bright; it needs a white object on black.")
    raise ValueError("the mask has one colour everywhere; it needs a white object on black.")
