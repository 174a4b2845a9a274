"""The whole model: what it predicts at first, symmetry, gradients, jit, and errors that help."""

import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.config import base_config
from ast_jax.model import Model
from ast_jax.model.codes import LiveCodes
from ast_jax.model.predictor import make_predictor
from ast_jax.model.projection import View, look
from ast_jax.model.template import sphere
from ast_jax.prediction import Prediction
from render import VertexColours, orbit

TINY = {
    "dim": 16,
    "heads": 2,
    "num_keypoints": 3,
    "encoder.width": 8,
    "encoder.token_levels": (-2, -1),
    "encoder.pool": "mean",
    "shape.level": 2,
    "shape.query_level": 1,
    "shape.symmetric": False,
    "shape.synthesis_steps": 2,
    "shape.synthesis_level": 1,
    "shape.synthesis_size": 16,
    "texture.query_level": 1,
    "texture.texels": 3,
    "texture.symmetric": False,
    "camera.kind": "candidates",
    "camera.predict": False,
}


def tiny_config(**overrides) -> ConfigDict:
    """The defaults, made tiny, with some keys changed, e.g. ``{"shape.level": 3}``."""
    config = base_config().model
    config.update_from_flattened_dict(TINY | overrides)
    return config


IMAGES = np.random.default_rng(0).uniform(size=(2, 32, 32, 4)).astype(np.float32)
IMAGES[:, :8, :, 3] = IMAGES[:, :, 24:, 3] = 0
CAMERA = orbit(2.7, np.array([0.2, -0.1]), np.array([0.7, 4.0]), np.radians(25.0))
# The object is all of the picture.
CUT_OUT = np.concatenate([IMAGES[..., :3], np.ones_like(IMAGES[..., :1])], axis=-1)

VARIANTS = {
    "free": {},
    "symmetric": {
        "shape.symmetric": True,
        "texture.symmetric": True,
        "shape.head": "shared",
        "shape.deep_supervision": False,
        "encoder.pool": "grid",
    },
    "baseline": {
        "shape.kind": "mlp",
        "texture.kind": "mlp",
        "camera.kind": "given",
        "camera.predict": True,
    },
    "projection": {"texture.kind": "projection", "shape.symmetric": True},
    "cmr": {
        "shape.kind": "mlp",
        "shape.symmetric": True,
        "texture.kind": "flow",
        "texture.symmetric": True,
        "texture.map_size": 8,
        "camera.kind": "given",
        "camera.predict": True,
    },
    "dibr": {"shape.kind": "mlp", "texture.kind": "vertex_colour", "light": "harmonics", "camera.kind": "given"},
    "map": {"shape.kind": "mlp", "texture.kind": "map", "texture.map_size": 8, "camera.kind": "given"},
    "released": {
        "norm_order": "post",
        "saliency": True,
        "encoder.token_levels": (1,),
        "shape.layers": 1,
        "shape.head": "field",
        "shape.code_size": 4,
        "shape.field_units": 8,
        "shape.scale_range": 0.3,
        "shape.axes": (1.0, 0.7, 0.7),
        "texture.kind": "map_transformer",
        "texture.map_size": 8,
    },
    "synthesis": {
        "shape.kind": "mlp",
        "shape.synthesis": "learned",
        "shape.symmetric": True,
        "texture.kind": "mlp",
        "texture.symmetric": True,
        "camera.kind": "given",
        "camera.predict": True,
    },
}


def _predict(graph, params, image, **kwargs) -> Prediction:
    return nnx.merge(graph, params)(image, **kwargs)


class Trial(NamedTuple):
    """One model with random parameters, as after some training: all that the tests want of it."""

    model: Model
    prediction: Prediction
    with_attention: Prediction
    reversed_batch: Prediction
    grads: nnx.State


