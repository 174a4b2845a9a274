"""Read 8-bit images out of any file that people have."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# What pillow decodes by itself. By content it would also start Ghostscript for PostScript, whatever the file is called.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "TGA", "PPM", "DDS", "AVIF")
# Looked at before a pixel is decoded.
MAX_PIXELS = 89_000_000


def open_picture(path: str | Path) -> Image.Image:
    """The decoded first frame, upright as its EXIF data say.

    Raises:
      ValueError: missing, broken, cut short, of a format that is not in ``FORMATS``, or larger than ``MAX_PIXELS``;
        the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    return decode_picture(content, str(path))


def decode_picture(content: bytes, name: str) -> Image.Image:
    """As :func:`open_picture`, of an image inside another file.

    Args:
      content: the encoded image.
      name: for messages, such as ``chair.glb: image 0``.
    """
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:  # each of pillow's decoders raises what it likes
        raise ValueError(f"{name}: not a readable picture ({type(error).__name__}: {error}).") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"{name}: {picture.width} x {picture.height} pixels, at most {MAX_PIXELS:,} can be read.")
    try:
        picture.load()
        return ImageOps.exif_transpose(picture)
    except Exception as error:
        raise ValueError(f"{name}: not a readable picture ({type(error).__name__}: {error}).") from error


def read_image(path: str | Path) -> UInt8[np.ndarray, "h w c"]:
    """Read an image file as RGB, or as RGBA where it has transparency.

    Raises:
      ValueError: missing or not an image that pillow reads; the message names the file.
    """
    return image_to_array(open_picture(path))


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as RGB, whatever its transparency.

    Raises:
      ValueError: as ``read_image``.
    """
    return read_image(path)[..., :3]


def image_to_array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """RGB, or RGBA where the picture has an alpha channel or a transparent palette entry."""
    if is_deep(image):
        grey = np.round(deep_grey(image) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def is_deep(image: Image.Image) -> bool:
    """Grey of more than 8 bits; pillow's own conversion to RGB would cut the values off."""
    return image.mode.startswith(("I", "F"))


def deep_grey(image: Image.Image) -> Float[np.ndarray, "h w"]:
    """16-bit or float grey in [0, 1]; 32-bit integers count as 16-bit, for pillow widens 16-bit files."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    largest = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1.0)
    return np.clip(values / largest, 0.0, 1.0)
