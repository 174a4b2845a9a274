"""Wrong starts: where they lie, what gradient they pass, and that steps which begin there learn to read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ast_jax.model.shape import query_layout, spread
from ast_jax.model.starts import WrongStarts
from ast_jax.model.synthesis import Evidence, ShapeSynthesis
from ast_jax.model.template import sphere
from render import orbit

COUNT = 400
RNG = np.random.default_rng(0)
SHAPES = RNG.normal(size=(COUNT, 7, 3)).astype(np.float32)
CAMERAS = orbit(2.7, RNG.uniform(-0.5, 0.5, COUNT), RNG.uniform(0, 6, COUNT), np.full(COUNT, 0.4))


def amounts(starts: WrongStarts) -> np.ndarray:
    """How far each start is on the way to its other, by least squares; and it lies on that way."""
    way, gone = (x.reshape(COUNT, -1) for x in (SHAPES[::-1] - SHAPES, np.asarray(starts.shapes(SHAPES)) - SHAPES))
    amount = (way * gone).sum(1) / (way * way).sum(1)
    np.testing.assert_allclose(gone, amount[:, None] * way, atol=1e-5)
    return amount


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_that_starts_wrong_is_anywhere_on_the_way_to_another(share):
    amount = amounts(WrongStarts(share, jax.random.key(3)))
    wrong = amount > 1e-6
    assert abs(wrong.mean() - share) < 0.08
    if share:
        assert np.abs(np.quantile(amount[wrong], [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.12


def test_the_same_pictures_have_turned_cameras_and_the_rest_stays():
    starts = WrongStarts(0.5, jax.random.key(4))
    amount, moved = amounts(starts), starts.cameras(CAMERAS)
    before, after = (np.asarray(c.rotation, np.float64) for c in (CAMERAS, moved))
    np.testing.assert_allclose(after @ after.transpose(0, 2, 1), np.broadcast_to(np.eye(3), after.shape), atol=1e-5)
    angle = np.arccos(np.clip((np.einsum("bij,bij->b", after, before) - 1) / 2, -1, 1))
    assert angle[amount < 1e-6].max() < 1e-3  # float32
    wrong = amount > 0.2
    assert 0.1 < np.sqrt(np.mean((angle[wrong] / amount[wrong]) ** 2)) < 0.2  # 0.15 rad: root of 0.12², 0.08², 0.04²
    assert not np.allclose(moved.focal[wrong], CAMERAS.focal[wrong], rtol=1e-3)


def test_another_step_has_other_starts():
    one, two = (amounts(WrongStarts(1.0, jax.random.key(k))) for k in (1, 2))
    assert np.abs(one - two).max() > 0.5


def test_gradients_flow_to_the_own_shape_alone():
    starts, shapes = WrongStarts(1.0, jax.random.key(5)), jnp.asarray(SHAPES[:4])
    slopes = jax.jacobian(starts.shapes)(shapes).sum((1, 2, 4, 5))  # [4, 4]
    own = np.diag(slopes) / shapes[0].size
    assert ((own > 0) & (own < 1)).all()
    np.testing.assert_allclose(slopes - np.diag(np.diag(slopes)), 0, atol=1e-6)


# Two bodies of 42 queries. Their coverage is the same, so that the map alone tells which of them a picture shows.
LEVEL = 1
BALL, LAYOUT = sphere(LEVEL), query_layout(LEVEL, LEVEL, True)
TRUTH = (0.15 * LAYOUT.positions[None] * np.array([[[0.5, 0, 1]], [[0, 1, -0.5]]])).astype(np.float32)
MAPS = RNG.normal(size=(2, 4, 4, 5)).astype(np.float32)


def to_sphere(displacement):
    return (0.3 * BALL.vertices[None]).astype(np.float32) + spread(LAYOUT, displacement)


def test_steps_learn_to_read_where_starts_are_wrong():
    """All coarse shapes are right here. Steps that begin at them, and nowhere else, find nothing to learn."""
    graph, params = nnx.split(ShapeSynthesis("learned", 2, 8, LEVEL, True, MAPS.shape[-1], rngs=nnx.Rngs(0)))
    seen = Evidence(jnp.ones((2, 8, 8)), jax.tree.map(lambda x: x[:2], CAMERAS), jnp.asarray(MAPS))
    optimizer = optax.adam(3e-3)

    def answer(params, maps, starts=None):
        evidence = seen._replace(features=maps)
        return nnx.merge(graph, params)(jnp.asarray(TRUTH), to_sphere, evidence, wrong_starts=starts)[0]

    def trained(share):
        def step(carry, key):
            params, state = carry
            starts = WrongStarts(share, key)
            grads = jax.grad(lambda params: jnp.square(answer(params, seen.features, starts) - TRUTH).sum())(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        first = (params, optimizer.init(params))
        return jax.lax.scan(step, first, jax.random.split(jax.random.key(0), 200))[0][0]

    @jax.jit
    def answers(share):
        params = trained(share)
        return answer(params, MAPS), answer(params, MAPS[::-1])

    apart = np.abs(TRUTH - TRUTH[::-1]).mean()
    for share, least, most in ((1.0, 0.3, 1.5), (0.0, 0.0, 0.15)):
        own, exchanged = (np.asarray(x) for x in answers(jnp.float32(share)))
        assert least <= np.abs(exchanged - own).mean() / apart <= most
        assert np.abs(own - TRUTH).mean() < 0.25 * apart