@functools.cache
def _try(variant: str) -> Trial:
    config = tiny_config(**VARIANTS[variant])
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Model(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: (0.2 * rng.normal(size=x.shape)).astype(np.float32), shapes)

    def objective(params, image):
        prediction = _predict(graph, params, image, return_attention=True)
        floats = [x for x in jax.tree.leaves(prediction) if jnp.issubdtype(x.dtype, jnp.floating)]
        # Random weights: a plain sum is blind to what softmax, tanh or a symmetry make constant.
        weights = [rng.normal(size=x.shape).astype(np.float32) for x in floats]
        return sum((w * x).sum() for w, x in zip(weights, floats)), prediction

    @jax.jit
    def everything(params, image):
        grads, with_attention = jax.grad(objective, has_aux=True)(params, image)
        plain = _predict(graph, params, image)
        return plain, with_attention, _predict(graph, params, image[::-1]), grads

    return Trial(nnx.merge(graph, params), *everything(params, IMAGES))


def test_the_first_prediction_is_the_template():
    params_of = jax.jit(lambda: nnx.split(Model(tiny_config(), rngs=nnx.Rngs(0)))[1])
    model = _try("free").model
    prediction = jax.jit(lambda params: _predict(nnx.split(model)[0], params, CUT_OUT))(params_of())
    vertices, faces = model.template
    np.testing.assert_allclose(prediction.vertices, np.stack([vertices] * 2), atol=1e-6)
    np.testing.assert_array_equal(prediction.faces, faces)
    # The camera in front sees faces and their mirror images: texels have the mean of both; a twentieth is gathered.
    view = View(*map(np.asarray, look(CUT_OUT, prediction.vertices, prediction.input_camera, 2, 3)))
    other = View(*map(np.asarray, view.of_mirrored(2)))
    total = view.trust + other.trust
    wanted = (view.trust[..., None] * view.colours + other.trust[..., None] * other.colours) / (total + 1e-6)[..., None]
    seen = total > 0.9
    assert seen.mean() > 0.2
    assert np.abs(np.asarray(prediction.texture.values) - np.clip(wanted, 0.02, 0.98))[seen].max() < 0.07
    # A uniform choice among the vertices of a sphere about the origin.
    np.testing.assert_allclose(prediction.keypoints_world, np.zeros((2, 3, 3)), atol=1e-6)


def test_shapes():
    prediction = _try("free").prediction
    assert prediction.vertices.shape == (2, 162, 3) and prediction.faces.shape == (320, 3)
    assert [v.shape for v in prediction.intermediate_vertices] == [(2, 162, 3)] * 2  # coarse, first layer
    assert prediction.texture.values.shape == (2, 320, 3, 3, 3)
    assert prediction.camera.rotation.shape == (2, 6, 3, 3) and prediction.camera_logits.shape == (2, 6)
    assert prediction.keypoints_world.shape == (2, 3, 3)
    assert prediction.attention is None and prediction.input_camera.rotation.shape == (2, 3, 3)


def test_attention_on_request_changes_nothing_else():
    trial = _try("free")
    attention = trial.with_attention.attention
    np.testing.assert_allclose(trial.with_attention.vertices, trial.prediction.vertices, atol=1e-5)
    np.testing.assert_allclose(trial.with_attention.texture.values, trial.prediction.texture.values, atol=1e-5)
    assert [w.shape for w in attention["shape"]] == [(2, 2, 42, 20)] * 2  # 4 x 4 and 2 x 2 tokens
    # Over the 8 x 8 cells of the map.
    assert [w.shape for w in attention["texture"]] == [(2, 1, 80, 64)]
    for weights in jax.tree.leaves(attention):
        np.testing.assert_allclose(weights.sum(-1), np.ones(weights.shape[:-1]), atol=1e-5)
    assert trial.model.encoder.token_grids((32, 32)) == ((4, 4), (2, 2))


def test_attention_and_saliency_of_the_released_model():
    answer = _try("released").with_attention
    assert [w.shape for w in answer.attention["shape"]] == [(2, 2, 42, 8 * 8)]
    assert [w.shape for w in answer.attention["texture"]] == [(2, 2, 4 * 4, 8 * 8)]
    assert answer.saliency.shape == (2, 16, 16)
    assert 0 <= answer.saliency.min() < answer.saliency.max() <= 1


