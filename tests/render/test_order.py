"""Faces of (nearly) equal depth: none of them is lost between two layers, and their order is the reference's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import CornerColours, Mesh, VertexColours, icosphere, rasterize, render
from render.worklist import make_canvas
from render.zbuffer import comparable_depth
from tests.render import reference
from tests.render.scenes import SKY, orbiting, project, shader

SIZE, SIGMA = (11, 15), 2e-3


def rolled(vertices, faces):
    """Every face twice, the second time from another corner on."""
    return vertices, np.concatenate([np.roll(faces, 1, axis=1), faces])


def halved(vertices, faces):
    """Every face, and its two halves: in its plane, but with other boxes, so that pixels meet them at other times."""
    middle = 0.5 * (vertices[faces[:, 0]] + vertices[faces[:, 1]])
    between = len(vertices) + np.arange(len(faces), dtype=faces.dtype)
    first = np.stack([faces[:, 0], between, faces[:, 2]], axis=1)
    second = np.stack([between, faces[:, 1], faces[:, 2]], axis=1)
    return np.concatenate([vertices, middle]), np.concatenate([first, second, faces])


@pytest.mark.parametrize("double", [rolled, halved])
def test_peeling_loses_no_face_of_equal_depth(double):
    vertices, faces = double(*icosphere(2))
    peel = jax.jit(lambda points: rasterize(orbiting(1).project(points), faces, (96, 96), layers=6).face_id[0])
    face_id = np.asarray(peel(jnp.asarray(0.5 * vertices[None], jnp.float32)))
    count = (face_id >= 0).sum(axis=0)
    # Twice the front and twice the back of the sphere.
    assert set(np.unique(count)) == {0, 4}
    found = np.sort(face_id[:4, count == 4], axis=0)
    assert (np.diff(found, axis=0) > 0).all()


def test_the_same_face_from_another_corner_goes_to_the_lower_index():
    vertices, faces = rolled(*icosphere(2))
    face_id = jax.jit(lambda points: rasterize(orbiting(1).project(points), faces, (96, 96)).face_id)(
        jnp.asarray(0.5 * vertices[None], jnp.float32)
    )
    assert (np.asarray(face_id) < len(faces) // 2).all() and (np.asarray(face_id) >= 0).sum() > 2000


@pytest.mark.parametrize("dtype, rounding", [("float32", 1e-5), ("float64", 1e-12)])
def test_opacity_of_layers_is_that_of_brute_force(float64, dtype, rounding):
    """It does not depend on their order, so every face that is lost or counted twice shows."""
    vertices, faces = icosphere(1)
    draw = jax.jit(
        lambda points, colours: (
            render(Mesh(points, faces), orbiting(1), (32, 32), texture=colours, blending="layered", sigma=1e-3).alpha
        )
    )
    for seed in range(4):
        rng = np.random.default_rng(seed)
        # Numbers of float32: those that are drawn are those of the reference.
        points = (0.5 * vertices[None] + 0.05 * rng.normal(size=(1, *vertices.shape))).astype(np.float32)
        alpha = draw(jnp.asarray(points, dtype), VertexColours(jnp.ones((1, len(vertices), 3), dtype)))
        clip = np.asarray(orbiting(1).project(jnp.asarray(points, jnp.float64)))[0]
        _, expected = reference.layered(
            clip, faces, (32, 32), lambda index, weights: weights, sigma=1e-3, background=np.ones(3)
        )
        np.testing.assert_allclose(alpha[0], expected, atol=rounding)


@pytest.mark.parametrize("double", [rolled, halved])
def test_gradients_of_layers_see_the_order_of_the_picture(float64, double):
    rng = np.random.default_rng(0)
    vertices, faces = icosphere(0)
    vertices, faces = double(0.5 * vertices + 0.06 * rng.normal(size=vertices.shape), faces)
    texture, weights = CornerColours(rng.random((1, len(faces), 3, 3))), rng.normal(size=(*SIZE, 4))

    def loss(points):
        picture = render(
            Mesh(points[None], faces), orbiting(1), SIZE,
            texture=texture, blending="layered", sigma=SIGMA, background=SKY, cutoff=1e-10,
        )  # fmt: skip
        return (picture.rgb[0] * weights[..., :3]).sum() + (picture.alpha[0] * weights[..., 3]).sum()

    def expected(points):
        rgb, alpha = reference.layered(
            project(orbiting(1), points[None])[0], faces, SIZE, shader(texture, faces, 0),
            sigma=SIGMA, background=np.array(SKY), cutoff=1e-10,
        )  # fmt: skip
        return (rgb * weights[..., :3]).sum() + (alpha * weights[..., 3]).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(vertices))
    np.testing.assert_allclose(value, expected(vertices), rtol=1e-9)
    # The vertices of the sphere move and middles of edges with them: what is in one plane stays there.
    for _ in range(3):
        move = rng.normal(size=(12, 3))
        move = double(move, icosphere(0)[1])[0]
        slope = (expected(vertices + 1e-6 * move) - expected(vertices - 1e-6 * move)) / 2e-6
        np.testing.assert_allclose((np.asarray(gradient) * move).sum(), slope, rtol=1e-6)


@pytest.mark.parametrize("dtype, step", [("float32", 2.0**-20), ("float64", 2.0**-40)])
def test_depths_are_compared_in_steps(float64, dtype, step):
    depth = np.random.default_rng(0).normal(size=1000).astype(dtype)
    rounded = np.asarray(comparable_depth(jnp.asarray(depth)))
    assert rounded.dtype == dtype and (np.abs(rounded - depth) <= 0.5 * step * np.abs(depth)).all()
    np.testing.assert_array_equal(comparable_depth(jnp.asarray(rounded)), rounded)
    assert (np.diff(rounded[np.argsort(depth)]) >= 0).all()
    whole = np.array([1.0, 3.0, -2.0, 0.0, np.inf, -np.inf], dtype)
    np.testing.assert_array_equal(comparable_depth(jnp.asarray(whole)), whole)
    # Depths of whole numbers are common, and rounding is on both sides of them.
    np.testing.assert_array_equal(comparable_depth(jnp.asarray(np.nextafter(whole[:2], np.zeros(2, dtype)))), whole[:2])


def test_the_depth_buffer_is_not_copied_in_the_loop():
    """What is read again after it was written, XLA copies as a whole before, once for every pixel of a window."""
    (vertices, faces), size = icosphere(1), (50, 70)
    draw = jax.jit(lambda points: rasterize(orbiting(4).project(points), faces, size))
    text = draw.lower(jnp.asarray(np.stack([vertices] * 4), jnp.float32)).compile().as_text()
    image, within = rf"\w+\[{make_canvas(4, size).size}\]", None
    copies = []
    for line in text.splitlines():
        if re.match(r"(ENTRY )?%?[\w.\-]+ .*\{\s*$", line):
            within = line
        if re.search(rf"= {image}\S* copy\(", line) and not within.startswith("ENTRY"):
            copies.append(line.strip())
    assert re.search(rf"= {image}", text) and not copies
