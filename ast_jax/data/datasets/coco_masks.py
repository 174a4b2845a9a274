"""COCO's three ways to write a mask: polygons, run lengths, and run lengths packed into a string."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

# Samples per pixel side when polygons are drawn: coverage in steps of 1/16.
SUPERSAMPLE = 4


def segmentation_mask(segmentation: list | dict, image_size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """The mask of a picture.

    Args:
      segmentation: as in the file: a list of polygons ``[x0, y0, x1, y1, ..]`` in pixels from the upper left corner,
        or ``{"size": [h, w], "counts": ..}`` with a list or a string of run lengths.
      image_size: height and width of the picture.

    Returns:
      Coverage, float32 in [0, 1].

    Raises:
      ValueError: not of this format, or of another size.
    """
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, image_size)
    height, width = segmentation["size"]
    if (height, width) != tuple(image_size):
        raise ValueError(f"its mask is {width} x {height} px, the picture {image_size[1]} x {image_size[0]}.")
    counts = segmentation["counts"]
    runs = unpack_counts(counts) if isinstance(counts, str) else counts
    if sum(runs) != height * width or min(runs) < 0:
        raise ValueError(f"its run lengths do not fill {width} x {height} px.")
    values = np.arange(len(runs)) % 2
    return np.repeat(values, runs).reshape(width, height).T.astype(np.float32)  # column by column


def unpack_counts(packed: str) -> list[int]:
    """Run lengths out of COCO's string.

    Six bits per character from ``0`` on: five of the number, lowest first, and one that says whether more follow; the
    last one carries the sign. From the third run after the first on, the difference to the run before the last.

    Raises:
      ValueError: cut short, or a character that cannot be.
    """
    runs: list[int] = []
    number = shift = 0
    for character in packed:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"its run lengths hold the character {character!r}.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("its run lengths are cut short.")
    return runs


def _draw_polygons(polygons: list, image_size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Union of polygons, each pixel by ``SUPERSAMPLE`` x ``SUPERSAMPLE`` samples."""
    height, width = image_size
    canvas = Image.new("1", (width * SUPERSAMPLE, height * SUPERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        corners = np.array(polygon, np.float64).reshape(-1, 2)
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise ValueError("a polygon of its mask has fewer than three corners, or one that is not finite.")
        # pillow's integer coordinates are the centres of its pixels
        draw.polygon([tuple(corner) for corner in corners * SUPERSAMPLE - 0.5], fill=1)
    samples = np.asarray(canvas, np.float32).reshape(height, SUPERSAMPLE, width, SUPERSAMPLE)
    return samples.mean((1, 3))
