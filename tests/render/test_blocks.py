"""More pairs of faces and windows than an int32 counts: faces are walked in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import FaceTexels, Mesh, rasterize, render, soft_coverage, worklist
from tests.render.scenes import orbiting

SIZE = (21, 17)


@pytest.fixture
def small_blocks(monkeypatch):
    """A function that makes blocks of so many faces; it gives the list of where blocks begin, as walks are traced."""
    walk, begins = worklist._walk_block, []

    def spy(*arguments):
        begins.append(arguments[-1])
        return walk(*arguments)

    def limit(faces):
        monkeypatch.setattr(worklist, "_MOST_PAIRS", faces * worklist.make_canvas(2, SIZE).windows)
        monkeypatch.setattr(worklist, "_walk_block", spy)
        jax.clear_caches()  # or the program of one block would be taken
        return begins

    yield limit
    jax.clear_caches()


@pytest.mark.parametrize("blending", ["softmax", "layered", "hard"])
def test_blocks_change_nothing(float64, bumpy_meshes, small_blocks, blending):
    vertices, faces, rng = bumpy_meshes
    texture = FaceTexels(jnp.asarray(rng.random((2, 20, 2, 2, 3))))

    def loss(points, texture):
        picture = render(Mesh(points, faces), orbiting(), SIZE, texture=texture, blending=blending, sigma=1e-3)
        return (picture.rgb**2).sum() + picture.alpha.sum(), picture

    def results():
        draw = jax.jit(jax.value_and_grad(lambda *scene: loss(*scene), argnums=(0, 1), has_aux=True))
        return draw(jnp.asarray(vertices), texture)

    expected = results()
    begins = small_blocks(7)  # 40 faces: five blocks and a rest
    for wanted, found in zip(jax.tree.leaves(expected), jax.tree.leaves(results())):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert begins and all(isinstance(first, jax.core.Tracer) for first in begins)


def test_a_million_faces_on_large_pictures():
    for batch, size in ((1, (4096, 4096)), (1, (8192, 8192)), (64, (256, 256))):
        canvas = worklist.make_canvas(batch, size)
        assert canvas.side == 5 and canvas.block * canvas.windows < 2**31 - 2**20
    clip = jax.ShapeDtypeStruct((1, 300_000, 4), jnp.float32)
    faces = jax.ShapeDtypeStruct((600_000, 3), jnp.int32)
    face_id = jax.eval_shape(lambda clip, faces: rasterize(clip, faces, (4096, 4096)).face_id, clip, faces)
    assert face_id.shape == (1, 4096, 4096)


@pytest.mark.parametrize("batch, size", [(1, (50_000, 50_000)), (40_000, (256, 256))])
def test_too_many_pixels(batch, size):
    clip = jax.ShapeDtypeStruct((batch, 3, 4), jnp.float32)
    faces, words = np.array([[0, 1, 2]], np.int32), "image_size.*batch"
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(lambda clip: rasterize(clip, faces, size), clip)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(lambda clip: soft_coverage(clip, faces, size, 1e-3), clip)
