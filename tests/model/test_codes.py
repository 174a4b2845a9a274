"""Progressive conditioning: what is not live says nothing and learns nothing; the field against loops in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ast_jax.config import base_config
from ast_jax.model import Model
from ast_jax.model.codes import LiveCodes
from ast_jax.model.field import ProgressiveField
from ast_jax.model.template import sphere
from ast_jax.prediction import Prediction
from ast_jax.training.mean_texture import with_mean_texture
from ast_jax.training.optimizer import make_optimizer
from ast_jax.training.stages import make_stages
from ast_jax.training.values import make_values
from render import FaceTexels, VertexColours
from tests.model.test_model import IMAGES, tiny_config

UNICORN = {
    "shape.kind": "field",
    "shape.code_size": 6,
    "shape.field_units": 16,
    "shape.mean_shape": False,
    "shape.scale_range": 0.3,
    "shape.axes": (1.0, 0.7, 0.5),
    "texture.kind": "map",
    "texture.map_size": 8,
    "texture.code_size": 5,
}


@functools.cache
def _model():
    """The model and parameters none of which is zero, so that every live number of a code says something."""
    graphdef, params = nnx.split(Model(tiny_config(**UNICORN), rngs=nnx.Rngs(0)))
    leaves, structure = jax.tree.flatten(nnx.to_pure_dict(params))
    rng = np.random.default_rng(0)
    leaves = [leaf + rng.normal(size=leaf.shape).astype(np.float32) / max(leaf.shape[0], 1) ** 0.5 for leaf in leaves]
    return graphdef, structure.unflatten(leaves)


@jax.jit
def _answer(params, live: LiveCodes) -> Prediction:
    return nnx.merge(_model()[0], params)(jnp.asarray(IMAGES), live=live)


def _with_other_regressors(params, first: int):
    """Other weights for the numbers of both codes from ``first`` on."""
    changed = jax.tree.map(lambda x: x, params)
    for regressor in (changed["shape"]["coarse"]["code"], changed["texture"]["code"]):
        last = regressor["regressor"]["layers"][3]
        last["kernel"] = last["kernel"].at[:, first:].add(1.0)
        last["bias"] = last["bias"].at[first:].add(1.0)
    return changed


@pytest.mark.parametrize("live", [0, 2])
def test_a_code_is_inert_beyond_what_is_live(live):
    params = _model()[1]
    sizes = LiveCodes(live, live, scale=0.0)
    before, after = (_answer(each, sizes) for each in (params, _with_other_regressors(params, live)))
    np.testing.assert_array_equal(before.vertices, after.vertices)
    np.testing.assert_array_equal(before.texture.values, after.texture.values)
    for code in before.codes[:2]:
        assert not code[:, live:].any() and code[:, :live].all()
    more = _answer(_with_other_regressors(params, live), LiveCodes(live + 1, live + 1, scale=0.0))
    assert np.abs(more.vertices - before.vertices).max() > 1e-4
    assert np.abs(more.texture.values - before.texture.values).max() > 1e-4
    different = np.ptp(before.vertices, axis=0).max(), np.ptp(before.texture.values, axis=0).max()
    assert (max(different) == 0) if live == 0 else (min(different) > 1e-4)  # no number: one mean object


def test_what_is_not_live_has_no_gradient():
    def total(params):
        answer = _answer(params, LiveCodes(2, 3, scale=1.0))
        return jnp.square(answer.vertices).sum() + answer.texture.values[..., 0].sum()

    grads = jax.grad(total)(_model()[1])
    for code, live in ((grads["shape"]["coarse"]["code"], 2), (grads["texture"]["code"], 3)):
        last = code["regressor"]["layers"][3]
        assert not last["kernel"][:, live:].any() and not last["bias"][live:].any()
        assert np.abs(last["kernel"][:, :live]).max(axis=0).all()


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_number_stays_zero_until_it_is_live(name):
    """So that all of a code may be read at any time. Muon mixes the entries of a matrix, and must not mix these."""
    config = base_config()
    config.optimizer.name, config.optimizer.warmup_steps = name, 0
    optimizer = make_optimizer(config, make_values(config, make_stages(config)[0], 100))
    rng, params = np.random.default_rng(3), {"kernel": jnp.zeros((8, 6)), "bias": jnp.zeros(6)}
    state = optimizer.init(params)
    for _ in range(3):
        grads = {
            key: jnp.asarray(rng.normal(size=x.shape), jnp.float32).at[..., 2:].set(0) for key, x in params.items()
        }
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for values in params.values():
        assert not values[..., 2:].any() and values[..., :2].all()


def test_the_stretch_and_the_template_by_hand():
    fresh = Model(tiny_config(**UNICORN), rngs=nnx.Rngs(0))
    ball = 0.35 * sphere(2).vertices * [1.0, 0.7, 0.5]
    np.testing.assert_allclose(fresh(IMAGES).vertices, np.stack([ball] * 2), atol=1e-6)
    params = _model()[1]
    off, on = (_answer(params, LiveCodes(scale=share)) for share in (0.0, 1.0))
    assert (off.codes.scale == 1).all() and (np.abs(on.codes.scale - 1) < 0.3).all() and np.ptp(on.codes.scale) > 0.01
    np.testing.assert_allclose(on.vertices, off.vertices * on.codes.scale[:, None], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="scale_range=0.3: no step of synthesis"):
        Model(tiny_config(**UNICORN, **{"shape.synthesis": "fit"}), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="texture.code_size=5: the kind transformer looks at the picture itself"):
        Model(tiny_config(**UNICORN | {"texture.kind": "transformer"}), rngs=nnx.Rngs(0))


def _gelu(x):
    """The tanh approximation, Hendrycks and Gimpel 2016."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("own", [False, True])
