"""The saliency term against the formula in float64, at the head's resolution."""

import jax.numpy as jnp
import numpy as np

from ast_jax.losses.saliency import saliency_loss


def _by_formula(told, mask):
    entropy = -(mask * np.log(told) + (1 - mask) * np.log(1 - told)).mean((1, 2))
    both, sums = (told * mask).sum((1, 2)), (told + mask).sum((1, 2))
    return entropy + 1 - (both + 1) / (sums - both + 1)


def test_equals_the_formula():
    rng = np.random.default_rng(0)
    told, mask = rng.uniform(0.02, 0.98, (2, 6, 4)), rng.integers(0, 2, (2, 6, 4)).astype(np.float64)
    np.testing.assert_allclose(saliency_loss(jnp.float32(told), jnp.float32(mask)), _by_formula(told, mask), rtol=1e-5)


def test_a_mask_of_another_size_is_resized_and_not_cut():
    """Of a half plane nothing but the border is soft, and its area stays."""
    told = np.random.default_rng(1).uniform(0.02, 0.98, (1, 8, 8))
    mask = np.zeros((1, 32, 32))
    mask[:, :, :16] = 1
    coarse = np.zeros((1, 8, 8))
    coarse[:, :, :4] = 1
    # Antialiasing mixes the two columns on either side of the border, as much in one direction as in the other: 1 / 8
    # of a cell for the triangle that is two cells wide.
    coarse[:, :, 3], coarse[:, :, 4] = 0.875, 0.125
    np.testing.assert_allclose(
        saliency_loss(jnp.float32(told), jnp.float32(mask)), _by_formula(told, coarse), rtol=1e-4
    )
