"""Pictures as people have them: every mode becomes 8-bit RGB or RGBA, every broken file one message."""

import numpy as np
import pytest
from PIL import Image

from ast_jax.data import images
from ast_jax.data.images import image_to_array, read_image, read_rgb

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


@pytest.mark.filterwarnings("ignore:Truncated File Read")
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
