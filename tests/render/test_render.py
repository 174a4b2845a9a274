import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    FaceTexels,
    Fragments,
    Mesh,
    VertexColours,
    WeakPerspectiveCamera,
    icosphere,
    orbit,
    render,
    sample_face_texels,
    scene,
)
from tests.render import reference

SIZE, SIGMA, GAMMA = (11, 15), 2e-3, 3e-3
# Hardly any cut-off: it is a step, which no derivative sees.
CUTOFF = 1e-10
SKY = (0.2, 0.5, 0.9)


@jax.jit
def soft(mesh, camera, texture, sigma=SIGMA, gamma=GAMMA):
    return render(mesh, camera, SIZE, texture=texture, background=SKY, sigma=sigma, gamma=gamma, cutoff=CUTOFF)


@jax.jit
def hard(mesh, camera, texture):
    return render(mesh, camera, SIZE, texture=texture, background=SKY, sigma=SIGMA, blending="hard", cutoff=CUTOFF)


def orbiting(batch=2):
    return orbit(np.full(batch, 2.7), np.linspace(0.2, 0.6, batch), np.linspace(1, 4, batch), np.full(batch, 0.55))


def project(camera, points):
    """The camera written out in numpy."""
    rotation, translation, focal = (
        np.asarray(x, np.float64) for x in (camera.rotation, camera.translation, camera.focal)
    )
    view = np.einsum("bij,bvj->bvi", rotation, points) + translation[:, None]
    return np.concatenate([view[..., :2] * focal[:, None], 0 * view[..., 2:], -view[..., 2:]], axis=-1)


def shader(texture, faces, image):
    values = np.asarray(texture.values, np.float64)[image]
    if isinstance(texture, VertexColours):
        return lambda index, barycentric: barycentric @ values[faces[index]]
    return lambda index, barycentric: reference.texel_colour(values[index], barycentric)


def expected_softmax(clip, faces, texture, sigma=SIGMA, gamma=GAMMA, near=0.1, far=100.0, depth=None):
    return np.stack(
        [
            reference.softmax(
                clip[image], faces, SIZE, shader(texture, faces, image), near=near, far=far, sigma=sigma, gamma=gamma,
                background=np.array(SKY), cutoff=CUTOFF, vertex_depth=None if depth is None else depth[image],
            )
            for image in range(len(clip))
        ]
    )  # fmt: skip


def textures(rng, faces, batch=2):
    return [VertexColours(rng.random((batch, 12, 3)))] + [
        FaceTexels(rng.random((batch, len(faces), side, side, 3))) for side in (1, 2, 4)
    ]


# The others below, with their gradients.
@pytest.mark.parametrize("which", [1, 2])
def test_softmax_agrees_with_brute_force(float64, bumpy_meshes, which):
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    check_softmax(soft(Mesh(jnp.asarray(vertices), faces), camera, texture), project(camera, vertices), faces, texture)


def check_softmax(picture, clip, faces, texture):
    np.testing.assert_allclose(picture.rgb, expected_softmax(clip, faces, texture), atol=1e-10)
    for image in range(2):
        alpha = reference.coverage(clip[image], faces, SIZE, SIGMA, CUTOFF)
        face_id, _, depth = reference.rasterize(clip[image], faces, SIZE)
        np.testing.assert_allclose(picture.alpha[image], alpha, atol=1e-12)
        np.testing.assert_array_equal(picture.face_id[image], face_id)
        np.testing.assert_allclose(picture.depth[image], depth, atol=1e-10)


@pytest.mark.parametrize("which", [0, 3])
def test_hard_agrees_with_brute_force(float64, bumpy_meshes, which):
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    picture = hard(Mesh(jnp.asarray(vertices), faces), camera, texture)
    for image, clip in enumerate(project(camera, vertices)):
        face_id, barycentric, _ = reference.rasterize(clip, faces, SIZE)
        colour = shader(texture, faces, image)
        wanted = np.broadcast_to(np.array(SKY), (*SIZE, 3)).copy()
        for index in set(face_id[face_id >= 0]):
            wanted[face_id == index] = colour(index, barycentric)[face_id == index]
        np.testing.assert_allclose(picture.rgb[image], wanted, atol=1e-10)
        np.testing.assert_allclose(
            picture.alpha[image], reference.coverage(clip, faces, SIZE, SIGMA, CUTOFF), atol=1e-12
        )


