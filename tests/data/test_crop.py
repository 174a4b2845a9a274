import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ast_jax.data.crop import (
    Box,
    area_downsample,
    crop_camera,
    crop_rgba,
    crop_surroundings,
    crop_to_mask,
    object_box,
    premultiply,
)
from render import orbit


def rectangle_mask(height, width, rows, columns):
    mask = np.zeros((height, width), np.float32)
    mask[slice(*rows), slice(*columns)] = 1.0
    return mask


def test_box_by_hand():
    # 10 px wide from 4 to 14, 20 px tall from 6 to 26: centre (9, 16), side 20 * 1.2 = 24.
    box = object_box(rectangle_mask(40, 30, (6, 26), (4, 14)), padding=0.1)
    assert (box.left, box.top, box.side) == (-3.0, 4.0, 24.0)


def test_moved_box_by_hand():
    # Half the side about the same centre (20, 30), then 0.1 of the old side to the right and 0.2 up.
    box = Box(10.0, 20.0, 20.0).moved(0.1, -0.2, 2.0)
    np.testing.assert_allclose([box.left, box.top, box.side], [17.0, 21.0, 10.0])


def test_single_pixel_is_an_object():
    box = object_box(rectangle_mask(5, 5, (2, 3), (3, 4)), padding=0.0)
    assert (box.left, box.top, box.side) == (3.0, 2.0, 1.0)


def test_empty_mask_is_refused():
    with pytest.raises(ValueError, match="no pixel above 0.5"):
        object_box(np.full((4, 4), 0.5, np.float32))


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 4\)"):
        crop_to_mask(np.zeros((4, 4, 3), np.float32), np.ones((4, 5), np.float32), 8)


def test_whole_pixel_crop_copies_pixels():
    rng = np.random.default_rng(0)
    picture = rng.uniform(size=(1, 12, 10, 4)).astype(np.float32)
    square = crop_rgba(picture, [Box(2.0, 3.0, 6.0)], 6)[0]
    np.testing.assert_allclose(square, picture[0, 3:9, 2:8], atol=1e-6)


def test_magnifying_is_bilinear():
    picture = np.random.default_rng(1).uniform(size=(30, 30)).astype(np.float32)
    box = Box(6.3, 4.9, 17.0)
    magnified = crop_rgba(np.repeat(picture[None, ..., None], 4, -1), [box], 40)[0, ..., 0]
    centres = (np.arange(40) + 0.5) * 17.0 / 40
    np.testing.assert_allclose(magnified, bilinear(picture, box.top + centres, box.left + centres), atol=1e-5)


@pytest.mark.parametrize("size", [3, 10])
def test_minifying_is_a_tent_of_twice_the_step(size):
    picture = np.random.default_rng(1).uniform(size=(30, 30)).astype(np.float32)
    box = Box(6.3, 6.9, 16.0)
    minified = crop_rgba(np.repeat(picture[None, ..., None], 4, -1), [box], size)[0, ..., 0]
    np.testing.assert_allclose(minified, tent_average(picture, box, size), atol=1e-5)


@pytest.mark.parametrize("size", [8, 16])
def test_minifying_whole_pictures_agrees_with_pillow(size):
    picture = np.random.default_rng(1).uniform(size=(32, 32)).astype(np.float32)
    mine = crop_rgba(np.repeat(picture[None, ..., None], 4, -1), [Box(0.0, 0.0, 32.0)], size)[0, ..., 0]
    pillow = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
    # The outermost pixels differ: there pillow leaves out what is beyond the border, here it is transparent.
    np.testing.assert_allclose(mine[1:-1, 1:-1], pillow[1:-1, 1:-1], atol=1e-5)


def bilinear(picture, rows, columns):
    r, c = rows - 0.5, columns - 0.5
    r0, c0 = np.floor(r).astype(int), np.floor(c).astype(int)
    a, b = (r - r0)[:, None], (c - c0)[None]
    upper = picture[r0][:, c0] * (1 - b) + picture[r0][:, c0 + 1] * b
    lower = picture[r0 + 1][:, c0] * (1 - b) + picture[r0 + 1][:, c0 + 1] * b
    return upper * (1 - a) + lower * a


def tent_average(picture, box, size):
    reach = max(box.side / size, 1.0)
    result = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            weights = np.zeros(picture.shape)
            y, x = box.top + (i + 0.5) * box.side / size, box.left + (j + 0.5) * box.side / size
            for row in range(picture.shape[0]):
                for column in range(picture.shape[1]):
                    near_y = max(0.0, 1 - abs(row + 0.5 - y) / reach)
                    near_x = max(0.0, 1 - abs(column + 0.5 - x) / reach)
                    weights[row, column] = near_y * near_x
            result[i, j] = (weights * picture).sum() / weights.sum()
    return result