def test_without_a_live_number_the_released_model_knows_one_object():
    model = _try("released").model
    for size in (0, 1):
        live = LiveCodes(size, size, scale=float(size))
        answer = nnx.jit(lambda m, image, live: m(image, live=live))(model, IMAGES, live)
        apart = [np.ptp(np.asarray(x), axis=0).max() for x in (answer.vertices, answer.texture.values)]
        assert max(apart) < 1e-6 if not size else min(apart) > 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    grads = _try(variant).grads
    dead = [jax.tree_util.keystr(k) for k, g in jax.tree_util.tree_leaves_with_path(grads) if not np.any(g)]
    # A key's bias shifts all scores of a query alike, which softmax cancels: no gradient but rounding.
    assert not [name for name in dead if "['key']['bias']" not in name]
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("variant", VARIANTS)
def test_pictures_of_a_batch_do_not_mix(variant):
    trial = _try(variant)
    for a, b in zip(jax.tree.leaves(trial.prediction), jax.tree.leaves(trial.reversed_batch), strict=True):
        np.testing.assert_allclose(a, b[::-1], atol=2e-5)
    moved = np.asarray(trial.prediction.vertices)
    assert np.abs(moved[0] - moved[1]).max() > 1e-4, "the picture has no influence"


def test_without_steps_of_synthesis_the_coarse_shape_is_the_answer():
    trial = _try("synthesis")
    graph, params = nnx.split(trial.model)
    coarse = jax.jit(lambda params: _predict(graph, params, IMAGES[..., :3], synthesis=False))(params)
    assert coarse.intermediate_vertices == ()
    np.testing.assert_allclose(coarse.vertices, trial.prediction.intermediate_vertices[-1], atol=1e-6)


def test_a_known_camera_takes_the_place_of_the_predicted_one():
    """Steps of synthesis look through it; the coarse shape does not."""
    trial = _try("synthesis")
    graph, params = nnx.split(trial.model)
    own = trial.prediction.input_camera
    call = jax.jit(lambda params, camera: _predict(graph, params, IMAGES, camera=camera))
    same, turned = call(params, own), call(params, replace(own, rotation=jnp.roll(own.rotation, 1, axis=0)))
    np.testing.assert_array_equal(turned.input_camera.rotation, jnp.roll(own.rotation, 1, axis=0))
    assert turned.intermediate_cameras is None
    np.testing.assert_allclose(turned.intermediate_vertices[-1], trial.prediction.intermediate_vertices[-1], atol=1e-6)
    assert np.abs(turned.vertices - same.vertices).max() > 1e-4


