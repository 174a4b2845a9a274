"""Colour terms against loops over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.losses.colour import l1_loss, mse_loss
from ast_jax.losses.term import where_both_cover


@pytest.mark.parametrize("term, error", [(l1_loss, abs), (mse_loss, lambda d: d * d)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_equals_loops_over_pixels(term, error, with_mask):
    rng = np.random.default_rng(0)
    rgb, target = rng.random((2, 2, 3, 4, 3)).astype(np.float32)
    mask = rng.random((2, 3, 4)).astype(np.float32)
    expected = []
    for image in range(2):
        total = weight = 0.0
        for row in range(3):
            for column in range(4):
                w = float(mask[image, row, column]) if with_mask else 1.0
                channels = [float(rgb[image, row, column, c] - target[image, row, column, c]) for c in range(3)]
                total += w * sum(map(error, channels)) / 3
                weight += w
        expected.append(total / weight)
    actual = term(rgb, target, mask) if with_mask else term(rgb, target)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("term", [l1_loss, mse_loss])
def test_empty_mask_costs_nothing(term):
    rgb = np.ones((1, 2, 2, 3), np.float32)
    assert term(rgb, 0 * rgb, np.zeros((1, 2, 2), np.float32))[0] == 0.0


def test_colours_count_where_rendering_and_object_cover_the_pixel():
    # Pixels: both, the rendering alone, the object alone, neither, half of each.
    alpha = jnp.array([[[1.0, 1.0, 0.0, 0.0, 0.5]]])
    mask = jnp.array([[[1.0, 0.0, 1.0, 0.0, 0.5]]])
    target = jnp.full((1, 1, 5, 3), 0.8)

    def total(rgb, alpha):
        return l1_loss(where_both_cover(rgb, target, alpha, mask), target).sum()

    rgb = jnp.full((1, 1, 5, 3), 0.2)
    np.testing.assert_allclose(total(rgb, alpha), 0.6 * (1 + 0.25) / 5, rtol=1e-6)
    by_rgb, by_alpha = jax.grad(total, argnums=(0, 1))(rgb, alpha)
    np.testing.assert_allclose(by_rgb[0, 0, :, 0], [-1 / 15, 0, 0, 0, -0.25 / 15], atol=1e-7)
    assert not by_alpha.any()
