"""The backend without loops: it answers what the brute force in float64 answers, and what "xla" does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import draw_with, icosphere, rasterize, soft_coverage
from render.backends import default_backend
from tests.render import reference
from tests.render.test_coverage import to_clip

SIZE, SIGMA = (11, 14), 3e-3


def test_coverage_agrees_with_brute_force(float64, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    alpha = soft_coverage(jnp.asarray(clip), faces, SIZE, SIGMA, backend="dense")
    wanted = np.stack([reference.coverage(image, faces, SIZE, SIGMA, 1e-4) for image in clip])
    np.testing.assert_allclose(alpha, wanted, atol=1e-13)


def test_coverage_in_single_precision(bumpy_meshes):
    """Of a fine mesh; places come from matrix products of coordinates of up to 12 px: 1e-6 px, over sigma."""
    vertices, faces = icosphere(2)
    clip = to_clip(0.6 * vertices[None])
    alpha = soft_coverage(jnp.asarray(clip, jnp.float32), faces, (24, 24), 1e-3, backend="dense")
    np.testing.assert_allclose(alpha[0], reference.coverage(clip[0], faces, (24, 24), 1e-3, 1e-4), atol=1e-4)


def test_gradient_is_the_derivative(float64, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    clip, picture = to_clip(vertices), rng.normal(size=(2, *SIZE))

    # Hardly any cut-off: it is a step, which no derivative sees.
    def loss(clip):
        return (soft_coverage(clip, faces, SIZE, SIGMA, cutoff=1e-12, backend="dense") * picture).sum()

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(clip)))
    for vertex, axis in zip(rng.permutation(12)[:4], (0, 1, 3, 0)):
        step = np.zeros_like(clip[1])
        step[vertex, axis] = 1e-6
        values = [
            (reference.coverage(clip[1] + sign * step, faces, SIZE, SIGMA, 1e-12) * picture[1]).sum()
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(gradient[1, vertex, axis], np.subtract(*values) / 2e-6, rtol=1e-6, atol=1e-7)


def test_faces_without_area_are_segments(float64):
    corners = jnp.array([[[-0.5, 0.5, 0, 1], [0.5, 0.5, 0, 1], [0.1, 0.5, 0, 1]], [[0.25, 0.5, 0, 1]] * 3])
    alpha = soft_coverage(corners, np.array([[0, 1, 2]], np.int32), (2, 4), 0.25, cutoff=1e-9, backend="dense")
    wanted = soft_coverage(corners, np.array([[0, 1, 2]], np.int32), (2, 4), 0.25, cutoff=1e-9)
    np.testing.assert_allclose(alpha, wanted, atol=1e-13)


@pytest.mark.parametrize("edge_rule", ["inclusive", "strict"])
def test_nearest_faces_agree_with_brute_force(float64, bumpy_meshes, edge_rule):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    found = rasterize(jnp.asarray(clip), faces, (17, 30), edge_rule=edge_rule, backend="dense")
    for image in range(2):
        face_id, barycentric, depth = reference.rasterize(clip[image], faces, (17, 30), edge_rule=edge_rule)
        np.testing.assert_array_equal(found.face_id[image], face_id)
        np.testing.assert_allclose(found.depth[image], depth, atol=1e-12)
        np.testing.assert_allclose(found.barycentric[image], barycentric, atol=1e-12)


def test_a_camera_inside_a_ball_sees_it_everywhere(float64):
    vertices, faces = icosphere(1)
    clip = to_clip(vertices[None], depth=0.2, focal=1.0)
    found = rasterize(jnp.asarray(clip), faces, (9, 12), backend="dense")
    np.testing.assert_array_equal(found.face_id[0], reference.rasterize(clip[0], faces, (9, 12))[0])
    assert (np.asarray(found.face_id) >= 0).all()


def test_no_pixel_is_lost_between_faces():
    """Faces that share edges in the middle of a picture leave none of its pixels empty, in single precision."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        # A fan about a point within a square that is larger than the picture.
        rim = np.array([[-2, -2], [2, -2], [2, 2], [-2, 2]]) + rng.uniform(-0.5, 0.5, (4, 2))
        points = np.concatenate([rng.uniform(-0.9, 0.9, (1, 2)), rim])
        clip = np.concatenate([points, np.zeros((5, 1)), np.ones((5, 1))], 1)[None]
        fan = np.array([[0, k, k % 4 + 1] for k in range(1, 5)], np.int32)
        found = rasterize(jnp.asarray(clip, jnp.float32), fan, (15, 22), backend="dense")
        assert (np.asarray(found.face_id) >= 0).all()


def test_what_names_no_backend_is_drawn_by_the_one_around_it(bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32)

    def loops(function):
        return "while" in str(jax.make_jaxpr(function)(clip))

    def cover(clip):
        return soft_coverage(clip, faces, SIZE, SIGMA)

    def depth(clip):
        return rasterize(clip, faces, SIZE).depth

    assert loops(lambda clip: cover(clip)) and loops(lambda clip: depth(clip))
    with draw_with("dense"):
        assert default_backend() == "dense"
        assert not loops(lambda clip: cover(clip)) and not loops(lambda clip: depth(clip))
        assert not loops(jax.grad(lambda clip: cover(clip).sum()))
    assert default_backend() == "xla"


def test_wrong_requests(bumpy_meshes, unchecked):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32)
    with pytest.raises(ValueError, match='did you mean "dense"'), draw_with("dens"):
        pass
    with pytest.raises(ValueError, match="layers must be None"):
        rasterize(clip, faces, SIZE, layers=2, backend="dense")
    with pytest.raises(ValueError, match='falloff "sigmoid" only'):
        soft_coverage(clip, faces, SIZE, SIGMA, falloff="exponential", backend="dense")
    with pytest.raises(ValueError, match='"nvdiffrast" draws no soft silhouettes; "xla" and "dense" do'):
        soft_coverage(clip, faces, SIZE, SIGMA, backend="nvdiffrast")
