"""Pictures out of any file that people have; no other module may call ``Image.open``."""

import io
import logging as std_logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from ast_jax.data.colour_profile import to_srgb

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".tga", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# What pillow decodes by itself. By content it would also start Ghostscript for PostScript, whatever the file is called.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "DDS", "AVIF", "SGI", "TGA")
# Looked at before a pixel is decoded.
MAX_PIXELS = 89_000_000
# Looked at before the file is read: 16-bit RGB of so many pixels, not compressed.
MAX_BYTES = 6 * MAX_PIXELS + 2**20
ADVICE = "save it as PNG or JPEG"

# EXIF's orientation -> what turns the stored picture upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC = 262  # TIFF tag
_ORIENTATION = 0x0112
# How files begin that are taken for pictures; of those of the ISO base media format, bytes 4 to 12.
_FOREIGN = {
    b"%!": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"8BPS": "a Photoshop document",
    b"<svg": "SVG",
    b"<?xml": "SVG or other XML",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    **{b"ftyp" + brand: "HEIC" for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")},
}
# Pillow's own lines of log say nothing that the errors here do not say.
std_logging.getLogger("PIL").setLevel(std_logging.CRITICAL)


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and what there is to say of it.

    Args:
      image: the first frame.
      format: pillow's name of the file's format.
      orientation: of the EXIF data, 1 to 8; the image was turned by it where it was asked for upright.
      notices: what of the file was left out or not understood, a line each without the file's name.
    """

    image: Image.Image
    format: str
    orientation: int = 1
    notices: tuple[str, ...] = ()


def read_picture(path: str | Path, *, upright: bool = True, srgb: bool = True) -> Picture:
    """The decoded first frame.

    Args:
      path: a regular file; what is no picture is never waited for.
      upright: turn it as its EXIF data say.
      srgb: convert its colours as its profile says.

    Raises:
      ValueError: missing, no regular file, broken, cut short, of a format that is not in ``FORMATS``, or larger than
        ``MAX_PIXELS`` or ``MAX_BYTES``; the message names the file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: more than {MAX_BYTES:,} bytes, which no picture that can be read has.")
    return _decode(content, str(path), upright, srgb)


Source = str | Path | Image.Image | np.ndarray


def as_picture(source: Source, *, srgb: bool = True) -> Picture:
    """A file, a pillow image or an array as a picture, upright.

    Args:
      source: a file, see :func:`read_picture`; a pillow image; or an array ``[h, w]``, ``[h, w, 3]`` or ``[h, w, 4]``
        of bytes, of truth values, or of floats in [0, 1].
      srgb: convert its colours as its profile says.

    Raises:
      ValueError: as :func:`read_picture`, or an array of another shape, type or range.
    """
    if isinstance(source, str | Path):
        return read_picture(source, srgb=srgb)
    if isinstance(source, Image.Image):
        try:
            return _load(source.copy(), True, srgb)
        except Exception as error:  # a file behind it that is cut, or was closed
            raise ValueError(f"the picture cannot be read ({type(error).__name__}: {error}).") from error
    return Picture(Image.fromarray(_bytes_of(np.asarray(source))), "array")


def name_of(source: Source, otherwise: str) -> str:
    """Of a file, for messages; ``otherwise`` for what is in memory."""
    return str(source) if isinstance(source, str | Path) else otherwise


def _bytes_of(array: np.ndarray) -> UInt8[np.ndarray, "h w *c"]:
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"a picture is [h, w], [h, w, 3] or [h, w, 4]; the array is {array.shape}.")
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"a picture has bytes, truth values or floats in [0, 1]; the array has {array.dtype}.")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"floats of a picture lie in [0, 1]; the array has {array.min():g} to {array.max():g}.")
    return np.round(array * 255).astype(np.uint8)


def open_picture(path: str | Path, *, as_stored: bool = False) -> Image.Image:
    """The image of :func:`read_picture`; its notices are logged.

    Args:
      path: the file.
      as_stored: the pixels as they lie in the file, neither turned nor converted: for textures of meshes, and for
        pictures whose annotations count the pixels of the file.

    Raises:
      ValueError: as :func:`read_picture`.
    """
    return _said(read_picture(path, upright=not as_stored, srgb=not as_stored), str(path))


def decode_picture(content: bytes, name: str, *, as_stored: bool = True) -> Image.Image:
    """As :func:`open_picture`, of an image inside another file; as stored, for that is what glTF asks for.

    Args:
      content: the encoded image.
      name: for messages, such as ``chair.glb: image 0``.
      as_stored: see :func:`open_picture`.

    Raises:
      ValueError: as :func:`read_picture`.

    Source: glTF 2.0, section 3.8.2: colour profiles and orientation within images are ignored.
    """
    return _said(_decode(content, name, not as_stored, not as_stored), name)


def _said(picture: Picture, name: str) -> Image.Image:
    for notice in picture.notices:
        logging.info("%s: %s", name, notice)
    return picture.image


