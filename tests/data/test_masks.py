"""Masks as people save them: which pixels are the object, and which files are refused because nobody can tell."""

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.images import read_picture
from ast_jax.data.masks import is_cut_out, mask_of, read_mask, without_strays

SIDE = 48
Y, X = np.mgrid[:SIDE, :SIDE]
DISC = (X - 24) ** 2 + (Y - 22) ** 2 < 14**2
LEFT = DISC & (X < 20)


def labels(background, left, right, dtype=np.uint8):
    return np.where(LEFT, dtype(left), np.where(DISC, dtype(right), dtype(background)))


def colours(background, left, right):
    return np.where(LEFT[..., None], np.uint8(left), np.where(DISC[..., None], np.uint8(right), np.uint8(background)))


def palette(array, *entries):
    picture = Image.fromarray(array).convert("P")
    picture.putpalette([number for entry in entries for number in entry])
    return picture


def read(picture, tmp_path, suffix="png", **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(tmp_path / f"mask.{suffix}", **options)
    return read_mask(tmp_path / f"mask.{suffix}")


@pytest.mark.parametrize(
    "picture",
    [
        labels(0, 1, 2),
        labels(0, 7, 3, np.uint16),
        labels(0, 1, 60000, np.uint16),
        labels(0, 255, 90),
        labels(255, 0, 0),
        labels(255, 0, 100),
        colours((0, 0, 0), (128, 0, 0), (0, 0, 64)),
        colours((0, 0, 0), (200, 10, 10), (200, 10, 10)),
        colours((0, 0, 128), (255, 255, 0), (0, 0, 0)),
        palette(labels(0, 1, 2), (0, 0, 128), (255, 255, 0), (0, 0, 127)),
        palette(labels(3, 1, 2), (9, 9, 9), (255, 255, 255), (0, 0, 0), (255, 255, 255)),
        palette(labels(0, 1, 2), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
        Image.fromarray(DISC),
        Image.fromarray(~DISC),
        np.dstack([colours((9, 9, 9), (9, 9, 9), (9, 9, 9)), DISC * np.uint8(255)]),
        np.dstack([colours((0, 0, 0), (255, 255, 255), (255, 255, 255)), np.full_like(X, 255, np.uint8)]),
    ],
)
def test_every_label_or_colour_that_is_not_the_background_is_object(tmp_path, picture):
    np.testing.assert_array_equal(read(picture, tmp_path), DISC.astype(np.float32))


def voc_palette() -> list[int]:
    """As the development kit makes it: the bits of an index, three by three, are the highest bits of its colour."""
    return [
        sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(3))
        for index in range(256)
        for channel in range(3)
    ]


@pytest.mark.parametrize("kind", ["palette", "RGB", "grey"])
def test_void_of_pascal_voc_is_neither_object_nor_background(tmp_path, kind):
    """A band about the outline that is as wide on either side: the outline is where it was."""
    far = np.hypot(X - 24, Y - 22)
    stored = np.where(np.abs(far - 14) < 2, 255, np.where(far < 14, 3, 0)).astype(np.uint8)
    stored[-4:, -4:] = 255  # something that nobody could label, away from the object
    picture = Image.fromarray(stored)
    if kind != "grey":
        picture = picture.convert("P")
        picture.putpalette(voc_palette())
        assert picture.convert("RGB").getpixel((SIDE - 1, SIDE - 1)) == (224, 224, 192)  # as published
        picture = picture.convert("RGB") if kind == "RGB" else picture
    mask = read(picture, tmp_path)
    assert set(np.unique(mask)) == {0, 1} and not mask[-4:, -4:].any()
    assert (mask.astype(bool) != (far < 14)).sum() <= 0.02 * DISC.sum()
    notice = mask_of(read_picture(tmp_path / "mask.png", srgb=False), "mask")[1]
    assert len(notice) == 1 and notice[0].startswith(f'{(stored == 255).sum()} px are "void"')


def test_white_beside_a_few_dark_pixels_is_the_object(tmp_path):
    noisy = labels(0, 255, 255)
    noisy[2, 2:5] = 1
    assert (read(noisy, tmp_path)[DISC] == 1).all()


def test_float_and_binary_tiff(tmp_path):
    np.testing.assert_array_equal(read(labels(0, 0.3, 1, np.float32), tmp_path, "tif"), DISC.astype(np.float32))


@pytest.mark.parametrize("inverted", [False, True])
def test_soft_outlines_stay_soft(tmp_path, inverted):
    soft = np.clip(14.5 - np.hypot(X - 24, Y - 22), 0, 1)
    stored = np.round((1 - soft if inverted else soft) * 255).astype(np.uint8)
    np.testing.assert_allclose(read(stored, tmp_path), soft, atol=1 / 255)
    wide = np.clip((20 - np.hypot(X - 24, Y - 22)) / 12, 0, 1)  # many levels, no two pixels beside each other alike
    np.testing.assert_allclose(read(np.round(wide * 255).astype(np.uint8), tmp_path), wide, atol=1 / 255)


@pytest.mark.parametrize(
    "picture", [labels(0, 255, 255), labels(255, 0, 0), colours((0, 0, 0), (250, 0, 0), (0, 90, 0))]
)
def test_jpeg_leaves_no_grey_noise(tmp_path, picture):
    mask = read(picture, tmp_path, "jpg", quality=75)
    inside = mask > 0.5
    assert (inside & DISC).sum() / (inside | DISC).sum() > 0.9
    assert (mask[:4] == 0).all()  # away from the disc, where JPEG leaves a pattern of its blocks


def test_an_object_that_is_cut_by_the_border(tmp_path):
    cut = np.where(X > 18, np.uint8(255), np.uint8(0))  # covers 61 % of the border, black covers the rest
    np.testing.assert_array_equal(read(cut, tmp_path), (X > 18).astype(np.float32))


def test_masks_that_nobody_can_understand_are_refused(tmp_path):
    mostly = np.where((X < 8) & (Y > 20), np.uint8(0), np.uint8(255))
    with pytest.raises(ValueError, match=r"mask.png: object and background .*, black covers 1\d%.*alpha"):
        read(mostly, tmp_path)
    stripes = palette((X // 12).astype(np.uint8), (9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 9, 9))
    with pytest.raises(ValueError, match="cannot be told apart"):
        read(stripes, tmp_path)
    with pytest.raises(ValueError, match="mask.png: the mask is empty"):
        read(np.zeros((SIDE, SIDE), np.uint8), tmp_path)
    with pytest.raises(ValueError, match="one colour everywhere"):
        read(np.full((SIDE, SIDE), 255, np.uint8), tmp_path)


def test_an_alpha_channel_is_a_cut_out_where_it_leaves_something_out():
    """Rounded corners of radius r leave out (4 - pi) r^2: 1.3 % at an eighth of the side, 5.4 % at a quarter."""
    alpha = np.ones((SIDE, SIDE), np.float32)
    assert not is_cut_out(alpha * 254 / 255)
    for radius in (6, 12):
        far = np.hypot(*(np.maximum(np.abs(axis - 23.5) - (23.5 - radius), 0) for axis in (X, Y)))
        assert not is_cut_out((far <= radius).astype(np.float32))
    framed = alpha.copy()
    framed[:1] = framed[:, -1:] = 0
    assert not is_cut_out(framed)
    assert not is_cut_out(1 - DISC.astype(np.float32))  # a hole
    assert not is_cut_out(alpha * 0)
    assert is_cut_out(DISC.astype(np.float32))
    assert is_cut_out((np.hypot(X - 23.5, Y - 23.5) < 24).astype(np.float32))  # a disc that fills the picture: 21 %


def test_strays_are_dropped_and_parts_are_kept():
    mask = DISC.astype(np.float32)
    mask[1, 1], mask[0, 46] = 1, 0.7
    mask[1, 2] = 0.3  # its soft edge
    mask[44:47, 2:4] = 1  # 6 of 613 px
    cleaned, notices = without_strays(mask)
    np.testing.assert_array_equal(cleaned, DISC.astype(np.float32))
    assert notices == ("3 stray parts of the mask, 8 px, are left out",)
    mask = DISC.astype(np.float32)
    mask[40:46, 40:46] = 1  # 36 px: a wheel, a foot
    cleaned, notices = without_strays(mask)
    np.testing.assert_array_equal(cleaned, mask)
    assert notices == ()
