"""The table of backends: a new one is a line in it, and an unknown name is answered with the near one."""

import inspect
import re

import jax.numpy as jnp
import numpy as np
import pytest

from render import Fragments, Mesh, VertexColours, icosphere, orbit, rasterize, render
from render.backends import BACKENDS, Backend, find_backend, find_rule

SIZE = (5, 7)
VERTICES, FACES = icosphere(0)
MESH = Mesh(jnp.asarray(0.5 * VERTICES[None], jnp.float32), FACES)
CAMERA = orbit(*np.array([[2.7], [0.3], [1.0], [0.5]], np.float32))
WHITE = VertexColours(jnp.ones((1, 12, 3)))


def chequered():
    """Every other pixel sees face 3, whatever there is."""
    seen = jnp.asarray(np.indices((1, *SIZE)).sum(0) % 2, bool)
    return Fragments(
        jnp.where(seen, 3, -1), jnp.where(seen[..., None], jnp.full((*seen.shape, 3), 1 / 3), 0.0), 2.0 * seen
    )


def test_a_backend_is_a_line_in_the_table(monkeypatch, unchecked):
    asked = []

    def find_faces(vertices_clip, faces, image_size, **options):
        asked.append((image_size, options))
        return chequered()

    def mask(scene, softness, face_id):
        return scene.backdrop + 0 * face_id[..., None], (face_id >= 0).astype(jnp.float32)

    monkeypatch.setitem(BACKENDS, "mine", Backend(find_faces, lambda scene: chequered(), {"mask": mask}))
    fragments = rasterize(CAMERA.project(MESH.vertices), FACES, np.array(SIZE), layers=np.int64(1), backend="mine")
    np.testing.assert_array_equal(fragments.face_id, chequered().face_id)
    # What the public call has checked comes as plain numbers, and all of it.
    options = dict(face_mask=None, vertex_depth=None, layers=1, edge_rule="inclusive", cull_backfaces=False)
    assert asked == [(SIZE, options)]
    picture = render(MESH, CAMERA, SIZE, texture=WHITE, background=(0.2, 0.4, 0.6), blending="mask", backend="mine")
    np.testing.assert_array_equal(picture.alpha, chequered().face_id >= 0)
    np.testing.assert_array_equal(picture.depth, chequered().depth)
    np.testing.assert_allclose(picture.rgb[0, 0, 0], (0.2, 0.4, 0.6), rtol=1e-6)
    # A rule that the caller brings along goes with any backend.
    picture = render(MESH, CAMERA, SIZE, texture=WHITE, blending=mask, backend="mine")
    np.testing.assert_array_equal(picture.alpha, chequered().face_id >= 0)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_all_backends_have_the_same_interface(backend):
    found = inspect.signature(inspect.unwrap(find_backend(backend).rasterize)).parameters
    assert list(found) == [name for name in inspect.signature(rasterize).parameters if name != "backend"]
    for rule in find_backend(backend).rules.values():
        assert list(inspect.signature(rule).parameters) == ["scene", "softness", "face_id"]


@pytest.mark.parametrize(
    "backend, blending, words",
    [
        ("xla", "Layred", 'blending must be one of "softmax", "layered", .* with backend="xla", got .Layred.; did you'
         ' mean "layered"[?]'),
        ("nvdiffrast", "antialiased", 'blending must be one of "hard", "antialias" with backend="nvdiffrast", got'
         ' .antialiased.; did you mean "antialias"[?]'),
        ("xla", None, 'blending must be one of .*, got None$'),
        ("nvdifrast", "hard", 'backend must be one of "xla", .*, got .nvdifrast.; did you mean "nvdiffrast"[?]'),
        ("cuda", "hard", 'backend must be one of "xla", .*, got .cuda.$'),
        (["xla"], "hard", "backend must be one of"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_in_one_line(unchecked, backend, blending, words):
    with pytest.raises(ValueError) as error:
        find_rule(backend, blending)
    assert re.match(words, str(error.value)) and "\n" not in str(error.value)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_every_rule_is_defined_in_plain_jax(backend):
    assert set(BACKENDS[backend].rules) <= set(BACKENDS["xla"].rules)
