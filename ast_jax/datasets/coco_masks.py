"""COCO's three ways to write a mask: polygons, run lengths, and run lengths packed into a string."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

# Samples per pixel side when polygons are drawn: coverage in steps of 1/16.
SUPERSAMPLE = 4
# Of a run length; pictures have fewer pixels.
MAX_BITS = 60
# Corners may lie beyond the picture, this many times its longer side; farther out they are a slip.
MAX_REACH = 4


def segmentation_mask(segmentation: object, image_size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """The mask of a picture.

    Args:
      segmentation: what the file has there: a list of polygons ``[x0, y0, x1, y1, ..]`` in pixels from the upper left
        corner, or ``{"size": [h, w], "counts": ..}`` with a list or a string of run lengths; or anything else.
      image_size: height and width of the picture.

    Returns:
      Coverage, float32 in [0, 1].

    Raises:
      ValueError: not of this format, or of another size.
    """
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, image_size)
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("its mask is neither polygons nor run lengths with a size.")
    height, width = size
    if (height, width) != tuple(image_size):
        raise ValueError(
            f"its mask is {width!r:.20} x {height!r:.20} px, the picture {image_size[1]} x {image_size[0]}."
        )
    height, width = image_size
    counts = segmentation.get("counts")  # ty: ignore[missing-attribute]  # it has a size, so it is a dict
    runs = unpack_counts(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError("its run lengths are not whole numbers from 0 on.")
    if sum(runs) != height * width:
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
        if shift > MAX_BITS:
            raise ValueError("a run length of its mask has no end.")
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
        try:
            corners = np.array(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("a polygon of its mask is not a list of x and y.") from error
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise ValueError("a polygon of its mask has fewer than three corners, or one that is not finite.")
        if np.abs(corners).max() > (1 + MAX_REACH) * max(height, width):
            raise ValueError(f"a polygon of its mask reaches to {np.abs(corners).max():.6g} px, far off the picture.")
        # pillow's integer coordinates are the centres of its pixels
        draw.polygon([tuple(corner) for corner in corners * SUPERSAMPLE - 0.5], fill=1)
    samples = np.asarray(canvas).reshape(height, SUPERSAMPLE, width, SUPERSAMPLE)
    return samples.sum((1, 3), dtype=np.uint8).astype(np.float32) / SUPERSAMPLE**2
