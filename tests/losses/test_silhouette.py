"""Silhouette terms against plain loops over pixels, and what they do with empty masks."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from ast_jax.losses.silhouette import bce_iou_loss, iou_loss, mask_barrier_loss, mse_mask_loss

TERMS = (iou_loss, mse_mask_loss, bce_iou_loss)


def _images(seed=0):
    rng = np.random.default_rng(seed)
    alpha = rng.uniform(0.01, 0.99, (2, 5, 4))
    mask = (rng.random((2, 5, 4)) > 0.4).astype(np.float64)
    return alpha, mask


def _by_loops(alpha, mask):
    """(IoU, MSE, BCE + smoothed IoU) of one image, pixel by pixel in Python floats."""
    intersection = union = squares = entropy = 0.0
    for a, m in zip(alpha.ravel().tolist(), mask.ravel().tolist()):
        intersection += a * m
        union += a + m - a * m
        squares += (a - m) ** 2
        entropy -= m * math.log(a) + (1 - m) * math.log(1 - a)
    smoothed = (intersection + 1) / (union + 1)
    return 1 - intersection / union, squares / alpha.size, entropy / alpha.size + 1 - smoothed


@cache
def _value_and_gradient(term):
    return jax.jit(jax.value_and_grad(lambda alpha, mask: term(alpha, mask).sum()))


@pytest.mark.parametrize("position", range(3))
def test_equals_loops_over_pixels(position):
    alpha, mask = _images()
    expected = [_by_loops(a, m)[position] for a, m in zip(alpha, mask)]
    actual = TERMS[position](jnp.asarray(alpha, jnp.float32), jnp.asarray(mask, jnp.float32))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_perfect_silhouette_costs_nothing_and_the_opposite_costs_most(term):
    mask = jnp.asarray(_images()[1], jnp.float32)
    np.testing.assert_allclose(term(mask, mask), 0.0, atol=1e-5)
    assert np.all(np.asarray(term(1 - mask, mask)) >= 0.9)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("alpha_value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("mask_value", [0.0, 1.0])
def test_finite_at_empty_and_full(term, alpha_value, mask_value):
    alpha, mask = jnp.full((1, 3, 3), alpha_value), jnp.full((1, 3, 3), mask_value)
    value, gradient = _value_and_gradient(term)(alpha, mask)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_the_barrier_counts_what_is_drawn_by_its_distance_from_the_mask():
    alpha, mask = _images()
    difference = [distance_transform_edt(1 - m) - distance_transform_edt(m) for m in mask]
    wanted = [(a / (1 + np.exp(-50 * d / 5))).mean() for a, d in zip(alpha, difference)]
    np.testing.assert_allclose(mask_barrier_loss(jnp.float32(alpha), jnp.float32(mask)), wanted, rtol=1e-5)


def test_empty_mask_of_iou():
    empty = jnp.zeros((1, 3, 3))
    assert iou_loss(empty, empty)[0] == 0.0
    assert iou_loss(jnp.full((1, 3, 3), 0.1), empty)[0] == 1.0


@pytest.mark.parametrize("term", TERMS)
def test_gradient_equals_finite_differences(term):
    alpha, mask = _images(1)
    step = np.zeros_like(alpha)
    step[1, 2, 3] = 1e-6
    with jax.enable_x64(True):
        low, here, high = jax.device_get([_value_and_gradient(term)(alpha + k * step, mask) for k in (-1, 0, 1)])
    np.testing.assert_allclose(here[1][1, 2, 3], (high[0] - low[0]) / 2e-6, rtol=1e-6)
