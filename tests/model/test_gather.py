"""Gathered colours: against numpy, and what must hold for any picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_jax.model.gather import ColourGather, PictureReader

RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(2, 5, 8)).astype(np.float32)
PLACES = RNG.uniform(-0.5, 0.5, size=(2, 5, 2)).astype(np.float32)
FEATURES = RNG.normal(size=(2, 4, 3, 6)).astype(np.float32)


CELLS = np.array([0, 2, 4, 9, 11])  # of 4 rows and 3 columns


def _places(cells) -> np.ndarray:
    """NDC of their centres."""
    row, column = cells // 3, cells % 3
    return np.stack([(column + 0.5) / 3 * 2 - 1, 1 - (row + 0.5) / 4 * 2], -1).astype(np.float32)


@pytest.fixture(scope="module")
def gather():
    return ColourGather(6, 8, rngs=nnx.Rngs(0))


def test_weighted_mean_of_cell_colours(gather):
    image = RNG.uniform(size=(2, 8, 6, 3)).astype(np.float32)
    # A picture of 2 x 2 blocks: antialiased resizing to half the size gives back the blocks' colours inside.
    cells = image.reshape(2, 4, 2, 3, 2, 3).mean((2, 4))
    blocks = cells.repeat(2, axis=1).repeat(2, axis=2)
    colours, weights = gather(QUERIES, FEATURES, blocks, PLACES)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    resized = np.asarray(jax.image.resize(blocks, (2, 4, 3, 3), "linear", antialias=True)).reshape(2, 12, 3)
    np.testing.assert_allclose(colours, np.asarray(weights)[:, 0] @ resized, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(0, 1, width=32)] * 3))
def test_a_picture_of_one_colour_gives_that_colour(gather, colour):
    image = np.broadcast_to(np.float32(colour), (2, 8, 6, 3))
    np.testing.assert_allclose(
        gather(QUERIES, FEATURES, image, PLACES)[0], np.broadcast_to(colour, (2, 5, 3)), atol=1e-5
    )


def test_no_gathered_colour_lies_outside_of_the_picture(gather):
    image = RNG.uniform(0.3, 0.6, size=(2, 16, 12, 3)).astype(np.float32)
    colours, _ = gather(10 * QUERIES, FEATURES, image, PLACES)
    assert colours.min() >= 0.3 and colours.max() <= 0.6


def test_a_query_learns_to_look_at_one_cell():
    """Only one cell is red: asked for red, the weights move there, though it is not where the faces are."""
    gather = ColourGather(6, 8, rngs=nnx.Rngs(0))
    gather.log_reach[...] = jnp.log(1.0)
    image = np.zeros((2, 4, 3, 3), np.float32)
    image[:, 1, 2, 0] = 1.0
    graph, params = nnx.split(gather)

    def loss(params):
        return -nnx.merge(graph, params)(jnp.asarray(QUERIES), jnp.asarray(FEATURES), image, PLACES)[0][..., 0].mean()

    before = loss(params)
    for _ in range(100):
        params = jax.tree.map(lambda p, g: p - 1.0 * g, params, jax.grad(loss)(params))
    weights = np.asarray(nnx.merge(graph, params)(QUERIES, FEATURES, image, PLACES)[1])
    assert loss(params) < before - 0.3
    assert (weights.argmax(-1) == 1 * 3 + 2).all()


def test_a_reader_looks_first_where_its_place_is():
    sharp = PictureReader(6, 8, rngs=nnx.Rngs(0))
    sharp.log_reach[...] = jnp.log(0.02)
    values = sharp.value(FEATURES.reshape(2, 12, 6))
    found = sharp(QUERIES, FEATURES, np.stack([_places(CELLS)] * 2))
    np.testing.assert_allclose(found, values[:, CELLS], atol=1e-5)


def test_a_query_gathers_first_where_its_face_is():
    sharp = ColourGather(6, 8, rngs=nnx.Rngs(0))
    sharp.log_reach[...] = jnp.log(0.02)
    image = RNG.uniform(size=(2, 4, 3, 3)).astype(np.float32)
    colours, _ = sharp(QUERIES, FEATURES, image, np.stack([_places(CELLS)] * 2))
    np.testing.assert_allclose(colours, image.reshape(2, 12, 3)[:, CELLS], atol=1e-5)


def test_what_the_object_does_not_cover_is_not_gathered(gather):
    """Red on the object, green beside it: nothing of the green comes, whatever is asked for."""
    image = np.zeros((2, 8, 6, 4), np.float32)
    image[..., 1] = 1.0
    image[:, 2:6, 2:, :] = [1.0, 0.0, 0.0, 1.0]
    colours, _ = gather(10 * QUERIES, FEATURES, image, PLACES)
    assert colours[..., 0].min() > 0.9 and colours[..., 1].max() < 0.1


def test_a_picture_without_the_object_gives_finite_colours(gather):
    colours, weights = gather(QUERIES, FEATURES, np.zeros((2, 8, 6, 4), np.float32), PLACES)
    assert np.isfinite(colours).all() and np.isfinite(weights).all()
