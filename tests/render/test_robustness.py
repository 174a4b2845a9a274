"""No input with finite numbers may give a value or a gradient that is not finite; nothing is too much or too little."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    FaceTexels,
    Mesh,
    PerspectiveCamera,
    UVImage,
    VertexColours,
    icosphere,
    interpolate,
    orbit,
    rasterize,
    render,
    sample_texture,
    soft_coverage,
)
from tests.render import reference
from tests.render.scenes import SKY, project, shader

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


RULES = ["softmax", "layered", "hard", "antialias"]


@functools.partial(jax.jit, static_argnums=(0, 4))
def draw(blending, mesh, camera, texture, size, sigma=1e-3):
    options = dict(blending=blending, background=SKY, sigma=sigma, gamma=1e-3, layers=3)
    return render(mesh, camera, size, texture=texture, **options)


def test_ten_thousand_faces_in_one_pixel(float64):
    """Tiny faces on a ring inside of pixel (1, 2) of 4 x 4, each of which lets almost all light through."""
    count, size, sigma = 10_000, (4, 4), 4e-3
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.17, 0.25, count)
    middle = np.stack([0.25 + radius * np.cos(angle), 0.25 + radius * np.sin(angle)], axis=-1)
    corners = middle[:, None] + rng.uniform(-0.01, 0.01, (count, 3, 2))
    depth = rng.uniform(1.0, 2.0, (count, 3, 1))
    points = np.concatenate([corners * depth, -depth], axis=-1).reshape(1, -1, 3)
    camera = PerspectiveCamera(np.eye(3)[None], np.zeros((1, 3)), np.ones((1, 2)), np.zeros((1, 2)))
    faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    texture = VertexColours(rng.random((1, 3 * count, 3)))
    clip, colour = project(camera, points)[0], shader(texture, faces, 0)
    alpha = reference.coverage(clip, faces, size, sigma)
    assert 0.5 < alpha[1, 2] < 0.99 and alpha.sum() == alpha[1, 2]
    limits = dict(sigma=sigma, background=np.array(SKY))
    expected = {
        "softmax": (reference.softmax(clip, faces, size, colour, near=0.1, far=100.0, gamma=1e-3, **limits), alpha),
        "layered": reference.layered(clip, faces, size, colour, layers=3, **limits),
        "hard": (np.broadcast_to(SKY, (*size, 3)), alpha),
    }
    for blending, (rgb, alpha) in expected.items():
        picture = draw(blending, Mesh(jnp.asarray(points), faces), camera, texture, size, sigma)
        np.testing.assert_allclose(picture.rgb[0], rgb, atol=1e-9, err_msg=blending)
        np.testing.assert_allclose(picture.alpha[0], alpha, atol=1e-9, err_msg=blending)


def test_one_face_over_four_million_pixels():
    side = 2048
    clip = jnp.array([[[-9.0, -9, 0, 1], [81, -27, 0, 3], [-27, 81, 0, 3]]])
    face = np.array([[0, 1, 2]], np.int32)

    @jax.jit
    def draw(clip, depth):
        fragments, pull = jax.vjp(lambda depth: rasterize(clip, face, (side, side), vertex_depth=depth), depth)
        ones = fragments._replace(
            face_id=np.zeros(fragments.face_id.shape, jax.dtypes.float0),
            barycentric=jnp.zeros_like(fragments.barycentric),
            depth=jnp.full_like(fragments.depth, 1.0 / side**2),
        )
        return fragments.face_id, fragments.depth, pull(ones)[0], soft_coverage(clip, face, (side, side), 1e-5)

    face_id, depth, gradient, alpha = draw(clip, clip[..., 3])
    assert (face_id == 0).all() and (np.asarray(alpha) == 1).all()
    # 1 / w is linear on the screen: 1 at (-9, -9), 1/3 at (27, -9) and (-9, 27).
    x = (np.arange(side) + 0.5) / side * 2 - 1
    np.testing.assert_allclose(depth[0], 1 / (1 - (x[None] + 9 - x[:, None] + 9) / 54), rtol=1e-4)
    # The depth of a pixel is a mean of those of the corners. Four million numbers are added one by one in float32.
    np.testing.assert_allclose(np.sum(gradient), 1.0, rtol=2e-3)


@pytest.mark.parametrize("blending", RULES)
def test_nothing_to_see_is_background(blending):
    """No faces, or no meshes at all; and no gradients from nothing."""
    faces, size = np.zeros((0, 3), np.int32), (3, 2)
    for batch in (2, 0):
        camera = orbit(np.full(batch, 2.0), 0.1, 0.2, 0.5)
        points = jnp.ones((batch, 4, 3))
        for texture in (VertexColours(0 * points), FaceTexels(jnp.zeros((batch, 0, 2, 2, 3)))):
            picture = draw(blending, Mesh(points, faces), camera, texture, size)
            assert picture.rgb.shape == (batch, *size, 3) and picture.alpha.shape == (batch, *size)
            np.testing.assert_allclose(picture.rgb, np.broadcast_to(SKY, (batch, *size, 3)), rtol=1e-6)
            assert not picture.alpha.any() and not picture.depth.any() and (picture.face_id == -1).all()
        mesh = Mesh(points, faces)
        gradient = jax.grad(lambda *scene: draw(blending, *scene, size).rgb.sum())(mesh, camera, texture).vertices
        assert gradient.shape == points.shape and not gradient.any()


def test_functions_of_nothing():
    faces, size = np.zeros((0, 3), np.int32), (3, 2)
    for batch in (2, 0):
        clip = jnp.ones((batch, 4, 4))
        for layers, shape in ((None, (batch, *size)), (3, (batch, 3, *size))):
            fragments = rasterize(clip, faces, size, layers=layers)
            assert fragments.face_id.shape == shape and (fragments.face_id == -1).all()
            assert interpolate(fragments, clip, faces).shape == (*shape, 4)
            for texture in (
                FaceTexels(jnp.zeros((batch, 0, 2, 2, 3))),
                UVImage(jnp.ones((1, 4, 4, 3)), jnp.ones((0, 3, 2)), max_level=None),
            ):
                colours = sample_texture(texture, faces, fragments)
                assert colours.shape == (*shape, 3) and not colours.any()
        alpha, gradient = jax.value_and_grad(lambda clip: soft_coverage(clip, faces, size, 1e-3).sum())(clip)
        assert alpha == 0 and not gradient.any()


@pytest.mark.parametrize("blending", RULES)
def test_one_pixel(blending):
    """It is inside of a sphere of one colour: that colour, opaque."""
    vertices, faces = icosphere(0)
    mesh = Mesh(jnp.asarray(vertices, jnp.float32)[None], faces)
    texture = VertexColours(jnp.broadcast_to(jnp.array([[[0.1, 0.7, 0.4]]]), (1, 12, 3)))
    picture = draw(blending, mesh, orbit(np.full(1, 3.0), 0.3, 0.4, 0.7), texture, (1, 1), 1e-4)
    np.testing.assert_allclose(picture.rgb[0, 0, 0], [0.1, 0.7, 0.4], atol=2e-3 if blending == "softmax" else 1e-6)
    np.testing.assert_allclose(picture.alpha, 1.0, atol=1e-6)
    assert picture.face_id[0, 0, 0] >= 0 and 2.0 < picture.depth[0, 0, 0] < 2.3


def test_a_pixel_just_at_the_cutoff_has_a_colour():
    """Whether a face is near enough is asked twice, by its distance and by its probability, and rounding may give two
    answers: a face that is the nearest and has no weight hides nothing."""
    corners = jnp.array([[[-1.0, -3.0, 2.0], [-0.9, -3.0, 2.0], [-0.9, 3.0, 2.0]]])
    cutoff, columns = 1e-4, np.arange(1, 12)

    @jax.jit
    def colours(sigma):
        lens = jnp.ones((1, 2))
        camera = PerspectiveCamera(jnp.diag(jnp.array([1.0, 1.0, -1.0]))[None], jnp.zeros((1, 3)), 2 * lens, 0 * lens)
        texture, background = VertexColours(jnp.full((1, 3, 3), 0.3)), (0.3, 0.3, 0.3)
        options = dict(blending="softmax", gamma=1e-4, cutoff=cutoff, background=background)
        face = np.arange(3, dtype=np.int32)[None]
        return render(Mesh(corners, face), camera, (2, 12), texture=texture, sigma=sigma, **options).rgb

    # Pixels to the right of the edge, which is 0.6 pixels from the left side of the image.
    distance, reach = columns + 0.5 - 0.6, np.log(1 / cutoff - 1)
    for sigma in distance**2 / reach:  # NDC units are pixels: the shorter side has two of them
        for step in range(-40, 41):
            found = colours(jnp.float32(sigma * (1 + step * 2.0**-24)))
            np.testing.assert_allclose(found, 0.3, atol=1e-6)
