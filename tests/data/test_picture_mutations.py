"""Damaged pictures, profiles and masks: every one is read or refused in one message, whatever was changed in it."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ast_jax.data.images import decode_picture, image_to_array
from ast_jax.data.masks import read_mask
from ast_jax.data.photo import load_photo
from tests.data.test_images import LINEAR_GREY, P3


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def seeds() -> list[bytes]:
    y, x = np.mgrid[:24, :32]
    inside = (x - 15) ** 2 + (y - 12) ** 2 < 64
    rgb = Image.fromarray(np.where(inside[..., None], np.uint8((200, 40, 30)), np.uint8(250)))
    grey, rgba = rgb.convert("L"), rgb.convert("RGBA")
    rgba.putalpha(Image.fromarray(inside * np.uint8(255)))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [rgb.transpose(Image.Transpose.ROTATE_180)]}
    return [
        encoded(rgb, "PNG", icc_profile=P3, exif=exif),
        encoded(grey, "PNG", icc_profile=LINEAR_GREY),
        encoded(rgba, "PNG", **frames),
        encoded(rgb.quantize(8), "PNG", transparency=0),
        encoded(Image.fromarray(inside * np.uint16(300)), "PNG", transparency=0),
        encoded(rgb, "JPEG", exif=exif, icc_profile=P3),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb, "TIFF", compression="tiff_lzw", exif=exif, **frames),
        encoded(rgb.convert("LAB"), "TIFF"),
        encoded(Image.fromarray(inside * np.float32(2)), "TIFF"),
        encoded(rgb, "GIF", **frames),
        encoded(rgba, "WEBP"),
        encoded(rgb, "AVIF"),
        encoded(rgb, "BMP"),
        encoded(rgb, "TGA", compression="tga_rle"),
        encoded(rgb, "PPM"),
        encoded(rgba, "DDS"),
    ]


SEEDS = seeds()


@st.composite
def damaged(draw) -> bytes:
    """Bytes changed, a piece cut out, doubled or put in from another file."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(("set", "cut", "double", "other", "end")))
        piece = draw(st.integers(1, 40))
        if kind == "set":
            content[start : start + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del content[start : start + piece]
        elif kind == "double":
            content[start:start] = content[start : start + piece]
        elif kind == "other":
            content[start:start] = draw(st.sampled_from(SEEDS))[start : start + piece]
        else:
            del content[start:]
    return bytes(content)


def check(content: bytes, folder) -> None:
    path = folder / "a.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of pillow's leaks
        for read in (lambda: decode_picture(content, "a.glb"), lambda: load_photo(path), lambda: read_mask(path)):
            try:
                found = read()
            except ValueError as error:
                assert "a.png: " in str(error) or "a.glb: " in str(error)
                continue
            if isinstance(found, Image.Image):
                array = image_to_array(found)
                assert array.dtype == np.uint8 and array.shape[-1] in (3, 4)
            else:
                mask = getattr(found, "mask", found)
                assert mask.dtype == np.float32 and 0 <= mask.min() and 0.5 < mask.max() <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


OPTIONS = dict(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


def test_whole_files_are_read(folder):
    for content in SEEDS:
        check(content, folder)
        assert decode_picture(content, "a").size in ((32, 24), (24, 32))


@settings(max_examples=300, **OPTIONS)
@given(content=damaged())
def test_damaged_pictures(folder, content):
    check(content, folder)


@pytest.mark.slow
@settings(max_examples=20_000, **OPTIONS)
@given(content=damaged())
def test_many_damaged_pictures(folder, content):
    check(content, folder)