def _decode(content: bytes, name: str, upright: bool, srgb: bool) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow warns of what is an error or a notice here
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"{name}: not a readable picture ({_describe(content)}); {ADVICE}.") from None
        except Image.DecompressionBombError as error:
            raise ValueError(f"{name}: too many pixels, at most {MAX_PIXELS:,} can be read.") from error
        except Exception as error:  # each of pillow's decoders raises what it likes
            raise ValueError(f"{name}: not a readable picture ({type(error).__name__}: {error}).") from error
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{name}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} can be read.")
        try:
            return _load(image, upright, srgb)
        except Exception as error:
            raise ValueError(f"{name}: not a readable picture ({type(error).__name__}: {error}).") from error


def _describe(content: bytes) -> str:
    if not content:
        return "the file is empty"
    start = content[:64].lstrip()
    for mark, kind in _FOREIGN.items():
        if start.startswith(mark) or content[4:12].startswith(mark):
            return kind
    return f"none of {', '.join(FORMATS)}"


def _load(image: Image.Image, upright: bool, srgb: bool) -> Picture:
    kind, notices = image.format or "", []
    scale = _key_scale(image)  # first: EXIF data may lie behind the pixels
    orientation = _orientation(image)
    if kind != "MPO" and _is_animated(image):  # the second picture of a phone's JPEG is a preview or a depth map
        notices.append("it has several frames or pages; the first one is used")
    if kind == "TIFF" and _is_raw_ycbcr(image):
        raise ValueError("an uncompressed YCbCr TIFF, which pillow reads from version 13 on; save it as RGB")
    image.load()
    if scale != 1 and "transparency" in image.info:
        key = np.asarray(image.info["transparency"]) * scale
        image.info["transparency"] = tuple(key.astype(int).tolist()) if key.ndim else int(key)
    turn = TURNS.get(_orientation(image)) if upright else None  # none is left of TIFF: pillow turns it as it loads
    if srgb:
        image, problem = to_srgb(image)
        notices += [problem] if problem else []
    return Picture(image if turn is None else image.transpose(turn), kind, orientation, tuple(notices))


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION)
        return found if found in TURNS else 1
    except Exception:  # EXIF data that cannot be read cost no picture
        return 1


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what comes after the first frame is broken
        return True


def _is_raw_ycbcr(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether pillow (before 13) takes the three samples of a YCbCr pixel for four, and runs out of bytes."""
    ycbcr = image.tag_v2.get(_PHOTOMETRIC) == 6  # else the fourth sample is there, and unused
    return ycbcr and image.mode == "RGB" and [(tile[0], tile[3][0]) for tile in image.tile[:1]] == [("raw", "RGBX")]


def _key_scale(image: Image.Image) -> float:
    """Of a PNG's transparent colour: it has the depth of the file, the decoded pixels have 8 bits."""
    if not isinstance(image, ImageFile.ImageFile) or image.format != "PNG" or not image.tile:
        return 1.0
    return {"RGB;16B": 1 / 256, "L;2": 85.0, "L;4": 17.0}.get(str(image.tile[0][3]), 1.0)


def read_image(path: str | Path, *, as_stored: bool = False) -> UInt8[np.ndarray, "h w c"]:
    """Read an image file as RGB, or as RGBA where it has transparency.

    Args:
      path: the file.
      as_stored: see :func:`open_picture`.

    Raises:
      ValueError: missing or not an image that pillow reads; the message names the file.
    """
    return image_to_array(open_picture(path, as_stored=as_stored))


def read_rgb(path: str | Path, *, as_stored: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as RGB, whatever its transparency.

    Raises:
      ValueError: as ``read_image``.
    """
    return read_image(path, as_stored=as_stored)[..., :3]


def image_to_array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """RGB, or RGBA where the picture has an alpha channel or a transparent palette entry."""
    if is_deep(image):
        return np.round(np.dstack(_deep_bands(image)) * 255).astype(np.uint8)
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def colour_and_alpha(image: Image.Image) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"] | None]:
    """float32 RGB in [0, 1], 16-bit grey at its depth; and alpha where the picture has it."""
    if is_deep(image):
        red, green, blue, *alpha = _deep_bands(image)
        return np.stack([red, green, blue], -1), alpha[0] if alpha else None
    has_alpha = image.has_transparency_data
    pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"), np.float32) / 255
    return pixels[..., :3], pixels[..., 3] if has_alpha else None


def is_deep(image: Image.Image) -> bool:
    """Grey of more than 8 bits; pillow's own conversion to RGB would cut the values off."""
    return image.mode.startswith(("I", "F"))


def _deep_bands(image: Image.Image) -> list[Float[np.ndarray, "h w"]]:
    """Grey three times, and alpha where one value means transparent."""
    values = np.asarray(image)
    key = image.info.get("transparency")
    return [deep_grey(image)] * 3 + ([(values != key).astype(np.float32)] if isinstance(key, int) else [])


def deep_grey(image: Image.Image) -> Float[np.ndarray, "h w"]:
    """16-bit or float grey in [0, 1]; 32-bit integers count as 16-bit unless they are larger; for pillow widens them.

    Float pictures whose largest value exceeds 1 are divided by it.
    """
    values = np.asarray(image).astype(np.float32)
    values = np.where(np.isfinite(values), values, 0)
    usual = 65535.0 if image.mode.startswith("I") else 1.0
    return np.clip(values / max(float(values.max(initial=0)), usual), 0.0, 1.0)
