"""Queries on half a sphere: what they say of the whole, of its shape and of its colours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.model.shape import query_layout, spread
from ast_jax.model.template import sphere
from ast_jax.model.textures.layout import mirror_texels
from render import FaceTexels, Mesh, orbit, render


def test_symmetric_displacement_is_the_symmetrised_free_one():
    """The half layout gives what the full one gives for displacements that are already symmetric."""
    rng = np.random.default_rng(0)
    half, full = query_layout(1, 2, True), query_layout(1, 2, False)
    displacement = rng.normal(size=(1, len(half.positions), 3)).astype(np.float32)
    displacement[:, half.positions[:, 0] == 0, 0] = 0
    by_position = {tuple(np.round(p, 6)): d for p, d in zip(half.positions, displacement[0])}
    flip = np.array([-1, 1, 1], np.float32)
    whole = [
        by_position[tuple(np.round(p, 6))] if p[0] >= 0 else flip * by_position[tuple(np.round(flip * p, 6))]
        for p in full.positions
    ]
    np.testing.assert_allclose(
        spread(half, jnp.asarray(displacement)), spread(full, jnp.asarray(np.stack(whole)[None])), atol=1e-5
    )


def test_coarse_vertices_keep_their_own_displacement():
    layout = query_layout(1, 3, False)
    displacement = np.random.default_rng(0).normal(size=(2, 42, 3)).astype(np.float32)
    moved = spread(layout, jnp.asarray(displacement))
    assert moved.shape == (2, 642, 3)
    np.testing.assert_allclose(moved[:, :42], displacement, atol=1e-6)


@pytest.mark.parametrize("query_level", [1, 2])
def test_a_symmetric_texture_renders_its_mirror_image(query_level):
    rng = np.random.default_rng(0)
    queries = {1: 44, 2: 168}[query_level]  # half of the faces and those astride the plane: (80 + 8)/2, (320 + 16)/2
    logits = rng.normal(size=(1, queries * 4 ** (2 - query_level), 4, 4, 3)).astype(np.float32)
    texels = jax.nn.sigmoid(mirror_texels(jnp.asarray(logits), query_level, 2))
    ball = sphere(2)
    mesh = Mesh(jnp.float32(0.4 * ball.vertices)[None], ball.faces)
    camera = orbit(jnp.array([2.732]), jnp.array([0.3]), jnp.array([0.5]), jnp.array([0.5]))
    mirror_camera = orbit(jnp.array([2.732]), jnp.array([0.3]), jnp.array([-0.5]), jnp.array([0.5]))
    settings = dict(blending="hard", texture=FaceTexels(texels))
    image = np.asarray(render(mesh, camera, (32, 32), **settings).rgb)
    other = np.asarray(render(mesh, mirror_camera, (32, 32), **settings).rgb)
    assert image.std() > 0.1
    difference = np.abs(other[:, :, ::-1] - image).max(-1)
    # A pixel centre within rounding of an edge may show the face on its other side.
    assert np.mean(difference > 1e-3) < 0.01
