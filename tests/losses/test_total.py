"""The sum of the terms: each is found in its file, and a new one needs no other file."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax import losses
from ast_jax.batch import Batch
from ast_jax.losses import total
from ast_jax.losses.mesh import laplacian_loss
from ast_jax.losses.perceptual import NETWORKS, PerceptualNetwork, perceptual_loss
from ast_jax.losses.term import LossInputs, Term
from ast_jax.losses.total import TERMS, multiplex_loss, total_loss
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.model.template import sphere
from ast_jax.prediction import Prediction
from render import FaceTexels, orbit

BALL = sphere(1)
MINE = """
from ast_jax.losses.term import Term

TERMS = (Term("mine", lambda seen: (seen.alpha - 0.5 * seen.mask).mean((1, 2))),)
"""


def scene(size=16):
    """A prediction, and a batch of two views of each of two objects."""
    rng = np.random.default_rng(0)
    camera = orbit(2.732, np.zeros(4), np.linspace(0, 3, 4), np.pi / 6)
    camera = jax.tree.map(lambda x: jnp.reshape(x, (2, 2, *x.shape[1:])), camera)
    batch = Batch(
        image=jnp.zeros((2, size, size, 4)),
        target_images=jnp.asarray(rng.uniform(size=(2, 2, size, size, 3)), jnp.float32),
        target_masks=jnp.asarray(rng.integers(0, 2, (2, 2, size, size)), jnp.float32),
        camera=camera,
        keypoints_ndc=jnp.zeros((2, 2, 0, 3)),
        input_camera=jax.tree.map(lambda x: x[:, 0], camera),
        index=jnp.arange(2),
    )
    vertices = jnp.asarray(0.4 * np.stack([BALL.vertices, 0.8 * BALL.vertices]), jnp.float32)
    texels = jnp.asarray(rng.uniform(size=(2, len(BALL.faces), 2, 2, 3)), jnp.float32)
    return Prediction(vertices, BALL.faces, (vertices * 0.9,), texture=FaceTexels(texels)), batch


def test_every_term_is_found_once_and_has_a_file():
    assert {"iou", "l1", "perceptual", "keypoint", "laplacian", "camera", "intermediate_iou"} < set(TERMS)
    assert all(isinstance(term, Term) and term.name == name for name, term in TERMS.items())


def test_the_loss_is_the_weighted_sum():
    prediction, batch = scene()
    weights = {"iou": 2.0, "l1": 0.5, "laplacian": 0.1, "intermediate_iou": 0.3}
    loss, values = total_loss(prediction, batch, weights, LossInputs(sigma=1e-3, blending="hard"))
    assert set(values) == {f"loss/{name}" for name in weights}
    np.testing.assert_allclose(loss, sum(w * values[f"loss/{name}"] for name, w in weights.items()), rtol=1e-6)


def test_a_new_term_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
    monkeypatch.setattr(total, "TERMS", total._find_terms())
    prediction, batch = scene()
    loss, values = total_loss(prediction, batch, {"mine": 2.0}, LossInputs(sigma=1e-3))
    np.testing.assert_allclose(loss, 2 * values["loss/mine"])
    assert 0 < values["loss/mine"] + 0.5 * batch.target_masks.mean() < 1
    (tmp_path / "twice.py").write_text(MINE)
    with pytest.raises(ValueError, match="two loss terms have one name"):
        total._find_terms()


def test_the_loss_in_the_guide_for_contributors(tmp_path, monkeypatch):
    guide = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text()
    (tmp_path / "asymmetry.py").write_text(guide.split("```python\n")[1].split("```")[0])
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
    monkeypatch.setattr(total, "TERMS", total._find_terms())
    prediction, batch = scene()
    moved = replace(prediction, vertices=prediction.vertices + jnp.array([[[0.1, 0.2, 0.3]]]))
    loss, _ = total_loss(moved, batch, {"asymmetry": 0.5}, LossInputs(sigma=1e-3))
    np.testing.assert_allclose(loss, 0.05, atol=1e-6)


def test_colours_move_the_shape_only_if_they_may():
    """CMR's do not; silhouettes, and colours the texture, are learned all the same."""
    prediction, batch = scene()
    keys = {"iou": "alone", "l1": "colour"}

    @jax.jit
    def gradients(vertices, texels):
        def loss(vertices, texels, name, moves):
            told = replace(prediction, vertices=vertices, texture=FaceTexels(texels))
            inputs = LossInputs(sigma=1e-2, blending="hard", colour_moves_shape=moves)
            return total_loss(told, batch, {"iou": 0.0, "l1": 0.0, name: 1.0}, inputs)[0]

        grad = jax.value_and_grad(loss, argnums=(0, 1))
        return {(name, moves): grad(vertices, texels, name, moves) for name in keys for moves in (True, False)}

    found = gradients(prediction.vertices, prediction.texture.values)
    for name in keys:
        np.testing.assert_allclose(found[name, True][0], found[name, False][0], rtol=1e-6)
        np.testing.assert_allclose(found[name, True][1][1], found[name, False][1][1], atol=1e-7)
    assert np.abs(found["l1", True][1][0]).max() > 0 and not np.any(found["l1", False][1][0])
    np.testing.assert_allclose(found["iou", True][1][0], found["iou", False][1][0], atol=1e-6)
    assert np.abs(found["iou", False][1][0]).max() > 0 and np.abs(found["l1", False][1][1]).max() > 0


