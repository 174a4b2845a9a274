"""The distance transform against scipy's, and the term against its formula in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, map_coordinates

from ast_jax.losses.flow import distance_transform, flow_mask_loss


def _masks(height, width):
    rng = np.random.default_rng(0)
    blob = rng.uniform(size=(3, height, width)) < np.array([0.5, 0.05, 0.9])[:, None, None]
    return blob.astype(np.float32)


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_distances_are_those_of_scipy(size):
    masks = _masks(*size)
    found = jax.jit(distance_transform)(masks)
    wanted = np.stack([distance_transform_edt(1 - mask) for mask in masks])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_no_mask_is_far_away_but_finite():
    assert np.all(np.asarray(distance_transform(jnp.zeros((1, 8, 8)))) == 16)


def test_the_loss_is_the_barrier_at_the_places():
    masks, places = _masks(16, 16), np.random.default_rng(1).uniform(-0.9, 0.9, (3, 7, 2)).astype(np.float32)
    wanted = []
    for mask, xy in zip(masks, places):
        difference = distance_transform_edt(1 - mask) - distance_transform_edt(mask)
        barrier = 1 / (1 + np.exp(-50 * difference / 16))
        row, column = (1 - xy[:, 1]) * 8 - 0.5, (1 + xy[:, 0]) * 8 - 0.5
        wanted.append(map_coordinates(barrier, [row, column], order=1, mode="nearest").mean())
    np.testing.assert_allclose(flow_mask_loss(places, masks), wanted, atol=1e-5)


def test_places_are_pulled_onto_the_object():
    """Down the gradient from beside a disc: the way is inwards, and ends where nothing pulls any more."""
    rows, columns = np.mgrid[:32, :32] + 0.5
    mask = (np.hypot(rows - 16, columns - 16) < 8).astype(np.float32)[None]
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    places = jnp.asarray(0.6 * np.stack([np.cos(angles), np.sin(angles)], -1), jnp.float32)[None]
    step = jax.jit(jax.grad(lambda places: flow_mask_loss(places, mask).sum()))
    first = step(places)
    assert ((np.asarray(first) * np.asarray(places)).sum(-1) > 0).all()
    for _ in range(200):
        places = places - 0.05 * step(places)
    assert np.linalg.norm(places, axis=-1).max() < 0.5
    assert float(flow_mask_loss(places, mask)[0]) < 0.3
