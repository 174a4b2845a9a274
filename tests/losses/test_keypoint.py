"""The key-point term against a loop, with points that no camera sees."""

import jax
import jax.numpy as jnp
import numpy as np

from ast_jax.losses.keypoint import keypoint_loss


def test_equals_a_loop_over_points():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(2, 3, 2)).astype(np.float32)
    target = rng.normal(size=(2, 3, 3)).astype(np.float32)
    target[..., 2] = [[1, 0, 1], [0, 0, 1]]
    expected = []
    for image in range(2):
        squares = 0.0
        for point in range(3):
            if target[image, point, 2]:
                squares += sum((predicted[image, point, a] - target[image, point, a]) ** 2 for a in range(2))
        expected.append(squares / 6)
    np.testing.assert_allclose(keypoint_loss(predicted, target), expected, rtol=1e-5)


def test_hidden_points_may_be_anything():
    predicted = jnp.asarray([[[jnp.inf, jnp.nan], [0.5, 0.5]]])
    target = jnp.asarray([[[0.0, 0.0, 0.0], [0.5, 0.0, 1.0]]])
    value, gradient = jax.value_and_grad(lambda x: keypoint_loss(x, target).sum())(predicted)
    np.testing.assert_allclose(value, 0.25 / 4)
    np.testing.assert_allclose(gradient, [[[0.0, 0.0], [0.0, 0.25]]])


def test_no_points_at_all():
    assert keypoint_loss(jnp.zeros((2, 0, 2)), jnp.zeros((2, 0, 3))).tolist() == [0.0, 0.0]