def test_the_shape_may_be_far_from_the_template_if_it_is_the_mean():
    prediction, batch = scene()
    moved = replace(prediction, mean_vertices=prediction.vertices + jnp.array([[[0.0, 0.3, 0.4]]]))
    inputs = LossInputs(sigma=1e-3, template_vertices=np.float32(0.4 * BALL.vertices))
    _, values = total_loss(moved, batch, {"mean_deviation": 1.0, "displacement_laplacian": 1.0}, inputs)
    np.testing.assert_allclose(values["loss/mean_deviation"], 0.5, rtol=1e-5)
    # One object is the template, the other a smaller ball: its way there is -0.2 of it.
    wanted = laplacian_loss(-0.2 * 0.4 * jnp.float32(BALL.vertices)[None], BALL.faces, squared=True)[0] / 2
    np.testing.assert_allclose(values["loss/displacement_laplacian"], wanted, rtol=1e-4)


def _random_network():
    """VGG-16 of three channels in each layer."""
    rng, layers = np.random.default_rng(1), NETWORKS["vgg16"].layers
    kernels = tuple(jnp.float32(0.4 * rng.normal(size=(3, 3, 3, 3))) for _ in layers)
    biases = tuple(jnp.float32(0.1 * rng.normal(size=3)) for _ in layers)
    heads = tuple(jnp.ones(3) for layer in layers if layer.tap)
    return PerceptualNetwork(kernels, biases, heads, "vgg16")


def test_masked_pictures_are_compared_over_black():
    prediction, batch = scene()
    network = _random_network()
    inputs = LossInputs(sigma=1e-3, blending="layered", falloff="exponential", perceptual=network)
    settings = ViewSettings((16, 16), 1e-3, blending="layered", falloff="exponential")
    texture = prediction.texture
    drawn = render_views(prediction.vertices, prediction.faces, batch.camera, settings, texture=texture)
    rgb, alpha = (np.float64(x) for x in drawn)
    target, mask = (np.float64(x).reshape(4, 16, 16, -1) for x in (batch.target_images, batch.target_masks))
    pictures = rgb * alpha[..., None], target * mask
    _, values = total_loss(prediction, batch, {"masked_mse": 1.0, "masked_perceptual": 1.0}, inputs)
    np.testing.assert_allclose(values["loss/masked_mse"], np.square(pictures[0] - pictures[1]).mean(), rtol=1e-5)
    features = perceptual_loss(network, *(jnp.float32(picture) for picture in pictures)).mean()
    np.testing.assert_allclose(values["loss/masked_perceptual"], features, rtol=1e-4)


