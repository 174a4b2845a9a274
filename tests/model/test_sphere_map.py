"""Maps on the sphere: where points lie on them, their seams, and a flow that learns a known warp."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy.ndimage import map_coordinates

from ast_jax.config import base_config
from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Sizes
from ast_jax.model.sphere_map import SphereMap, look_up, sphere_points, sphere_uv
from ast_jax.model.template import sphere
from ast_jax.model.textures.flow import FlowTexture
from ast_jax.model.textures.layout import TextureLayout
from ast_jax.model.textures.map_transformer import MapTransformerTexture

DIM = 16


@pytest.mark.parametrize(
    "point, half, whole",
    [
        ((0, 0, 1), (0, 0.5), (0, 0.5)),
        ((1, 0, 0), (0.5, 0.5), (0.25, 0.5)),
        ((0, 0, -1), (1, 0.5), (0.5, 0.5)),
        ((1, 1, 0), (0.5, 0.75), (0.25, 0.75)),
        ((-1e-3, -1, -1), (1, 0.25), (0.5, 0.25)),
    ],
)
def test_where_points_lie(point, half, whole):
    points = np.array([point], np.float64)
    np.testing.assert_allclose(sphere_uv(points, True)[0], half, atol=1e-3)
    np.testing.assert_allclose(sphere_uv(points, False)[0], whole, atol=1e-3)


@pytest.mark.parametrize("half", [True, False])
def test_places_and_points_belong_together(half):
    uv = np.random.default_rng(0).uniform(0.01, 0.99, (50, 2))
    points = sphere_points(uv, half)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1)
    assert points[:, 0].min() > 0 if half else points[:, 0].min() < -0.5
    np.testing.assert_allclose(sphere_uv(points, half), uv, atol=1e-6)


@pytest.mark.parametrize("half", [True, False])
def test_a_map_goes_on_across_its_borders(half):
    """A whole sphere has no seam; a half is that of a symmetric one, whose border lies on the plane of symmetry."""
    layers = SphereMap(DIM, 16, 3, half, rngs=nnx.Rngs(0))
    values = nnx.jit(lambda m, x: m(x))(layers, jax.random.normal(jax.random.key(0), (2, DIM)))
    assert values.shape == (2, 16, 16 if half else 32, 3)
    turn = np.linspace(-0.3, 0.3, 61)
    points = np.stack([np.sin(turn), 0.2 * np.ones_like(turn), np.cos(turn)], -1)
    seen = np.asarray(look_up(values, points, half))
    assert seen.std() > 1e-3
    # A texel is 0.2 wide: no step of a hundredth changes more than a twentieth of what two texels differ by.
    texel = np.abs(np.diff(np.concatenate([values, values[:, :, :1]] if not half else [values], axis=2), axis=2)).max()
    assert np.abs(np.diff(seen, axis=1)).max() < 0.08 * texel


def test_sizes_that_do_not_double_are_refused():
    for rows in (2, 12, 100):
        with pytest.raises(ValueError, match=f"map_size={rows}: must be 4 times a power of two"):
            SphereMap(DIM, rows, 2, True, rngs=nnx.Rngs(0))


def _flow_texture(symmetric):
    config = base_config().model.texture
    config.map_size = 16
    layout = TextureLayout((1, 1), 3, symmetric)
    return FlowTexture(config, layout, Sizes(DIM, 2, 2, (8,)), rngs=nnx.Rngs(0)), layout


def _encoding(summary):
    return Encoding(jnp.zeros((len(summary), 0, DIM)), summary, ())


def _ramps(size):
    """A picture that tells its places: red grows to the right, green upwards, blue is grey."""
    x = (np.arange(size) + 0.5) / size
    return np.stack([np.tile(x, (size, 1)), np.tile(1 - x[:, None], (1, size)), np.full((size, size), 0.5)], -1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_texels_have_the_colours_of_their_places(symmetric):
    branch, layout = _flow_texture(symmetric)
    image = np.random.default_rng(0).uniform(size=(2, 24, 24, 4)).astype(np.float32)
    summary = jax.random.normal(jax.random.key(1), (2, DIM))
    answer = nnx.jit(lambda m, image, summary: m(image, _encoding(summary), None, None))(branch, image, summary)
    places, texels = np.asarray(answer.flow), np.asarray(answer.texture.values)
    assert places.shape == (2, layout.faces.size * 9, 2) and np.abs(places).max() < 1 and places.std() > 0.1
    row, column = (1 - places[..., 1]) * 12 - 0.5, (1 + places[..., 0]) * 12 - 0.5
    wanted = np.stack(
        [
            [map_coordinates(image[i, ..., c], [row[i], column[i]], order=1, mode="nearest") for c in range(3)]
            for i in range(2)
        ]
    ).transpose(0, 2, 1)
    if not symmetric:
        np.testing.assert_allclose(texels.reshape(2, -1, 3), wanted, atol=1e-5)
        return
    ball = sphere(1)
    np.testing.assert_array_equal(texels[:, ball.mirror_face].swapaxes(2, 3), texels)
    clear = ball.vertices[ball.faces[layout.faces[:, 0]]][..., 0].min(1) >= 0  # not astride the plane
    found = texels[:, layout.faces[clear, 0]].reshape(2, -1, 3)
    np.testing.assert_allclose(found, wanted.reshape(2, -1, 9, 3)[:, clear].reshape(2, -1, 3), atol=1e-5)


def test_a_flow_learns_a_known_warp():
    """From colours alone: texels are to look as a picture does at known places, and the flow has to find these."""
    branch, layout = _flow_texture(True)
    points = layout.points.reshape(-1, 3)
    radius = np.linalg.norm(points, axis=-1, keepdims=True)
    warp = 0.7 * points[:, 1:] / radius + 0.1 * np.sin(3 * points[:, ::2])  # from the side, bent
    image = jnp.asarray(_ramps(32)[None], jnp.float32)
    colours = np.concatenate([(warp + 1) / 2, np.full((len(warp), 1), 0.5)], -1).astype(np.float32)
    wanted = layout.whole(layout.texels_of(jnp.asarray(colours)[None])).astype(jnp.float32)
    summary = jnp.asarray(np.random.default_rng(0).normal(size=(1, DIM)), jnp.float32)
    graph, params = nnx.split(branch)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 300))

    def paint(params):
        return nnx.merge(graph, params)(image, _encoding(summary), None, None)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            grads = jax.grad(lambda p: jnp.abs(paint(p).texture.values - wanted).mean())(params)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=300)[0][0]

    apart = [np.linalg.norm(paint(p).flow[0] - warp, axis=-1) for p in (params, train(params))]
    # Faces astride the plane have the mean of both sides, which several places can give.
    assert np.median(apart[0]) > 0.5 and np.median(apart[1]) < 0.05
    assert np.quantile(apart[1], 0.9) < 0.15


def _map_transformer(symmetric):
    config = base_config().model.texture
    config.map_size, config.map_level = 16, 0
    layout = TextureLayout((1, 1), 3, symmetric)
    return MapTransformerTexture(config, layout, Sizes(DIM, 2, 1, (8,), "post"), rngs=nnx.Rngs(0)), layout


def test_queries_of_a_map_lie_in_the_middle_of_its_cells():
    """The first of them behind the texels of the upper left corner: near the pole, a little past the seam."""
    branch, _ = _map_transformer(False)
    positions = branch.embedding.features.array[:, :3].reshape(8, 8, 3)
    np.testing.assert_allclose(sphere_uv(positions[0, 0], False), [1 / 16, 15 / 16], atol=1e-6)
    np.testing.assert_allclose(sphere_uv(positions[7, 2], False), [5 / 16, 1 / 16], atol=1e-6)
    with pytest.raises(ValueError, match="map_size=15: must be even"):
        config = base_config().model.texture
        config.map_size = 15
        MapTransformerTexture(config, TextureLayout((1, 1), 3, True), Sizes(DIM, 2, 1, (8, 8)), rngs=nnx.Rngs(0))


def test_queries_learn_the_colours_of_a_surface():
    """Planted colours of two pictures, one of which is plain: only what queries read tells them apart."""
    branch, layout = _map_transformer(False)
    points = layout.points.reshape(-1, 3)
    points = points / np.linalg.norm(points, axis=-1, keepdims=True)
    first = 0.5 + 0.3 * np.stack([points[:, 1], points[:, 2], points[:, 1] * points[:, 2]], -1)
    wanted = layout.whole(layout.texels_of(jnp.float32(np.stack([first, np.full_like(first, 0.3)]))))
    features = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    encoding = Encoding(jnp.zeros((2, 0, DIM)), jnp.zeros((2, DIM)), (features,))
    graph, params = nnx.split(branch)
    optimizer = optax.adam(3e-3)

    def loss(params):
        painted = nnx.merge(graph, params)(jnp.zeros((2, 8, 8, 3)), encoding, None, None)
        return jnp.abs(painted.texture.values - wanted).mean()

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    # Steps one by one: XLA convolves slowly inside of loops on a CPU.
    state, apart = optimizer.init(params), []
    for _ in range(250):
        params, state, value = step(params, state)
        apart.append(float(value))
    assert apart[0] > 0.1 and apart[-1] < 0.03