@pytest.mark.parametrize("which", [0, 3])
def test_softmax_gradient_is_the_derivative(float64, bumpy_meshes, which):
    """Vertices by colour, coverage and depth order; texture; all through a perspective camera."""
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    weights, mask_weights = rng.normal(size=(2, *SIZE, 3)), rng.normal(size=(2, *SIZE))

    def loss(vertices, texture):
        picture = soft(Mesh(vertices, faces), camera, texture)
        return (picture.rgb * weights).sum() + (picture.alpha * mask_weights).sum(), picture

    def expected(vertices, texture):
        clip = project(camera, vertices)
        alpha = np.stack([reference.coverage(image, faces, SIZE, SIGMA, CUTOFF) for image in clip])
        return (expected_softmax(clip, faces, texture) * weights).sum() + (alpha * mask_weights).sum()

    both = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    gradient, picture = both(jnp.asarray(vertices), jax.tree.map(jnp.asarray, texture))
    check_softmax(picture, project(camera, vertices), faces, texture)
    gradient = (np.asarray(gradient[0]), np.asarray(gradient[1].values))
    assert np.abs(gradient[0]).min() > 0
    for _ in range(6):
        step = np.zeros_like(vertices)
        place = tuple(rng.integers(size) for size in step.shape)
        step[place] = 1e-6
        slope = (expected(vertices + step, texture) - expected(vertices - step, texture)) / 2e-6
        np.testing.assert_allclose(gradient[0][place], slope, rtol=1e-5, atol=1e-6)
    for _ in range(4):
        step = np.zeros_like(texture.values)
        place = tuple(rng.integers(size) for size in step.shape)
        step[place] = 1e-6
        values = [expected(vertices, type(texture)(texture.values + sign * step)) for sign in (1, -1)]
        np.testing.assert_allclose(gradient[1][place], np.subtract(*values) / 2e-6, rtol=1e-5, atol=1e-6)


def test_hidden_faces_pull_forward(float64):
    """Two squares, the wrong one in front: the gradient of the picture moves both along the view."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    vertices = np.concatenate([square, square - [0, 0, 0.05]])[None]
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    red_green = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], 4, axis=0)[None]
    camera = orbit(np.full(1, 2.7), np.zeros(1), np.zeros(1), np.full(1, 0.5))

    def greenness(vertices):
        picture = soft(Mesh(vertices, faces), camera, VertexColours(red_green), SIGMA, 3e-4)
        return (picture.rgb[..., 1] - picture.rgb[..., 0]).sum()

    gradient = np.asarray(jax.jit(jax.grad(greenness))(jnp.asarray(vertices)))[0, :, 2]
    assert gradient[:4].sum() < 0 < gradient[4:].sum()


def test_single_precision_follows_double(bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    texels, weights = rng.random((2, 20, 3, 3, 3)), rng.normal(size=(2, *SIZE, 3))
    results = []
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            camera = orbiting()

            def loss(vertices, texture, camera=camera):
                picture = render(
                    Mesh(vertices, faces), camera, SIZE, texture=texture, background=SKY, sigma=1e-3, gamma=1e-3
                )
                return (picture.rgb * weights.astype(vertices.dtype)).sum(), picture.rgb

            results.append(
                jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(
                    jnp.asarray(vertices, dtype), FaceTexels(jnp.asarray(texels, dtype))
                )
            )
    for single, double in zip(jax.tree.leaves(results[0]), jax.tree.leaves(results[1])):
        np.testing.assert_allclose(single, double, atol=2e-3 * np.abs(double).max())


def test_weak_perspective_softmax(float64, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    texture = textures(rng, faces)[0]
    quaternion = rng.normal(size=(2, 4))
    camera = WeakPerspectiveCamera(np.array([0.9, 1.3]), rng.normal(size=(2, 2)) * 0.1, quaternion)
    picture = soft(Mesh(jnp.asarray(vertices), faces), camera, texture)
    clip, depth = (np.asarray(f(jnp.asarray(vertices))) for f in (camera.project, camera.depth))
    np.testing.assert_allclose(picture.rgb, expected_softmax(clip, faces, texture, depth=depth), atol=1e-10)


@pytest.mark.parametrize("draw", [soft, hard])
def test_camera_inside_a_coloured_box(float64, draw):
    """Faces that pass through the plane of the camera still hide what is behind them."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], np.int32)
    texture = FaceTexels(np.random.default_rng(0).random((1, 12, 1, 1, 3)))
    camera = orbit(np.full(1, 0.3), np.full(1, 0.4), np.full(1, 0.7), np.full(1, 1.2))

    @jax.jit
    def both(vertices):
        def loss(vertices):
            picture = draw(Mesh(vertices, faces), camera, texture)
            return picture.rgb.sum(), picture

        return jax.grad(loss, has_aux=True)(vertices)

    gradient, picture = both(jnp.asarray(corners[None]))
    clip = project(camera, corners[None])[0]
    face_id, _, _ = reference.rasterize(clip, faces, SIZE)
    assert (face_id >= 0).all() and not all(reference.is_soft(clip[face]) for face in faces)
    np.testing.assert_array_equal(picture.face_id[0], face_id)
    np.testing.assert_allclose(picture.alpha[0], reference.coverage(clip, faces, SIZE, SIGMA, CUTOFF), atol=1e-10)
    wanted = texture.values[0, face_id, 0, 0]
    if draw is soft:
        wanted = expected_softmax(clip[None], faces, texture)[0]
    np.testing.assert_allclose(picture.rgb[0], wanted, atol=1e-6)
    assert np.isfinite(gradient).all()


