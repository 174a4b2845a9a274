"""Colour terms against loops over pixels."""

import numpy as np
import pytest

from ast_jax.losses.colour import l1_loss, mse_loss


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
