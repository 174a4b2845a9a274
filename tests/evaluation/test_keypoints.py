"""PCK by hand, key points carried over against loops, and the published lists of pairs."""

import jax
import numpy as np
import pytest

from ast_jax.evaluation.keypoints import (
    pck,
    transfer_keypoints,
    transfer_pairs,
    umr_pairs,
    visible_vertices,
)
from render import rasterize


def _masks():
    """Boxes of 10 x 20 and 40 x 10 pixels in pictures of 40 x 80."""
    masks = np.zeros((2, 40, 80))
    masks[0, 5:15, 10:30] = 1.0
    masks[1, :, 60:70] = 1.0
    return masks


def test_by_hand():
    target = np.zeros((2, 2, 3))
    target[..., 2] = [[1, 1], [1, 0]]
    predicted = np.zeros((2, 2, 2))
    # 80 px wide, 40 px high: 1.9 px right = 0.0475 NDC; 2.5 px up = 0.125 NDC.
    predicted[0, 0, 0] = 0.0475  # 1.9 / 20 = 0.095
    predicted[0, 1, 1] = 0.125  # 2.5 / 20 = 0.125
    predicted[1, 0, 0] = 0.2  # 8 / 40 = 0.2
    predicted[1, 1] = 9.0  # hidden
    # Point 0: right in the first of two pictures. Point 1: one picture, right at 0.15 only.
    np.testing.assert_allclose(pck(predicted, target, _masks()), [(0.5 + 0.0) / 2, (0.5 + 1.0) / 2])


def test_point_that_is_never_visible_does_not_count():
    target = np.zeros((2, 2, 3))
    target[:, 0, 2] = 1.0
    assert pck(np.zeros((2, 2, 2)), target, _masks()).tolist() == [1.0, 1.0]
    target[..., 2] = 0.0
    assert np.isnan(pck(np.zeros((2, 2, 2)), target, _masks())).all()


def test_empty_mask():
    masks = _masks()
    masks[1] = 0.0
    with pytest.raises(ValueError, match="number 1 is empty"):
        pck(np.zeros((2, 1, 2)), np.ones((2, 1, 3)), masks)


def _random_pairs(seed=0, b=6, p=7, v=25):
    rng = np.random.default_rng(seed)
    source, target = rng.uniform(-1, 1, (2, b, p, 3))
    source[..., 2], target[..., 2] = rng.random((2, b, p)) < 0.7
    points = rng.uniform(-1, 1, (2, b, v, 2))
    return source, target, points[0], points[1], rng.random((b, v)) < 0.4


def _transfer_loop(keypoints, source_points, target_points, usable):
    moved = np.zeros(keypoints[..., :2].shape)
    for i, image in enumerate(keypoints):
        for k, (x, y, _) in enumerate(image):
            best = min(((x - u) ** 2 + (y - w) ** 2, n) for n, (u, w) in enumerate(source_points[i]) if usable[i, n])
            moved[i, k] = target_points[i, best[1]]
    return moved


def test_transfer_equals_loops_over_usable_points():
    source, _, at_source, at_target, usable = _random_pairs()
    moved = transfer_keypoints(source, at_source, at_target, usable)
    np.testing.assert_array_equal(moved, _transfer_loop(source, at_source, at_target, usable))
    everything = transfer_keypoints(source, at_source, at_target)
    np.testing.assert_array_equal(everything, _transfer_loop(source, at_source, at_target, usable | True))
    assert not np.array_equal(moved, everything)


def test_mask_and_box_give_the_same_for_a_square_picture():
    masks = np.zeros((3, 64, 64), bool)
    masks[0, 3:19, 5:21], masks[1, 10:60, 4:20], masks[2] = True, True, True
    rng = np.random.default_rng(0)
    target = np.concatenate([rng.uniform(-1, 1, (3, 9, 2)), np.ones((3, 9, 1))], axis=-1)
    predicted = target[..., :2] + rng.normal(scale=0.1, size=(3, 9, 2))
    by_box = pck(predicted, target, box_share=np.array([16, 50, 64]) / 64)
    np.testing.assert_array_equal(pck(predicted, target, masks), by_box)
    with pytest.raises(ValueError, match="give exactly one"):
        pck(predicted, target)
    with pytest.raises(ValueError, match="give exactly one"):
        pck(predicted, target, masks, box_share=np.ones(3))


def test_pairs_are_those_of_the_published_recipe():
    first, second = [], []
    while len(first) < 11:
        np.random.seed(len(first) + 123)
        order = np.random.permutation(np.arange(0, 9))
        first, second = first + order[:4].tolist(), second + order[-4:].tolist()
    pairs = transfer_pairs(9, 11)
    np.testing.assert_array_equal(pairs, list(zip(first, second))[:11])
    assert (pairs[:, 0] != pairs[:, 1]).all()
    with pytest.raises(ValueError, match="at least two pictures"):
        transfer_pairs(1, 5)


def test_pairs_of_umr_are_two_draws_with_replacement():
    state = np.random.RandomState(7)
    everything = list(range(7))
    first, second = state.choice(everything, 40), state.choice(everything, 40)
    np.testing.assert_array_equal(umr_pairs(7, 40), list(zip(first, second)))


def test_visible_vertices_of_two_squares_one_behind_the_other():
    """The smaller square is hidden in the first picture; in the second it is in front, within the larger one."""
    square = np.array([[-1.0, -1, 0, 1], [1, -1, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1]])
    clip = np.concatenate([square * [0.8, 0.8, 1, 1], square * [0.4, 0.4, 1, 1]])
    corners = np.array([[0, 1, 2], [0, 2, 3]])
    faces = np.concatenate([corners, corners + 4]).astype(np.int32)
    depth = np.array([[1.0] * 4 + [2.0] * 4, [2.0] * 4 + [1.0] * 4])
    draw = jax.jit(lambda clip, depth: rasterize(clip, faces, (16, 16), vertex_depth=depth).face_id)
    face_id = np.asarray(draw(np.stack([clip, clip]), depth))
    visible = visible_vertices(face_id, faces, 9)
    np.testing.assert_array_equal(visible[0], [True] * 4 + [False] * 5)
    np.testing.assert_array_equal(visible[1], [True] * 8 + [False])
    assert not visible_vertices(np.full((1, 4, 4), -1), faces, 8).any()


def test_nothing_to_transfer_by():
    source, _, at_source, at_target, usable = _random_pairs()
    usable[2] = False
    with pytest.raises(ValueError, match="picture 2 of the batch has no usable point"):
        transfer_keypoints(source, at_source, at_target, usable)
