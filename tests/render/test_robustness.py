"""No input with finite numbers may give a value or a gradient that is not finite."""

import jax
import jax.numpy as jnp
import numpy as np

from render import FaceTexels, Mesh, PerspectiveCamera, rasterize, render, soft_coverage

FACES = 2000
BATCH = 2


def adversarial_triangles(seed):
    """Clip-space corners `[b, f * 3, 4]` of everything that has ever broken a rasterizer."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(BATCH, FACES, 3, 4)) * [1, 1, 1, 0.3] + [0, 0, 0, 1.5]
    kinds = np.arange(FACES) % 12
    corners[:, kinds == 0] *= 1e-3
    corners[:, kinds == 1, 1] = corners[:, kinds == 1, 0]
    corners[:, kinds == 2, 1:] = corners[:, kinds == 2, :1]
    corners[:, kinds == 3, 2] = 0.5 * (corners[:, kinds == 3, 0] + corners[:, kinds == 3, 1])
    corners[:, kinds == 4, :, 3] *= -1
    corners[:, kinds == 5, 0, 3] *= -1
    corners[:, kinds == 6, :, 3] = 0
    corners[:, kinds == 7, 1, 3] = 1e-30
    corners[:, kinds == 8] *= 10.0 ** rng.uniform(-30, 18, size=(BATCH, (kinds == 8).sum(), 3, 1))
    corners[:, kinds == 9, :, :2] *= 1e6
    corners[:, kinds == 10] = np.round(corners[:, kinds == 10] * 4) / 4
    corners[:, kinds == 11] = corners[:, kinds == 10][:, : (kinds == 11).sum()]
    return jnp.asarray(corners.reshape(BATCH, FACES * 3, 4), jnp.float32)


@jax.jit
def everything(clip, texels):
    """Values and gradients of all that can be rendered of one clip-space soup."""
    faces = np.arange(FACES * 3, dtype=np.int32).reshape(FACES, 3)
    size = (12, 16)

    def soft(clip):
        alpha = soft_coverage(clip, faces, size, 1e-3)
        fragments = rasterize(clip, faces, size)
        return alpha.sum() + fragments.depth.sum() + (fragments.barycentric**2).sum(), (alpha, fragments)

    # The identity as camera, but for the sign of z: clip is then (x, y, ., w) of points (x, y, -w).
    lens = jnp.ones((BATCH, 2))
    camera = PerspectiveCamera(jnp.broadcast_to(jnp.eye(3), (BATCH, 3, 3)), jnp.zeros((BATCH, 3)), lens, 0 * lens)

    def colours(clip, texels):
        points = jnp.concatenate([clip[..., :2], -clip[..., 3:]], axis=-1)
        picture = render(Mesh(points, faces), camera, size, texture=FaceTexels(texels), sigma=1e-3, gamma=1e-3)
        return (picture.rgb**2).sum() + picture.alpha.sum(), picture

    first = jax.value_and_grad(soft, has_aux=True)(clip)
    return first, jax.value_and_grad(colours, argnums=(0, 1), has_aux=True)(clip, texels)


def test_thousands_of_bad_triangles_stay_finite():
    texels = jnp.asarray(np.random.default_rng(9).random((BATCH, FACES, 2, 2, 3)), jnp.float32)
    for seed in range(3):
        results = everything(adversarial_triangles(seed), texels)
        for leaf in jax.tree.leaves(results):
            assert np.isfinite(np.asarray(leaf, np.float64)).all()
        (_, (alpha, _)), _ = results[0]
        assert np.asarray(alpha).min() >= 0 and np.asarray(alpha).max() <= 1


def test_an_edge_on_triangle_of_pytorch3d():
    # Vertices of its issue 110, where gradients were not a number.
    points = jnp.array([[[0.7922, -0.1992, 6.885], [0.8408, -0.1622, 6.8568], [0.7922, -0.1992, 6.89]]])
    clip = jnp.concatenate([points[..., :2], points[..., 2:], points[..., 2:]], axis=-1)
    face = np.array([[0, 1, 2]], np.int32)
    gradient = jax.jit(jax.grad(lambda clip: soft_coverage(clip, face, (16, 16), 1e-2).sum()))(clip)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_vertices_that_are_not_numbers_harm_only_their_faces():
    clip = jnp.asarray(
        [[[-0.5, -0.5, 0, 1], [0.5, -0.5, 0, 1], [0, 0.5, 0, 1], [jnp.nan, 0, 0, 1], [0, jnp.inf, 0, 1]]], jnp.float32
    )
    cover = jax.jit(soft_coverage, static_argnums=2)
    good = cover(clip, np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]], np.int32), (8, 8), 1e-3)
    bad = cover(clip, np.array([[0, 1, 2], [0, 1, 3], [4, 1, 2]], np.int32), (8, 8), 1e-3)
    assert np.isfinite(bad).all() and (np.asarray(bad) <= np.asarray(good) + 1e-6).all() and np.asarray(bad).max() > 0.9
