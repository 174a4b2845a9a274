"""The squares against slow readings of the published formulas, pixel by pixel."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.crop import Box
from ast_jax.data.frames import (
    ast_cut,
    ast_square,
    cmr_cut,
    cmr_square,
    jittered_square,
    square_camera,
    square_keypoints,
)

# Even and odd sides, ties of the rounding (0.05 * 10 = 0.5), and boxes that reach beyond a picture of 60 x 40.
BOXES = [
    [11, 8, 20, 30],
    [1, 1, 60, 40],
    [21, 5, 51, 36],
    [3, 2, 12, 11],
    [40, 20, 66, 45],
    [-4, -6, 25, 13],
    [30, 4, 39, 33],
    [7, 7, 7, 7],
]


def rounded(value: float) -> int:
    """Halves away from zero, as Python 2 has it; halves are exact in both number systems."""
    return int(Decimal(float(value)).quantize(Decimal(1), ROUND_HALF_UP))


def published_cmr_square(box):
    x1, y1, x2, y2 = (float(value) - 1 for value in box)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    corners = [x1 - 0.05 * width, y1 - 0.05 * height, x2 + 0.05 * width, y2 + 0.05 * height]
    x1, y1, x2, y2 = map(rounded, corners)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    side = max(width, height)
    x1 -= rounded((side - width) / 2)
    y1 -= rounded((side - height) / 2)
    return x1, y1, side


def published_ast_square(box):
    x1, y1, x2, y2 = map(float, box)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    corners = [x1 - 0.05 * width, y1 - 0.05 * height, x2 + 0.05 * width, y2 + 0.05 * height]
    x1, y1, x2, y2 = map(round, corners)
    width, height = x2 - x1, y2 - y1
    side = max(width, height)
    return x1 - round((side - width) / 2), y1 - round((side - height) / 2), side


@pytest.mark.parametrize("box", BOXES)
def test_squares_are_the_published_ones(box):
    for ours, published in ((cmr_square, published_cmr_square), (ast_square, published_ast_square)):
        square = ours(np.array(box, float))
        assert (square.left, square.top, square.side) == published(box)


@pytest.mark.parametrize("box", BOXES)
def test_a_box_that_does_not_move_gives_the_stored_square(box):
    """But for the rounding to whole pixels, and AST's squares, which are a pixel smaller."""
    x1, y1, x2, y2 = box
    square = jittered_square(np.array([x1 - 1, y1 - 1, x2, y2], float), (0.0, 0.0, 0.0, 0.0))
    left, top, side = published_cmr_square(box)
    np.testing.assert_allclose([square.left, square.top, square.side], [left, top, side], atol=1.01)


def test_squares_by_hand():
    # Width 10: 0.5 px on each side, from 9.5 to 19.5 counted from 0; Python 2 rounds to 10 and 20: eleven pixels.
    # Height 20: one pixel on each side. Eleven columns grow by 11 to 22: round(5.5) = 6 on the left.
    assert cmr_square(np.array([11.0, 11.0, 20.0, 30.0])) == Box(4.0, 9.0, 22.0)
    # Counted from 1 and the last pixel left out: 10.5 to 20.5 become 10 and 20, ten columns; 10 to 31 are 21 rows.
    assert ast_square(np.array([11.0, 11.0, 20.0, 30.0])) == Box(4.0, 10.0, 21.0)


def picture(rng):
    rgb = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    return rgb, (rng.uniform(size=(40, 60)) < 0.6).astype(np.uint8)


def slow_cmr_cut(rgb, mask, square, size):
    """Pixel by pixel: the window with white beyond the picture, then bilinear between pixel centres."""
    left, top, side = int(square.left), int(square.top), int(square.side)
    window = np.zeros((side, side, 4))
    for i in range(side):
        for j in range(side):
            inside = 0 <= top + i < 40 and 0 <= left + j < 60
            window[i, j] = [*rgb[top + i, left + j], 255 * mask[top + i, left + j]] if inside else [255, 255, 255, 0]
    result = np.zeros((size, size, 4))
    for i in range(size):
        for j in range(size):
            y, x = ((k + 0.5) * side / size - 0.5 for k in (i, j))
            y, x = (min(max(value, 0.0), side - 1.0) for value in (y, x))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, side - 1), min(x0 + 1, side - 1)
            upper = (1 - (x - x0)) * window[y0, x0] + (x - x0) * window[y0, x1]
            lower = (1 - (x - x0)) * window[y1, x0] + (x - x0) * window[y1, x1]
            result[i, j] = (1 - (y - y0)) * upper + (y - y0) * lower
    return result


