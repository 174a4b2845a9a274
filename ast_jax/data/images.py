"""Read and write 8-bit images."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def read_image(path: str | Path) -> UInt8[np.ndarray, "h w c"]:
    """Read an image file as RGB, or as RGBA where it has transparency.

    Raises:
      ValueError: missing or not an image that Pillow reads; the message names the file.
    """
    try:
        with Image.open(path) as image:
            return image_to_array(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image ({error}).") from error


def image_to_array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """RGB, or RGBA where the picture has an alpha channel or a transparent palette entry."""
    transparent = "A" in image.getbands() or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB"))
