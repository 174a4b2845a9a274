"""Pictures as people have them: every mode becomes 8-bit RGB or RGBA in sRGB, every broken file one message."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from ast_jax.data import images
from ast_jax.data.images import decode_picture, image_to_array, read_image, read_picture, read_rgb

HEIGHT, WIDTH = 12, 20


def colours() -> np.ndarray:
    """Smooth, so that JPEG keeps it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 12, y * 20, 120 + 0 * x], -1).astype(np.uint8)


def save(picture, path, **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("mode, suffix", [("RGB", "png"), ("P", "png"), ("CMYK", "tif"), ("CMYK", "jpg")])
def test_colour_modes(tmp_path, mode, suffix):
    stored = Image.fromarray(colours())
    stored = stored.quantize(256) if mode == "P" else stored.convert(mode)
    options = {"quality": 98} if suffix == "jpg" else {}
    found = read_image(save(stored, tmp_path / f"a.{suffix}", **options))
    assert found.shape == (HEIGHT, WIDTH, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - colours()).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_grey_is_repeated(tmp_path, suffix):
    grey = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None] * 12, HEIGHT, 0)
    options = {"quality": 98} if suffix in ("jpg", "webp") else {}
    found = read_image(save(Image.fromarray(grey), tmp_path / f"a.{suffix}", **options))
    assert np.abs(found.astype(int) - grey[..., None]).max() < 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, suffix):
    deep = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    found = read_image(save(deep, tmp_path / f"a.{suffix}"))
    np.testing.assert_allclose(found[..., 0], deep / 257, atol=0.51)
    assert (found == found[..., :1]).all()


def test_alpha_and_transparent_palettes(tmp_path):
    rgba = np.concatenate([colours(), np.full((HEIGHT, WIDTH, 1), 77, np.uint8)], -1)
    path = save(rgba, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path), rgba)
    np.testing.assert_array_equal(read_rgb(path), colours())
    palette = Image.fromarray(np.eye(4, dtype=np.uint8)).convert("P")
    found = read_image(save(palette, tmp_path / "b.png", transparency=0))
    np.testing.assert_array_equal(found[..., 3], np.eye(4) * 255)
    grey = Image.merge("LA", [Image.new("L", (3, 2), 9), Image.new("L", (3, 2), 5)])
    np.testing.assert_array_equal(image_to_array(grey), np.full((2, 3, 4), [9, 9, 9, 5]))