def test_the_field_against_loops(own):
    """A code for each picture, or one for each of its points, which then are its own as well."""
    rng = np.random.default_rng(1)
    field = ProgressiveField(8, 3, 5, rngs=nnx.Rngs(0))
    field.mlp.layers[-1].kernel[...] = rng.normal(size=(5, 3))
    points = rng.normal(size=(2, 4, 3) if own else (4, 3))
    code = rng.normal(size=(2, 4, 3) if own else (2, 3))
    found = field(points.astype(np.float32), jnp.asarray(code, jnp.float32))

    def layer(linear, x):
        kernel, bias = np.asarray(linear.kernel[...], np.float64), linear.bias
        return x @ kernel + (0 if bias is None else np.asarray(bias[...], np.float64))

    gelu = np.vectorize(_gelu)
    for b in range(2):
        for q in range(4):
            point, numbers = (points[b, q], code[b, q]) if own else (points[q], code[b])
            x = gelu(layer(field.place, point) + layer(field.condition, numbers))
            x = gelu(layer(field.mlp.layers[1], gelu(layer(field.mlp.layers[0], x))))
            np.testing.assert_allclose(found[b, q], layer(field.mlp.layers[2], x), rtol=1e-4, atol=1e-5)


def test_some_pictures_are_drawn_in_their_mean_colour():
    rng, is_plain = np.random.default_rng(2), np.array([True, False, True])
    vertices, faces = np.zeros((3, 3, 3), np.float32), np.zeros((1, 3), np.int32)
    for texture in (FaceTexels(rng.uniform(size=(3, 1, 2, 2, 3))), VertexColours(rng.uniform(size=(3, 5, 3)))):
        plain = with_mean_texture(Prediction(vertices, faces, texture=texture), is_plain).texture.values
        means = [values.reshape(-1, 3).mean(0) for values in texture.values]
        plain = np.asarray(plain)
        for i in range(3):
            np.testing.assert_allclose(
                plain[i], means[i] + 0 * plain[i] if is_plain[i] else texture.values[i], rtol=1e-5
            )
    assert with_mean_texture(Prediction(vertices, faces), is_plain).texture is None
