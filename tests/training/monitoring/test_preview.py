"""Every panel of a strip against the float64 reference of the renderer, on bodies and cameras that are known."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ast_jax.batch import Batch
from ast_jax.config import base_config
from ast_jax.model.cameras.candidates import most_probable
from ast_jax.prediction import Prediction
from ast_jax.training.monitoring.preview import PANELS, make_preview, preview_strips, turn_camera
from ast_jax.training.state import make_model
from render import FaceTexels, OrthographicCamera, PerspectiveCamera, icosphere, orbit
from tests.render import reference

SIZE = 24
ROWS = 2
VERTICES, FACES = icosphere(1)
# One long body and one flat one, both away from the origin, so that no two views are alike.
BODIES = np.stack([VERTICES * [0.45, 0.2, 0.2] + [0.1, 0.05, 0.0], VERTICES * [0.2, 0.4, 0.3] + [0.0, 0.0, 0.1]])
TURNS = {"rendering": 0.0, "view at +60 deg": 60.0, "view at +120 deg": 120.0}
SKY = (0.2, 0.5, 1.0)


class _Bodies(nnx.Module):
    """A model that always answers with `BODIES`."""

    def __init__(self, texels=None, rotation=None, logits=None):
        self.vertices = nnx.Param(jnp.asarray(BODIES, jnp.float32))
        self.texels = None if texels is None else nnx.Param(jnp.asarray(texels, jnp.float32))
        self.rotation = None if rotation is None else nnx.Param(jnp.asarray(rotation, jnp.float32))
        self.logits = None if logits is None else nnx.Param(jnp.asarray(logits, jnp.float32))

    def __call__(self, image) -> Prediction:
        if self.rotation is None:
            texture = None if self.texels is None else FaceTexels(self.texels[...])
            return Prediction(self.vertices[...], FACES, texture=texture)
        rotation = self.rotation[...]
        one = jnp.ones((*rotation.shape[:2], 2), jnp.float32)
        middle = jnp.broadcast_to(jnp.array([0.0, 0.0, -3.0]), rotation.shape[:-1])
        camera = PerspectiveCamera(rotation, middle, 3 * one, 0 * one)
        options = dict(camera=camera, camera_logits=self.logits[...])
        best = most_probable(camera, self.logits[...])
        return Prediction(self.vertices[...], FACES, input_camera=best, **options)


def _config():
    config = base_config()
    config.data.render_size = SIZE
    config.data.background = SKY
    config.render.blending, config.render.sigma = "hard", 1e-3
    return config


def _batch(orthographic: bool = False, input_size: int = SIZE) -> Batch:
    """Noise as pictures; three samples, so that the last is left out; two views each, of which the first counts."""
    rng = np.random.default_rng(0)
    views = orbit(3.0, rng.uniform(0.1, 0.6, (3, 2)), rng.uniform(0, 6, (3, 2)), 0.6)
    camera = jax.tree.map(np.asarray, views)
    if orthographic:
        camera = OrthographicCamera(camera.rotation, camera.translation, 0 * camera.focal + 1.4, camera.principal)
    pictures = [
        rng.uniform(0, 1, shape).astype(np.float32) for shape in ((3, input_size, input_size, 3), (3, 2, SIZE, SIZE, 3))
    ]
    mask = (rng.uniform(0, 1, (3, 2, SIZE, SIZE)) > 0.5).astype(np.float32)
    seen, none = jax.tree.map(lambda x: x[:, 0], camera), np.zeros((3, 2, 0, 3), np.float32)
    return Batch(pictures[0], seen, pictures[1], mask, camera, none, np.arange(3))


def _panels(model, config, batch) -> dict[str, np.ndarray]:
    graphdef, params = nnx.split(model)
    draw = make_preview(graphdef, config)
    strips = preview_strips(draw, nnx.to_pure_dict(params), batch, num_samples=ROWS)
    assert strips.dtype == np.uint8 and strips.shape == (ROWS * SIZE, len(PANELS) * SIZE, 3)
    return dict(zip(PANELS, strips.reshape(ROWS, SIZE, len(PANELS), SIZE, 3).transpose(2, 0, 1, 3, 4)))


def _clip(camera, row: int, degrees: float, view: int = 0):
    """Clip space and depth of a body seen by a camera that went round it, and where that is; in float64 numpy."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    # The camera's own axes, carried from +Z towards +X.
    carry = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    axes = np.asarray(camera.rotation, float)[row, view] @ carry.T
    shift = np.asarray(camera.translation, float)[row, view]
    seen, eye = BODIES[row] @ axes.T + shift, -shift @ axes
    if isinstance(camera, OrthographicCamera):
        xy, w = seen[:, :2] * camera.scale[row, view], np.ones(len(seen))
        return np.column_stack([xy, -seen[:, 2] / 100, w]), -seen[:, 2], eye
    xy = seen[:, :2] * np.asarray(camera.focal)[row, view]
    return np.column_stack([xy, 0 * seen[:, 2], -seen[:, 2]]), -seen[:, 2], eye


def _assert_mask(panel, camera, view: int = 0):
    for row in range(ROWS):
        coverage = reference.coverage(_clip(camera, row, 0.0, view)[0], FACES, (SIZE, SIZE), 1e-3)
        assert 0.02 < coverage.mean() < 0.9
        np.testing.assert_allclose(panel[row], np.repeat(255 * coverage[..., None], 3, -1), atol=1)