def test_background_fills_outside_and_does_not_bleed():
    mask = rectangle_mask(8, 8, (0, 8), (0, 8))
    rgb = np.full((8, 8, 3), 0.25, np.float32)
    square, coverage = crop_to_mask(rgb, mask, 16, padding=0.5, background=(1.0, 0.5, 0.0))
    np.testing.assert_allclose(square[0, 0], [1.0, 0.5, 0.0])
    np.testing.assert_allclose(square[8, 8], [0.25] * 3, atol=1e-6)
    assert coverage[0, 0] == 0 and coverage[8, 8] == pytest.approx(1)
    rgb_painted = rgb.copy()
    half = rectangle_mask(8, 8, (2, 6), (2, 6))
    rgb_painted[half == 0] = 0.9  # colour under transparent pixels must not show
    first, _ = crop_to_mask(rgb, half, 16)
    second, _ = crop_to_mask(rgb_painted, half, 16)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_any_output_size(size):
    mask = rectangle_mask(9, 21, (1, 8), (3, 20))
    rgb, coverage = crop_to_mask(np.ones((9, 21, 3), np.float32), mask, size, background=(0.0, 0.0, 0.0))
    assert rgb.shape == (size, size, 3) and rgb.dtype == np.float32
    assert 0 <= rgb.min() and rgb.max() <= 1
    np.testing.assert_allclose(rgb[..., 0], coverage, atol=1e-6)


def test_area_downsample_keeps_the_mean_and_blocks():
    picture = np.random.default_rng(2).uniform(size=(2, 12, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(area_downsample(picture, 4), picture.reshape(2, 4, 3, 4, 3, 3).mean((2, 4)), atol=1e-6)
    np.testing.assert_allclose(area_downsample(picture, 5).mean((1, 2)), picture.mean((1, 2)), atol=1e-5)
    assert area_downsample(picture, 12) is picture


def test_camera_of_the_crop_sees_points_where_the_crop_shows_them():
    rng = np.random.default_rng(3)
    camera = orbit(*(jnp.array([x]) for x in (2.7, 0.4, 1.0, 0.6)))
    camera = dataclasses.replace(camera, principal=jnp.array([[0.1, -0.2]]))
    points = jnp.asarray(rng.uniform(-0.5, 0.5, (1, 20, 3)), jnp.float32)
    height, width = 48, 80
    box = Box(11.0, 5.5, 33.0)
    pixels = to_pixels(camera, points, width, height)
    in_crop = to_pixels(crop_camera(camera, [box], (height, width)), points, 64, 64)
    np.testing.assert_allclose(in_crop, (pixels - [box.left, box.top]) / box.side * 64, atol=1e-3)


def to_pixels(camera, points, width, height):
    clip = np.asarray(camera.project(points))[0]
    x, y = clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3]
    return np.stack([(x + 1) / 2 * width, (1 - y) / 2 * height], -1)


def test_premultiply():
    rgba = premultiply(np.full((2, 2, 3), 0.5, np.float32), np.array([[0, 1], [0.5, 1]], np.float32))
    np.testing.assert_allclose(rgba[1, 0], [0.25, 0.25, 0.25, 0.5])


@pytest.mark.parametrize("size", [4, 30])
def test_only_the_reach_of_the_crop_matters(size):
    rng = np.random.default_rng(4)
    rgb = rng.uniform(size=(60, 90, 3)).astype(np.float32)
    mask = rectangle_mask(60, 90, (20, 33), (60, 71)) * rng.uniform(0.6, 1, (60, 90)).astype(np.float32)
    box = object_box(mask).moved(0.1, -0.2, 1.3)
    whole = crop_rgba(premultiply(rgb, mask)[None], [box], size)[0]
    _, coverage = crop_to_mask(rgb, mask, size, jitter=(0.1, -0.2, 1.3))
    np.testing.assert_allclose(coverage, whole[..., 3], atol=1e-6)


def test_surroundings_are_the_picture_and_the_ground_beyond_its_border():
    rgb = np.random.default_rng(0).uniform(size=(20, 30, 3)).astype(np.float32)
    found = crop_surroundings(rgb, Box(-5.0, -5.0, 40.0), 40, (0.25, 0.5, 1.0))
    np.testing.assert_allclose(found[5:25, 5:35], rgb, atol=1e-6)
    beyond = np.ones((40, 40), bool)
    beyond[5:25, 5:35] = False
    np.testing.assert_allclose(found[beyond], np.broadcast_to([0.25, 0.5, 1.0], (beyond.sum(), 3)), atol=1e-6)
