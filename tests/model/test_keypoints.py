"""Which vertices key points are is learned with the mesh: planted ones are found from their places in pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ast_jax.losses.keypoint import keypoint_loss
from ast_jax.model.keypoints import KeypointHead
from ast_jax.model.template import sphere

VERTICES, PLANTED = sphere(1).vertices, np.array([0, 7, 23, 31])


def test_entropy_is_that_of_the_assignment():
    head = KeypointHead(3, 42, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(head.entropy(2), np.full((2, 3), np.log(42)), rtol=1e-6)
    head.logits[...] = 0.1 * jax.random.normal(jax.random.key(0), (3, 42))
    weights = np.asarray(head.assignment(), np.float64)
    np.testing.assert_allclose(head.entropy(1)[0], -(weights * np.log(weights)).sum(1), rtol=1e-5)
    head.logits[...] = 100.0 * jax.nn.one_hot(np.arange(3), 42)
    np.testing.assert_allclose(head.entropy(1), np.zeros((1, 3)), atol=1e-6)


def test_planted_vertices_are_found():
    """32 stretched and dented balls, each seen from its own side; the planted vertices are all that is told."""
    rng = np.random.default_rng(0)
    shapes = VERTICES * rng.uniform(0.5, 1.0, (32, 1, 3)) * rng.uniform(0.8, 1.2, (32, 42, 1))
    sides = np.linalg.qr(rng.normal(size=(32, 3, 3)))[0][:, :2]
    shapes, sides = jnp.asarray(shapes, jnp.float32), jnp.asarray(sides, jnp.float32)
    seen = jnp.einsum("bij,bpj->bpi", sides, shapes[:, PLANTED])
    target = jnp.concatenate([seen, jnp.ones_like(seen[..., :1])], axis=-1)
    graph, params = nnx.split(KeypointHead(len(PLANTED), 42, rngs=nnx.Rngs(0)))
    optimizer = optax.adam(0.02)

    def loss(params):
        head = nnx.merge(graph, params)
        places = jnp.einsum("bij,bpj->bpi", sides, head(shapes))
        # Weights of CMR.
        return 30 * keypoint_loss(places, target).mean() + 0.16 * head.entropy(1).mean()

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=200)[0][0]

    weights = np.asarray(nnx.merge(graph, train(params)).assignment())
    np.testing.assert_array_equal(weights.argmax(1), PLANTED)
    assert weights[np.arange(len(PLANTED)), PLANTED].min() > 0.9