@pytest.mark.parametrize("orientation, turn", [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_exif_orientation(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(np.rot90(colours(), turn).copy(), tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    found = read_image(path)
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - colours()).mean() < 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_every_cut_is_an_error_that_names_the_file(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = save(noise, tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for share in (0, 0.01, 0.3, 0.7):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=rf"cut.{suffix}: not a readable picture"):
            read_image(path)


def test_missing_foreign_and_huge_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="a.png: no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match="not a file"):
        read_image(tmp_path)
    (tmp_path / "a.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="a.png: not a readable picture"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="b.png: 150 x 1 pixels, at most 100"):
        read_image(save(Image.new("L", (150, 1)), tmp_path / "b.png"))


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file closepath\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    "content, kind",
    [
        (POSTSCRIPT, "PostScript"),
        (struct.pack("<4s7I", b"\xc5\xd0\xd3\xc6", 32, len(POSTSCRIPT), 0, 0, 0, 0, 0) + POSTSCRIPT, "PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"SIMPLE  =                    T / FITS", "none of PNG"),
        (b"", "the file is empty"),
    ],
)
def test_by_content_nothing_starts_another_program(tmp_path, monkeypatch, content, kind):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a.png: not a readable picture \({kind}.*PNG or JPEG"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"chair.glb: not a readable picture \({kind}"):
        decode_picture(content, "chair.glb")


def test_only_regular_files_of_bounded_size_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(ValueError, match=f"{name}: not a file"):
            read_image(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be read .File name too long"):
        read_image(tmp_path / ("x" * 300))
    monkeypatch.setattr(images, "MAX_BYTES", 50)
    with pytest.raises(ValueError, match="a.png: more than 50 bytes"):
        read_image(save(colours(), tmp_path / "a.png"))


def png(width, height, depth, kind, rows, *chunks):
    """A PNG by its specification: ISO/IEC 15948, sections 5 and 11; ``rows`` without filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    joined = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(joined)


def test_a_bomb_is_refused_before_it_is_decoded(recwarn):
    for side, reason in ((10_000, "10000 x 10000 pixels, at most"), (100_000, "too many pixels, at most 89,000,000")):
        with pytest.raises(ValueError, match=reason):
            decode_picture(png(side, side, 8, 2, []), "bomb.png")
    text = b"k\0\0" + zlib.compress(bytes(80_000_000))
    with pytest.raises(ValueError, match="bomb.png: not a readable picture"):
        decode_picture(png(1, 1, 8, 0, [b"\0"], (b"zTXt", text)), "bomb.png")
    assert not recwarn.list


@pytest.mark.parametrize(
    "depth, kind, row, key",
    [
        (16, 2, struct.pack(">6H", 0xFFFF, 0x1234, 0, 9, 9, 9), struct.pack(">3H", 0xFFFF, 0x1234, 0)),
        (16, 0, struct.pack(">2H", 0x1234, 0x9999), struct.pack(">H", 0x1234)),
        (8, 0, bytes([7, 200]), struct.pack(">H", 7)),
        (4, 0, bytes([0x3A]), struct.pack(">H", 3)),
        (2, 0, bytes([0b1101_0000]), struct.pack(">H", 3)),
        (1, 0, bytes([0b1000_0000]), struct.pack(">H", 1)),
    ],
)
def test_the_transparent_colour_has_the_depth_of_the_file(depth, kind, row, key):
    """ISO/IEC 15948, section 11.3.2.1 (tRNS): of two pixels the first is transparent."""
    found = image_to_array(decode_picture(png(2, 1, depth, kind, [row], (b"tRNS", key)), "a.png"))
    assert found[0, :, 3].tolist() == [0, 255]


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 4.3, of a display: ICC.1:2010, section 7."""
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    place, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x04300000, b"mntr", space, b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


# sRGB's curve as a parametric one: g, a, b, c, d.
SRGB_CURVE = b"para\0\0\0\0" + struct.pack(
    ">HH5i", 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
GAMMA_2_2 = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)


def display_p3(curve: bytes) -> bytes:
    """Its primaries, adapted to D50 (Bradford)."""
    primaries = {b"rXYZ": xyz(0.51512, 0.2412, -0.00105), b"gXYZ": xyz(0.29198, 0.69225, 0.04189)}
    primaries[b"bXYZ"] = xyz(0.1571, 0.06657, 0.78407)
    return profile(b"RGB ", primaries | {name: curve for name in (b"rTRC", b"gTRC", b"bTRC")})


P3 = display_p3(SRGB_CURVE)
LINEAR_GREY = profile(b"GRAY", {b"kTRC": b"curv" + bytes(8)})


@pytest.mark.parametrize("curve, expected", [(SRGB_CURVE, (217, 42, 23)), (GAMMA_2_2, (219, 37, 13))])
@pytest.mark.parametrize("mode, suffix", [("RGB", "png"), ("RGB", "tif"), ("RGBA", "png"), ("P", "png")])
def test_a_colour_profile_is_applied(tmp_path, mode, suffix, curve, expected):
    """The curve inverted, CSS Color 4's matrices from Display P3 to sRGB, and sRGB's curve."""
    stored = Image.new("RGB", (4, 3), (200, 60, 40))
    stored = stored.quantize(4) if mode == "P" else stored
    if mode == "RGBA":
        stored.putalpha(77)
    path = save(stored, tmp_path / f"a.{suffix}", icc_profile=display_p3(curve))
    found = read_image(path)
    assert np.abs(found[..., :3].astype(int) - expected).max() <= 1
    assert (found[..., 3:] == 77).all()
    assert (read_image(path, as_stored=True)[..., :3] == [200, 60, 40]).all()
    content = path.read_bytes()  # glTF 2.0, section 3.8.2: profiles within images are ignored
    assert (image_to_array(decode_picture(content, "a.glb"))[..., :3] == [200, 60, 40]).all()


def test_a_grey_profile_is_applied_at_every_depth(tmp_path):
    """Linear 55 / 255 is 128 in sRGB: 1.055 * (55 / 255) ** (1 / 2.4) - 0.055 = 0.502."""
    for array in (np.full((2, 2), 55, np.uint8), np.full((2, 2), 55 * 257, np.uint16)):
        found = read_image(save(array, tmp_path / "a.png", icc_profile=LINEAR_GREY))
        assert np.abs(found.astype(int) - 128).max() <= 1


def test_profiles_that_change_nothing_or_cannot_be_used(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for content, notice in ((srgb, False), (P3[:140], True), (b"x" * 200, True), (LINEAR_GREY, True), (b"", False)):
        picture = read_picture(save(colours(), tmp_path / "a.tif", icc_profile=content))
        np.testing.assert_array_equal(image_to_array(picture.image), colours())
        assert [n for n in picture.notices if "its colour profile cannot be used" in n] == list(picture.notices)
        assert bool(picture.notices) == notice
    grey = save(colours()[..., 0], tmp_path / "grey.png", icc_profile=P3)  # as photo editors store it
    np.testing.assert_allclose(read_image(grey)[..., 0], colours()[..., 0], atol=1)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "jpg"])
def test_the_first_frame_counts_and_the_others_are_noticed(tmp_path, suffix):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    options = {"format": "MPO"} if suffix == "jpg" else {}
    if suffix == "webp":
        options["lossless"] = True
    path = save(first, tmp_path / f"a.{suffix}", save_all=True, append_images=[second], **options)
    found = read_picture(path)
    assert np.abs(image_to_array(found.image)[4, 4, :3].astype(int) - [255, 0, 0]).max() < 5
    # A phone's second picture is a preview; the formats of animations and pages say so.
    assert bool(found.notices) == (suffix != "jpg") and "several frames" in "".join(found.notices or ["several frames"])


def test_exif_that_cannot_be_read_costs_no_picture(tmp_path, recwarn):
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\2\0\0\0\1xxxx", b"rubbish"):
        assert read_image(save(colours(), tmp_path / "a.jpg", exif=exif)).shape == (HEIGHT, WIDTH, 3)
    assert not recwarn.list


def test_as_stored_means_not_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(colours(), tmp_path / "a.jpg", exif=exif)
    assert read_image(path).shape == (WIDTH, HEIGHT, 3)
    assert read_image(path, as_stored=True).shape == (HEIGHT, WIDTH, 3)
    assert read_picture(path).orientation == 6


def test_float_pictures_that_are_not_finite():
    found = image_to_array(Image.fromarray(np.float32([[np.nan, np.inf, 2.0, 1.0]])))
    assert found[0, :, 0].tolist() == [0, 0, 255, 128]


def test_nothing_else_opens_pictures_that_are_not_our_own():
    root = Path(images.__file__).parents[2]
    files = [path for part in ("ast_jax", "launch", "render", "benchmarks") for path in (root / part).rglob("*.py")]
    opening = {path.relative_to(root).as_posix() for path in files if "Image.open(" in path.read_text()}
    # The exports look at the PNG, GIF and JPEG that they wrote a moment before.
    assert "ast_jax/data/images.py" in opening
    assert opening <= {"ast_jax/data/images.py", "ast_jax/export/report.py", "ast_jax/export/gltf.py"}