@pytest.mark.parametrize("box", BOXES)
def test_cmr_cut(box):
    rgb, mask = picture(np.random.default_rng(0))
    square = cmr_square(np.array(box, float))
    cut = cmr_cut(rgb, mask, square, 16)
    expected = slow_cmr_cut(rgb, mask, square, 16)
    assert cut.dtype == np.uint8
    np.testing.assert_allclose(cut, expected, atol=0.501)


@pytest.mark.parametrize("box", BOXES[:-1])  # of a single pixel AST's square has none
def test_ast_cut(box):
    rgb, mask = picture(np.random.default_rng(0))
    square = ast_square(np.array(box, float))
    cut = ast_cut(rgb, mask, square, 16)
    # A picture with wide borders, so that the window is an ordinary crop of it.
    wide = np.pad(rgb, ((80, 80), (80, 80), (0, 0)), mode="edge")
    left, top, side = (int(value) for value in (square.left + 80, square.top + 80, square.side))
    corners = (left, top, left + side, top + side)
    colour = Image.fromarray(wide).crop(corners).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(cut[..., :3], np.asarray(colour))
    alpha = np.pad(mask, 80)[top : top + side, left : left + side]
    nearest = np.floor((np.arange(16) + 0.5) * side / 16).astype(int)
    np.testing.assert_array_equal(cut[..., 3], 255 * alpha[nearest][:, nearest])


def published_cmr_numbers(kp, scale, trans, box, size):
    """CMR's key points and camera in its square, without flip: ``kp``, ``trans`` and box as its files have them."""
    left, top, side = published_cmr_square(box)
    factor = size / side
    keypoints = [2 * ((x - 1 - left) * factor / size) - 1 for x in kp[:, 0]]
    keypoints = np.stack([keypoints, [2 * ((y - 1 - top) * factor / size) - 1 for y in kp[:, 1]]], -1)
    shift = (np.array(trans) - [left, top]) * factor
    return keypoints, scale * factor * (1 / size + 1 / size), 2 * (shift / size) - 1


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [64, 256])
def test_key_points_and_camera_are_the_published_ones_at_pixel_centres(box, size):
    rng = np.random.default_rng(1)
    parts = np.concatenate([rng.uniform(1, 60, (15, 2)), rng.integers(0, 2, (15, 1))], -1)
    square = cmr_square(np.array(box, float))
    keypoints, scale, shift = published_cmr_numbers(parts, 17.0, (31.0, 20.0), box, size)
    # Half a pixel of the photograph is 1 / side. CMR's key points lie that much up and left of where its renderer
    # draws them, its cameras that much down and right.
    half = 1 / square.side
    ours = square_keypoints(parts, square)
    seen = parts[:, 2] > 0
    np.testing.assert_allclose(ours[seen, :2] * [1, -1], keypoints[seen] + half, atol=1e-5)
    np.testing.assert_array_equal(ours[~seen], 0)
    np.testing.assert_array_equal(ours[:, 2], parts[:, 2])
    np.testing.assert_allclose(square_camera(17.0, np.array([31.0, 20.0]), square), [scale, *(shift - half)])


def test_key_point_lies_on_its_pixel():
    """One bright pixel, whose number is the key point, is where the key point says in the square."""
    rgb, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    mask[21, 33] = 1  # number 34, 22
    for square, cut in ((cmr_square, cmr_cut), (ast_square, ast_cut)):
        box = square(np.array([20.0, 10.0, 45.0, 38.0]))
        side = int(box.side)
        alpha = cut(rgb, mask, box, 5 * side)[..., 3].astype(float)
        rows, columns = np.mgrid[: 5 * side, : 5 * side] + 0.5
        centre_px = np.array([(alpha * columns).sum(), (alpha * rows).sum()]) / alpha.sum()
        x, y, _ = square_keypoints(np.array([[34.0, 22.0, 1.0]]), box)[0]
        np.testing.assert_allclose([(x + 1) / 2 * 5 * side, (1 - y) / 2 * 5 * side], centre_px, atol=1e-3)
