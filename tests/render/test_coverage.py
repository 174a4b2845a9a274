import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import icosphere, soft_coverage
from tests.render import reference

cover = jax.jit(soft_coverage, static_argnums=2, static_argnames="cutoff")


def to_clip(points, depth=3.0, focal=4.0):
    """Pinhole projection written out: camera on +Z, looking down."""
    w = depth - points[..., 2:]
    return np.concatenate([focal * points[..., :2], np.zeros_like(w), w], axis=-1)


def expected(clip, faces, image_size, sigma, cutoff=1e-4):
    return np.stack([reference.coverage(image, faces, image_size, sigma, cutoff) for image in clip])


@pytest.mark.parametrize("image_size, sigma", [((13, 22), 1e-3), ((31, 7), 1e-4), ((1, 1), 1e-2), ((40, 40), 3e-2)])
def test_agrees_with_brute_force(bumpy_meshes, image_size, sigma):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    alpha = cover(jnp.asarray(clip, jnp.float32), faces, image_size, sigma)
    # float32 coordinates of pixels carry 1e-7; divided by sigma that is the error of the exponent.
    np.testing.assert_allclose(alpha, expected(clip, faces, image_size, sigma), atol=2e-5)


def test_agrees_with_brute_force_to_the_last_digits(float64, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    alpha = cover(jnp.asarray(clip), faces, (13, 22), 1e-3)
    np.testing.assert_allclose(alpha, expected(clip, faces, (13, 22), 1e-3), atol=1e-13)


def test_fine_mesh_and_many_faces_per_pixel():
    vertices, faces = icosphere(2)
    clip = to_clip(0.6 * vertices[None])
    alpha = cover(jnp.asarray(clip, jnp.float32), faces, (24, 24), 1e-3)
    np.testing.assert_allclose(alpha, expected(clip, faces, (24, 24), 1e-3), atol=2e-5)


def test_meshes_of_different_sizes_share_a_batch(bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    both = np.stack([faces, np.where(np.arange(20)[:, None] < 7, faces, 0)])
    mask = np.stack([np.ones(20, bool), np.arange(20) < 7])
    alpha = cover(jnp.asarray(clip, jnp.float32), jnp.asarray(both), (13, 22), 1e-3, face_mask=mask)
    for image, count in ((0, 20), (1, 7)):
        wanted = reference.coverage(clip[image], faces[:count], (13, 22), 1e-3)
        np.testing.assert_allclose(alpha[image], wanted, atol=2e-5)


def test_a_face_behind_the_camera_covers_nothing_and_one_across_it_is_hard():
    # Corners far below, beside the line of sight and behind: only the part in front shows.
    behind = np.array([[-1, -1, 0, -1], [1, -1, 0, -1], [0, 1, 0, -2]], float)
    across = np.array([[-1, -0.5, 0, 1], [1, -0.5, 0, 1], [0, -0.5, 0, -1]], float)
    clip = np.stack([behind, across])
    alpha = cover(jnp.asarray(clip, jnp.float32), np.array([[0, 1, 2]], np.int32), (16, 24), 1e-2)
    assert not np.asarray(alpha[0]).any()
    wanted = reference.rasterize(across, np.array([[0, 1, 2]]), (16, 24))[0] >= 0
    assert 0 < wanted.sum() < wanted.size
    np.testing.assert_array_equal(alpha[1], wanted)


def test_gradient_is_the_derivative(float64, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    clip, image_size, sigma = to_clip(vertices), (11, 14), 3e-3
    picture = rng.normal(size=(2, *image_size))

    # Hardly any cut-off: it is a step, which no derivative sees.
    def loss(clip):
        return (cover(clip, faces, image_size, sigma, cutoff=1e-12) * picture).sum()

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(clip)))
    assert not gradient[..., 2].any()
    for image in range(2):
        for vertex, axis in zip(rng.permutation(12)[:6], (0, 1, 3, 0, 1, 3)):
            step = np.zeros_like(clip[image])
            step[vertex, axis] = 1e-6
            values = [
                (reference.coverage(clip[image] + sign * step, faces, image_size, sigma, 1e-12) * picture[image]).sum()
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(gradient[image, vertex, axis], np.subtract(*values) / 2e-6, rtol=1e-6, atol=1e-7)


def test_gradient_in_single_precision(bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    picture = rng.normal(size=(2, 11, 14))
    gradients = []
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            gradients.append(
                jax.grad(lambda v: (cover(v, faces, (11, 14), 1e-3) * picture).sum())(
                    jnp.asarray(to_clip(vertices), dtype)
                )
            )
    np.testing.assert_allclose(*gradients, atol=1e-4 * np.abs(gradients[1]).max())


def test_faces_without_area_are_segments(float64):
    """A collapsed triangle is as near as the segment it collapsed to; pixels on it have p = 1/2."""
    corners = np.array([[[-0.5, 0.5, 0, 1], [0.5, 0.5, 0, 1], [0.1, 0.5, 0, 1]]])
    alpha = np.asarray(cover(jnp.asarray(corners), np.array([[0, 1, 2]], np.int32), (2, 4), 0.25, cutoff=1e-9))
    # Pixel centres are at x = -1.5, -0.5, 0.5, 1.5 and y = 0.5, -0.5; the segment is y = 0.5, |x| <= 1.
    squared = np.array([[0.25, 0, 0, 0.25], [1.25, 1, 1, 1.25]])
    inside = squared == 0
    np.testing.assert_allclose(alpha, np.where(inside, 0.5, 1 / (1 + np.exp(squared / 0.25)))[None], atol=1e-9)


def test_new_numbers_do_not_compile_again(bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    traces = []

    @jax.jit
    def count(clip, sigma):
        traces.append(1)
        return soft_coverage(clip, faces, (13, 22), sigma)

    clip = jnp.asarray(to_clip(vertices), jnp.float32)
    count(clip, 1e-3)
    alpha = count(1.1 * clip, 2e-3)
    assert len(traces) == 1 and count._cache_size() == 1
    np.testing.assert_allclose(alpha, expected(np.asarray(1.1 * clip), faces, (13, 22), 2e-3), atol=2e-5)


def test_vmap_over_views(bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32)
    views = jnp.stack([clip, 0.5 * clip])
    together = jax.vmap(lambda clip: cover(clip, faces, (13, 22), 1e-3))(views)
    for view, alpha in zip(views, together):
        np.testing.assert_allclose(alpha, cover(view, faces, (13, 22), 1e-3), atol=1e-6)