def test_earlier_shapes_are_compared_as_if_each_were_the_answer():
    prediction, batch = scene()
    earlier = prediction.vertices * jnp.array([[[0.9, 1.0, 1.1]]]), prediction.vertices * 0.7
    inputs = LossInputs(sigma=1e-3, blending="layered", perceptual=_random_network())
    names = [name.removeprefix("intermediate_") for name in TERMS if name.startswith("intermediate_")]
    names = [name for name in names if name not in ("iou", "camera")]
    assert set(names) == {"masked_mse", "masked_perceptual", "bce_iou", "laplacian", "normal"}

    @jax.jit
    def of(prediction):
        return total_loss(prediction, batch, dict.fromkeys(names, 1.0), inputs)[1]

    deep = total_loss(
        replace(prediction, intermediate_vertices=earlier),
        batch,
        {f"intermediate_{name}": 1.0 for name in names},
        inputs,
    )[1]
    alone = [of(replace(prediction, vertices=vertices, intermediate_vertices=())) for vertices in earlier]
    for name in names:
        wanted = np.mean([each[f"loss/{name}"] for each in alone])
        np.testing.assert_allclose(deep[f"loss/intermediate_{name}"], wanted, rtol=1e-4)
        assert abs(alone[0][f"loss/{name}"] - alone[1][f"loss/{name}"]) > 1e-6
    nothing = total_loss(replace(prediction, intermediate_vertices=()), batch, {"intermediate_bce_iou": 1.0}, inputs)[0]
    assert nothing == 0


def test_the_loss_of_a_multiplex_is_what_is_expected_of_its_cameras():
    """Each camera by itself, as if it were given, tells its loss; the shares of the better ones follow from these."""
    prediction, batch = scene()
    names = ("target_images", "target_masks", "keypoints_ndc")
    first = replace(batch, **{name: getattr(batch, name)[:, :1] for name in names})
    cameras = jax.tree.map(lambda x: x[jnp.array([[0, 1, 2], [3, 0, 1]])], orbit(2.7, np.zeros(4), np.arange(4.0), 0.5))
    weights, inputs = {"mask_mse": 10.0, "l1": 1.0}, LossInputs(sigma=1e-3, blending="hard", peakiness=5.0)

    @jax.jit
    def alone(row: int, k: int):
        told, seen, camera = jax.tree.map(lambda x: x[row][None], (prediction, first, cameras))
        return total_loss(
            told, replace(seen, camera=jax.tree.map(lambda x: x[:, k][:, None], camera)), weights, inputs
        )[0]

    each = np.array([[alone(row, k) for k in range(3)] for row in range(2)], np.float64)
    rescaled = (each - each.min(1, keepdims=True)) / np.ptp(each, axis=1, keepdims=True)
    share = np.exp(-5 * rescaled) / np.exp(-5 * rescaled).sum(1, keepdims=True)
    expected = jax.jit(lambda told: multiplex_loss(told, batch, weights | {"laplacian": 0.3}, inputs))
    loss, values, scores = expected(replace(prediction, camera=cameras))
    np.testing.assert_allclose(scores, each, rtol=1e-4)
    surface = laplacian_loss(prediction.vertices, prediction.faces).mean()
    np.testing.assert_allclose(values["loss/laplacian"], surface, rtol=1e-6)
    np.testing.assert_allclose(loss, (share * each).sum(1).mean() + 0.3 * surface, rtol=1e-4)


def test_an_unknown_term_is_named():
    with pytest.raises(ValueError, match=r"unknown loss terms \['iuo'\]; there are .*iou"):
        total_loss(*scene(), {"iuo": 1.0}, LossInputs(sigma=1e-3))
