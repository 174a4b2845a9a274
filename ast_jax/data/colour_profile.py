"""Colours of a picture with an embedded ICC profile, in sRGB."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# Printers' profiles have 0.5 to 3 MB.
MAX_PROFILE_BYTES = 8 * 2**20
# A profile that changes no colour by more (of 255) is that of sRGB, in one of its many editions.
SAME_AS_SRGB = 2
# The colour space in a profile's header (bytes 16 to 20) -> pillow's mode of the colours that it describes.
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


def to_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture with its profile applied; the same picture where it has none, or that of sRGB.

    Args:
      image: decoded, any mode.

    Returns:
      The picture, and a notice where the profile cannot be used: then its colours are taken as they are.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image, ""
    try:
        if len(profile) > MAX_PROFILE_BYTES:
            raise ValueError(f"{len(profile):,} bytes")
        mode = _MODES[bytes(profile[16:20])]
        if (image.mode in ("CMYK", "LAB") or mode in ("CMYK", "LAB")) and image.mode != mode:
            raise ValueError(f"it is of {mode} colours, the picture of {image.mode}")
        if mode == "L" and not image.mode.startswith(_GREY_MODES):
            raise ValueError(f"it is of grey pictures, this one is {image.mode}")
        transform = _transform(bytes(profile), mode)
        return (_apply(image, mode, transform) if transform else image), ""
    except Exception as error:  # little cms, or a build of pillow without it
        return image, f"its colour profile cannot be used ({error}); taken as sRGB"


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """To sRGB as photo editors do it; None where that changes nothing."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode not in ("RGB", "L"):
        return transform
    probe = _ramp() if mode == "L" else _colours()
    change = np.asarray(transform.apply(probe), int) - np.asarray(probe.convert("RGB"), int)
    return transform if np.abs(change).max() > SAME_AS_SRGB else None


def _ramp() -> Image.Image:
    return Image.fromarray(np.arange(256, dtype=np.uint8)[None])


def _colours() -> Image.Image:
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))


def _apply(image: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _apply_deep(image, transform)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    result = transform.apply(image if image.mode == mode else image.convert(mode))
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _apply_deep(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """Grey of 16 bits by the curve of its profile, which little cms has for 8 bits."""
    if not image.mode.startswith("I"):
        raise ValueError("the picture has floating-point numbers")
    if "transparency" in image.info:
        raise ValueError("the picture has 16 bits and a transparent value")
    curve = np.asarray(transform.apply(_ramp()), np.float64)[0].mean(-1)
    values = np.interp(np.asarray(image).astype(np.float64) / 257, np.arange(256), curve) * 257
    return Image.fromarray(np.round(values).astype(np.uint16))