def _share_of_equal_pixels(picture, expected) -> float:
    return (np.abs(picture - 255 * expected).max(-1) <= 1).mean()


def test_turning_a_camera_is_moving_it_along_its_orbit():
    azimuth = jnp.array([0.3, 2.0])
    camera, expected = (orbit(2.7, 0.4, a, 0.5) for a in (azimuth, azimuth + jnp.pi / 3))
    turned = turn_camera(camera, jnp.full(2, jnp.pi / 3))
    for a, b in zip(jax.tree.leaves(turned), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("orthographic", [False, True])
def test_a_textured_body_from_given_cameras(orthographic):
    batch = _batch(orthographic)
    texels = np.random.default_rng(1).uniform(0, 1, (ROWS, len(FACES), 1, 1, 3))
    panels = _panels(_Bodies(texels), _config(), batch)
    for name, expected in (("input", batch.image), ("target", batch.target_images[:, 0])):
        np.testing.assert_allclose(panels[name], 255 * expected[:ROWS], atol=0.51)
    np.testing.assert_array_equal(
        panels["target mask"], 255 * np.repeat(batch.target_masks[:ROWS, 0, ..., None], 3, -1)
    )
    _assert_mask(panels["mask"], batch.camera)
    for name, degrees in TURNS.items():
        for row in range(ROWS):
            clip, depth, _ = _clip(batch.camera, row, degrees)
            face_id = reference.rasterize(clip, FACES, (SIZE, SIZE), depth)[0]
            expected = np.where(face_id[..., None] >= 0, texels[row][face_id, 0, 0], SKY)
            # A pixel centre that lies on an edge up to rounding may go to either face.
            assert _share_of_equal_pixels(panels[name][row], expected) > 0.99


def _light(row: int, eye) -> np.ndarray:
    """Brightness of each vertex under a lamp at the eye, 0.25 + 0.6 |n . d|."""
    corners = BODIES[row][FACES]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack([area[(FACES == vertex).any(1)].sum(0) for vertex in range(len(VERTICES))])
    towards = eye - BODIES[row]
    cosine = (normals * towards).sum(-1) / np.linalg.norm(normals, axis=-1) / np.linalg.norm(towards, axis=-1)
    return 0.25 + 0.6 * np.abs(cosine)


def test_without_texture_grey_and_lit_from_the_camera():
    batch = _batch()
    panels = _panels(_Bodies(), _config(), batch)
    _assert_mask(panels["mask"], batch.camera)
    for name, degrees in TURNS.items():
        for row in range(ROWS):
            clip, depth, eye = _clip(batch.camera, row, degrees)
            face_id, barycentric, _ = reference.rasterize(clip, FACES, (SIZE, SIZE), depth)
            grey = (_light(row, eye)[FACES[face_id]] * barycentric).sum(-1, keepdims=True)
            expected = np.where(face_id[..., None] >= 0, grey, SKY)
            assert _share_of_equal_pixels(panels[name][row], expected) > 0.99
            assert grey[face_id >= 0].std() > 0.03  # it has relief


def test_the_most_probable_candidate_is_taken():
    batch = _batch()
    rotation = np.asarray(batch.camera.rotation)[:ROWS]
    panels = _panels(_Bodies(rotation=rotation, logits=[[0.0, 2.0], [-1.0, 0.5]]), _config(), batch)
    one = np.ones((ROWS, 2, 2))
    known = PerspectiveCamera(rotation, np.broadcast_to([0.0, 0.0, -3.0], (ROWS, 2, 3)), 3 * one, 0 * one)
    _assert_mask(panels["mask"], known, view=1)


def test_the_real_model_starts_as_a_sphere_in_the_middle(config):
    """Of radius r seen from afar: a disc of NDC radius tan(asin(r / distance)) / tan(fov / 2)."""
    config.data.render_size = SIZE
    config.model.camera.kind, config.model.texture.kind = "candidates", "none"
    graphdef, params = make_model(config)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    params = jax.device_put(params, jax.NamedSharding(mesh, jax.P()))  # wherever the weights are
    draw, batch = make_preview(graphdef, config), _batch(input_size=32)
    strips = preview_strips(draw, params, batch)
    assert strips.shape == (3 * SIZE, len(PANELS) * SIZE, 3)  # no more rows than samples
    mask = strips.reshape(3, SIZE, len(PANELS), SIZE, 3)[:, :, PANELS.index("mask")] / 255
    radius = math.tan(math.asin(config.model.shape.radius / 2.732)) / math.tan(math.radians(15))
    np.testing.assert_allclose(mask.mean((1, 2, 3)), math.pi * radius**2 / 4, rtol=0.06)
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    assert preview_strips(make_preview(graphdef, config), broken, _batch(input_size=32)).shape == (
        3 * SIZE,
        7 * SIZE,
        3,
    )


def test_an_input_of_another_size_is_scaled():
    doubled = _batch(input_size=2 * SIZE)
    ramp = np.linspace(0, 1, 2 * SIZE, dtype=np.float32)
    image = np.broadcast_to(ramp[None, None, :, None], doubled.image.shape)
    panels = _panels(_Bodies(), _config(), dataclasses.replace(doubled, image=image))
    expected = (ramp[::2] + ramp[1::2]) / 2 * 255  # a ramp stays a ramp
    np.testing.assert_allclose(panels["input"][0, 0, 1:-1, 0], expected[1:-1], atol=1)