def test_steps_move_a_camera_that_is_regressed():
    prediction = _try("synthesis").prediction
    steps = prediction.intermediate_cameras.rotation
    assert steps.shape == (2, 2, 3, 3)  # regressed, after the first of two steps; the last is the answer
    for before, after in ((steps[:, 0], steps[:, 1]), (steps[:, 1], prediction.input_camera.rotation)):
        assert np.abs(np.asarray(after - before)).max() > 1e-4
        np.testing.assert_allclose(after @ jnp.swapaxes(after, 1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-5)


def test_one_program_serves_known_and_unknown_cameras():
    trial = _try("synthesis")
    predict = make_predictor(trial.model, takes_camera=True)
    for name, answer, expected in (
        ("unknown", predict(IMAGES), trial.prediction),
        ("known", predict(IMAGES, CAMERA), trial.model(IMAGES, camera=CAMERA)),
    ):
        np.testing.assert_allclose(answer.vertices, expected.vertices, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(answer.input_camera.rotation, expected.input_camera.rotation, atol=2e-5)


@pytest.mark.parametrize("variant", ["symmetric", "synthesis"])
def test_a_mirror_image_shows_the_same_symmetric_shape(variant):
    model = _try(variant).model
    both, one = (
        [nnx.jit(lambda m, x, b=b: m.encode(x, both_ways=b))(model, x) for x in (IMAGES, IMAGES[:, :, ::-1])]
        for b in (True, False)
    )
    np.testing.assert_allclose(both[0].mirrored, both[1].summary, atol=1e-6)
    coarse = [model.shape(encoding._replace(tokens=both[0].tokens)).intermediate for encoding in both]
    coarse = [model.shape(encoding).vertices if not steps else steps[0] for encoding, steps in zip(both, coarse)]
    np.testing.assert_allclose(coarse[0], coarse[1], atol=1e-6)
    assert one[0].mirrored is None


def test_jit_changes_nothing():
    trial = _try("baseline")
    eager = trial.model(IMAGES)
    for a, b in zip(jax.tree.leaves(trial.prediction), jax.tree.leaves(eager), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_baseline_has_neither_decoder_nor_attention():
    prediction = _try("baseline").with_attention
    assert prediction.intermediate_vertices == () and prediction.camera is None
    assert prediction.attention == {"shape": None, "texture": None}
    rotation = np.asarray(prediction.input_camera.rotation)
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.stack([np.eye(3)] * 2), atol=1e-5)


@pytest.mark.parametrize("variant", ["symmetric", "synthesis"])
def test_symmetric_prediction_is_exactly_symmetric(variant):
    prediction, ball = _try(variant).prediction, sphere(2)
    vertices = np.asarray(prediction.vertices)
    mirrored = vertices[:, ball.mirror_vertex] * np.array([-1, 1, 1], np.float32)
    np.testing.assert_array_equal(mirrored, vertices)
    assert np.abs(vertices - np.float32(0.35 * ball.vertices)).max() > 0.01, "nothing moved"
    texels = np.asarray(prediction.texture.values)
    np.testing.assert_array_equal(texels[:, ball.mirror_face].swapaxes(2, 3), texels)
    assert texels.std() > 0.01
    # Without deep supervision: the coarse shape is the only one before the last.
    assert len(prediction.intermediate_vertices) == 1


def test_a_light_leaves_the_mean_of_the_shading_at_one():
    """So that only the texture knows how bright the object is: over a sphere, light and shade cancel out."""
    prediction = _try("dibr").prediction
    assert prediction.input_camera is None and prediction.camera is None
    coefficients = np.asarray(prediction.light.coefficients)
    assert coefficients.shape == (2, 9, 3) and np.abs(coefficients[:, 1:]).max() > 0.01
    ball = sphere(4)
    balls = Prediction(
        jnp.float32(np.stack([ball.vertices] * 2)),
        ball.faces,
        texture=VertexColours(jnp.full((2, len(ball.vertices), 3), 0.5)),
        light=prediction.light,
    )
    lit, corners = np.asarray(balls.lit_texture.values), ball.vertices[ball.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    assert lit.std() > 0.01
    np.testing.assert_allclose((lit.mean(2) * areas[None, :, None]).sum(1) / areas.sum(), 0.5, atol=1e-3)


def test_prediction_is_a_pytree_with_static_faces():
    prediction = _try("free").prediction
    assert isinstance(prediction.faces, np.ndarray)
    doubled = jax.tree.map(lambda x: 2 * x, prediction)
    assert doubled.faces is prediction.faces and doubled.attention is None
    np.testing.assert_allclose(doubled.vertices, 2 * prediction.vertices)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("shape.quary_level", 1, "config.model.shape.quary_level.*did you mean 'query_level'"),
        ("shape.kind", "transfomer", "shape.kind='transfomer'.*did you mean 'transformer'"),
        ("encoder.name", "resnt50", "did you mean 'resnet50'"),
        ("texture.kind", "mpl", "did you mean 'mlp'"),
        ("camera.kind", "given", "texture.kind=transformer looks for faces .* config.model.camera.predict=True"),
        ("camera.kind", "gven", "did you mean 'given'"),
        ("shape.head", "per_quer", "did you mean 'per_query'"),
        ("shape.query_level", 3, "query_level=3, level=2"),
        ("encoder.token_levels", (-5,), "token_levels has -5"),
        ("encoder.token_levels", (), "token_levels is empty"),
        ("encoder.weights", "package", "convnet has no pretrained weights"),
        ("texture.texels", 0, "texels=0"),
        ("dim", 18, "multiple of 4"),
        ("heads", 3, "heads=3"),
        ("shape.layers", True, "shape.layers=True should be of type int"),
    ],
)
def test_a_wrong_config_is_explained(key, value, message):
    config = tiny_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        graph, shapes = nnx.split(nnx.eval_shape(lambda: Model(config, rngs=nnx.Rngs(0))))
        jax.eval_shape(functools.partial(_predict, graph), shapes, IMAGES)


def test_a_missing_key_is_named():
    config = tiny_config()
    with config.unlocked():
        del config.shape["radius"]
    with pytest.raises(ValueError, match="config.model.shape.radius is missing"):
        Model(config, rngs=nnx.Rngs(0))