def test_texels_sit_where_they_say():
    """Texel (i, j) of t x t is at b1 = i / (t - 1), b2 = j / (t - 1)."""
    side = 4
    texels = np.arange(side * side * 2, dtype=np.float32).reshape(1, 1, side, side, 2)
    places = [(i, j) for i in range(side) for j in range(side) if i + j < side]
    b1, b2 = (np.array([[place[axis] for place in places]], np.float32)[None] / (side - 1) for axis in (0, 1))
    fragments = Fragments(
        jnp.zeros(b1.shape, jnp.int32), jnp.stack([1 - b1 - b2, b1, b2], axis=-1), jnp.zeros(b1.shape)
    )
    values = sample_face_texels(texels, fragments)
    np.testing.assert_allclose(values[0, 0], [texels[0, 0, i, j] for i, j in places], atol=1e-5)


def test_background_may_be_pictures(bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    backdrop = jnp.asarray(rng.random((2, *SIZE, 3)), jnp.float32)
    small = Mesh(jnp.asarray(0.1 * vertices, jnp.float32), faces)
    colours = VertexColours(jnp.zeros((2, 12, 3)))
    for blending in ("softmax", "hard"):
        picture = render(small, orbiting(), SIZE, texture=colours, blending=blending, background=backdrop, sigma=1e-5)
        empty = np.asarray(picture.alpha) == 0
        assert 0.5 < empty.mean() < 1
        np.testing.assert_allclose(picture.rgb[empty], backdrop[empty], atol=1e-6)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -1e-4}, "sigma"),
        ({"gamma": 0.0}, "gamma"),
        ({"cutoff": 0.7}, "cutoff"),
        ({"image_size": (0, 4)}, "image_size"),
        ({"blending": "layred"}, "layred"),
        ({"texture": VertexColours(np.zeros((2, 11, 3)))}, "texture"),
        ({"texture": FaceTexels(np.zeros((2, 19, 2, 2, 3)))}, "texture"),
    ],
)
def test_bad_arguments_are_named(change, words):
    vertices, faces = icosphere(0)
    arguments = dict(image_size=(4, 4), texture=VertexColours(np.zeros((2, 12, 3)))) | change
    mesh = Mesh(jnp.asarray(np.stack([vertices, vertices]), jnp.float32), faces)
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(render)(mesh, orbiting(), **arguments)


def test_a_rule_of_the_callers_own():
    """It is handed what the renderer's rules are, inside of `jax.jit` and outside, and gradients go through it."""

    def hard_border(drawn, softness, face_id):
        return scene.paint(drawn, face_id), (face_id >= 0).astype(jnp.float32)

    vertices, faces = icosphere(1)
    mesh, camera = Mesh(jnp.asarray(0.4 * vertices, jnp.float32)[None], faces), orbiting(1)
    texture = VertexColours(jnp.asarray(vertices / 2 + 0.5, jnp.float32)[None])
    own = render(mesh, camera, SIZE, texture=texture, background=SKY, blending=hard_border)
    theirs = hard(mesh, camera, texture)
    np.testing.assert_array_equal(own.alpha, (theirs.face_id >= 0).astype(np.float32))
    np.testing.assert_allclose(own.rgb, theirs.rgb, atol=1e-6)

    def brightness(texture, blending):
        return render(mesh, camera, SIZE, texture=texture, background=SKY, blending=blending).rgb.sum()

    found, expected = (jax.jit(jax.grad(brightness), static_argnums=1)(texture, rule) for rule in (hard_border, "hard"))
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
