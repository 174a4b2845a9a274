"""A light that is planted in pictures is found from them, and told from the colours of the surface."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.scipy.special import logit

from ast_jax.batch import Batch
from ast_jax.losses.term import LossInputs
from ast_jax.losses.total import total_loss
from ast_jax.model.light import LightHead
from ast_jax.model.template import sphere
from ast_jax.prediction import Prediction
from render import Mesh, SphericalHarmonicsLight, VertexColours, orbit, render

BALL, DIM, SIZE, VIEWS = sphere(2), 8, 32, 2
VERTICES = jnp.float32(0.5 * BALL.vertices)
CAMERA = orbit(2.732, np.array([0.4, -0.4]), np.array([0.3, 3.4]), np.radians(30.0))
# Pictures of one body under three suns: what differs between them is light, what they share is colour.
ALBEDO = (0.5 + 0.2 * np.sin(4 * BALL.vertices + [0, 1, 2])).astype(np.float32)
COUNT, STEPS = 3, 150
PLANTED = 0.3 * np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)


def _light(planted) -> SphericalHarmonicsLight:
    nine = np.concatenate([np.full((len(planted), 1), np.sqrt(4 * np.pi), np.float32), planted], axis=1)
    return SphericalHarmonicsLight(np.repeat(nine[..., None], 3, axis=2))


def _batch() -> Batch:
    """Drawn by the renderer's own light, pixel by pixel."""
    mesh = Mesh(jnp.stack([VERTICES] * COUNT * VIEWS), BALL.faces)
    cameras = jax.tree.map(lambda x: jnp.concatenate([x] * COUNT), CAMERA)
    light = _light(np.repeat(PLANTED, VIEWS, axis=0))
    colours = VertexColours(jnp.stack([jnp.asarray(ALBEDO)] * COUNT * VIEWS))
    drawn = render(mesh, cameras, (SIZE, SIZE), texture=colours, light=light, blending="hard")
    by_object = lambda x: jnp.reshape(x, (COUNT, VIEWS, *x.shape[1:]))  # noqa: E731
    return Batch(
        image=jnp.zeros((COUNT, SIZE, SIZE, 4)),
        input_camera=jax.tree.map(lambda x: x[::VIEWS], cameras),
        target_images=by_object(drawn.rgb),
        target_masks=by_object((drawn.face_id >= 0).astype(jnp.float32)),
        camera=jax.tree.map(by_object, cameras),
        keypoints_ndc=jnp.zeros((COUNT, VIEWS, 0, 3)),
        index=jnp.arange(COUNT),
    )


def test_planted_lights_and_the_colours_under_them_are_found():
    batch, inputs = _batch(), LossInputs(sigma=1e-4, blending="hard")
    graph, params = nnx.split(LightHead(DIM, rngs=nnx.Rngs(0)))
    summary = jnp.asarray(np.random.default_rng(1).normal(size=(COUNT, DIM)), jnp.float32)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, STEPS))

    def predict(params, logits) -> Prediction:
        texture = VertexColours(jnp.stack([jax.nn.sigmoid(logits)] * COUNT))
        light = nnx.merge(graph, params)(summary)
        return Prediction(jnp.stack([VERTICES] * COUNT), BALL.faces, texture=texture, light=light)

    @jax.jit
    def train(start, learns_colours):
        def step(carry, _):
            tree, state = carry
            grads = jax.grad(lambda tree: total_loss(predict(*tree), batch, {"mse": 1.0}, inputs)[0])(tree)
            (light, colours), state = optimizer.update(grads, state, tree)
            return (optax.apply_updates(tree, (light, learns_colours * colours)), state), None

        return jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)[0][0]

    grey = jnp.zeros(ALBEDO.shape)
    np.testing.assert_allclose(predict(params, grey).light.coefficients, _light(0 * PLANTED).coefficients, atol=1e-6)
    known = predict(*train((params, logit(jnp.asarray(ALBEDO))), 0.0)).light.coefficients
    np.testing.assert_allclose(known, _light(PLANTED).coefficients, atol=0.03)
    found = predict(*train((params, grey), 1.0))
    # What all pictures have of a shading can be colour as well; by what they differ is light.
    differences = [np.asarray(x)[:, 1:, 0] for x in (found.light.coefficients, _light(PLANTED).coefficients)]
    differences = [x - x.mean(0) for x in differences]
    np.testing.assert_allclose(*differences, atol=0.05)
    assert np.abs(differences[1]).max() > 0.3
    assert np.abs(np.asarray(found.texture.values[0]) - ALBEDO).mean() < 0.05 < np.abs(0.5 - ALBEDO).mean() / 2


def test_lit_colours_are_what_the_renderer_shades():
    """At the vertices, where both know the normal."""
    lit = Prediction(
        VERTICES[None], BALL.faces, texture=VertexColours(jnp.asarray(ALBEDO)[None]), light=_light(PLANTED[:1])
    ).lit_texture
    n = BALL.vertices
    x, y, z = n.T
    basis = np.stack([x * 0 + 0.282095, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z])
    basis = np.concatenate([basis, [0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y)]])
    shading = np.concatenate([[np.sqrt(4 * np.pi)], PLANTED[0]]) @ basis
    wanted = (ALBEDO * shading[:, None])[BALL.faces]
    # Normals of an icosphere are not quite its directions: the five-fold corners are uneven.
    np.testing.assert_allclose(lit.values[0], wanted, atol=0.01)
