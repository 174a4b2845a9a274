"""A prediction with any kind of texture goes through losses, evaluation, preview, files and refinement.

A body of one colour looks the same whatever holds the colour: texels on faces, which the model answers with, are the
oracle for the other kinds.
"""

import io
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from flax import nnx

from ast_jax.evaluation.held_out import evaluate_predictions
from ast_jax.export import encode_glb
from ast_jax.losses.term import LossInputs
from ast_jax.losses.total import total_loss
from ast_jax.prediction import Prediction
from ast_jax.reconstruction.fit import refine
from render import CornerColours, FaceTexels, UVImage, VertexColours, orbit
from tests.evaluation import test_held_out
from tests.evaluation.test_held_out import sources  # noqa: F401
from tests.export.glb_bytes import read_attribute
from tests.losses.test_total import scene
from tests.reconstruction import test_fit
from tests.training.monitoring import test_preview

KINDS = ("vertices", "corners", "image")


def plain(kind: str, colour: np.ndarray, num_vertices: int, num_faces: int):
    """A texture of one colour for each object, ``[b, 3]``."""
    colour = np.asarray(colour, np.float32)
    spread = lambda *shape: np.broadcast_to(  # noqa: E731
        colour.reshape(len(colour), *[1] * len(shape), 3), (len(colour), *shape, 3)
    )
    if kind == "image":
        uv = np.random.default_rng(0).uniform(0, 1, (len(colour), num_faces, 3, 2)).astype(np.float32)
        return UVImage(spread(4, 4), uv)
    kinds = {
        "texels": (FaceTexels, (num_faces, 1, 1)),
        "vertices": (VertexColours, (num_vertices,)),
        "corners": (CornerColours, (num_faces, 3)),
    }
    make, shape = kinds[kind]
    return make(spread(*shape))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_their_gradient(kind):
    prediction, batch = scene()
    sizes = prediction.vertices.shape[1], len(prediction.faces)

    @jax.jit
    def loss(texture):
        inputs = LossInputs(sigma=1e-3, blending="hard")
        return total_loss(replace(prediction, texture=texture), batch, {"iou": 1.0, "l1": 1.0}, inputs)[0]

    both = [plain(k, [[0.2, 0.5, 0.7], [0.9, 0.1, 0.4]], *sizes) for k in ("texels", kind)]
    values, gradients = zip(*(jax.value_and_grad(loss)(texture) for texture in both))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
    # Of all its colours together: the loss of an object gets darker or lighter by as much.
    colours = [g.image if isinstance(g, UVImage) else g.values for g in gradients]
    np.testing.assert_allclose(*(c.reshape(2, -1, 3).sum(1) for c in colours), rtol=1e-3, atol=1e-6)
    assert np.abs(colours[1]).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation(kind, sources):  # noqa: F811
    bodies = np.stack([test_held_out._box(extents) for extents in test_held_out.EXTENTS.values()]).repeat(2, axis=0)
    faces = test_held_out.FACES

    def predict(image):
        vertices = np.concatenate([bodies, np.zeros((len(image) - 4, 8, 3), np.float32)])
        return Prediction(vertices, faces, texture=plain(kind, np.full((len(image), 3), 0.3), 8, len(faces)))

    result = evaluate_predictions(predict, sources[1], num_views=2, num_points=200)
    np.testing.assert_allclose(result.metrics["psnr_unseen"], 20.0, rtol=1e-3)  # 0.3 where the truth is 0.2


class OneColour(nnx.Module):
    """A model that always answers with two bodies of one colour."""

    def __init__(self, texture):
        self.vertices = nnx.Param(jnp.asarray(test_preview.BODIES, jnp.float32))
        leaves, self.structure = jax.tree.flatten(texture)
        self.leaves = nnx.List([nnx.Param(jnp.asarray(leaf)) for leaf in leaves])

    def __call__(self, image) -> Prediction:
        texture = self.structure.unflatten([leaf[...] for leaf in self.leaves])
        return Prediction(self.vertices[...], test_preview.FACES, texture=texture)


@pytest.mark.parametrize("kind", KINDS)
def test_the_preview(kind):
    bodies, faces, colour = test_preview.BODIES, test_preview.FACES, np.array([[51, 102, 204], [255, 0, 153]])
    texture = plain(kind, colour / 255, bodies.shape[1], len(faces))
    panels = test_preview._panels(OneColour(texture), test_preview._config(), test_preview._batch())
    for drawn, mask, wanted in zip(panels["rendering"], panels["mask"], colour):
        is_body, is_sky = ((np.abs(drawn - 255 * np.array(c)) <= 1).all(-1) for c in (wanted / 255, test_preview.SKY))
        assert (is_body ^ is_sky).all()
        assert (is_body[mask[..., 0] == 255]).all() and is_sky[mask[..., 0] == 0].all()
        assert 20 < is_body.sum() < is_body.size / 2


@pytest.mark.parametrize("kind", ("texels", *KINDS))
def test_a_file(kind):
    prediction, _ = scene()
    colours = [[0.2, 0.4, 0.6], [1.0, 0.0, 1.0]]
    texture = plain(kind, colours, prediction.vertices.shape[1], len(prediction.faces))
    second = replace(prediction, texture=texture)[1:]
    content = encode_glb(second.vertices[0], second.faces, texture=second.texture)
    mesh = trimesh.load(io.BytesIO(content), file_type="glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices[mesh.faces], second.vertices[0][second.faces], atol=1e-6)
    pictured = kind in ("texels", "image")
    found = mesh.visual.to_color().vertex_colors[:, :3] / 255 if pictured else read_attribute(content, "COLOR_0")
    np.testing.assert_array_equal(found, np.broadcast_to([1, 0, 1], found.shape))


@pytest.mark.parametrize("kind", ("vertices", "image"))
def test_refinement(kind):
    truth = orbit(2.732, np.radians([25.0]), np.radians([70.0]), np.pi / 6)
    vertices, faces = test_fit.lopsided(), test_fit.FACES
    picture, mask = test_fit.photograph(vertices, truth)
    start = plain(kind, [[0.5, 0.5, 0.5]], len(vertices), len(faces))
    result = refine(vertices, faces, truth, picture, mask, texture=start, steps=15)
    assert result.after["l1"] < 0.8 * result.before["l1"]
    assert type(result.texture) is type(start)
    colours = result.texture.image if kind == "image" else result.texture.values
    assert 0 <= colours.min() < 0.49 and 0.51 < colours.max() <= 1
    if kind == "image":
        np.testing.assert_array_equal(result.texture.uv, start.uv)


def test_a_texture_that_objects_share_has_to_be_repeated():
    prediction, _ = scene()
    texture = plain("image", [[0.2, 0.4, 0.6]] * 2, 0, len(prediction.faces))
    for shared in (replace(texture, image=texture.image[:1]), replace(texture, uv=texture.uv[0])):
        with pytest.raises(ValueError, match="must lead with the batch of 2.*repeat what all objects share"):
            replace(prediction, texture=shared)
