"""Every rule of `render.blending` against brute force, and its gradients against differences of brute force."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import CornerColours, FaceTexels, Mesh, VertexColours, icosphere, render
from tests.render import reference
from tests.render.scenes import SKY, orbiting, project, shader

SIZE, SIGMA, CUTOFF = (11, 15), 2e-3, 1e-10


@functools.partial(jax.jit, static_argnames=("blending", "layers", "falloff", "size"))
def draw(mesh, camera, texture, blending, layers=None, falloff="sigmoid", size=SIZE):
    return render(
        mesh, camera, size, texture=texture, background=SKY, sigma=SIGMA, cutoff=CUTOFF,
        blending=blending, layers=layers, falloff=falloff,
    )  # fmt: skip


def expected_layered(clip, faces, texture, layers=None):
    pairs = [
        reference.layered(
            image, faces, SIZE, shader(texture, faces, i), sigma=SIGMA, background=np.array(SKY), cutoff=CUTOFF,
            layers=layers,
        )
        for i, image in enumerate(clip)
    ]  # fmt: skip
    return tuple(np.stack(part) for part in zip(*pairs))


def expected_antialias(clip, faces, texture):
    pictures = []
    for i, image in enumerate(clip):
        picture, face_id, depth = reference.painted(image, faces, SIZE, shader(texture, faces, i), np.array(SKY))
        pictures.append(reference.antialias(picture, face_id, depth, image, faces))
    return np.stack(pictures)[..., :3], np.stack(pictures)[..., 3]


def expected_hard(clip, faces, texture, falloff):
    pairs = [
        reference.hard(
            image, faces, SIZE, shader(texture, faces, i), background=np.array(SKY),
            sigma=SIGMA, cutoff=CUTOFF, falloff=falloff,
        )
        for i, image in enumerate(clip)
    ]  # fmt: skip
    return tuple(np.stack(part) for part in zip(*pairs))


def textures(rng, faces):
    return [
        VertexColours(rng.random((2, 12, 3))),
        CornerColours(rng.random((2, len(faces), 3, 3))),
        FaceTexels(rng.random((2, len(faces), 3, 3, 3))),
    ]


# All layers, and hard and antialiased pictures: below, with their gradients.
@pytest.mark.parametrize("which, layers", [(0, 1), (1, 3)])
def test_layered_agrees_with_brute_force(float64, bumpy_meshes, which, layers):
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    picture = draw(Mesh(jnp.asarray(vertices), faces), camera, texture, "layered", layers)
    rgb, alpha = expected_layered(project(camera, vertices), faces, texture, layers)
    # Colours behind a transparency of 1e-6 are left out.
    np.testing.assert_allclose(picture.rgb, rgb, atol=2e-6)
    np.testing.assert_allclose(picture.alpha, alpha, atol=2e-6)
    assert len(np.unique(np.round(alpha, 3))) > 20


def test_layered_is_the_hard_picture_inside(bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    mesh, camera, texture = Mesh(jnp.asarray(vertices, jnp.float32), faces), orbiting(), textures(rng, faces)[0]

    # One layer alone, of faces so sharp that no neighbour reaches a pixel centre.
    def sharp(mesh, camera, texture, rule):
        return render(mesh, camera, (32, 32), texture=texture, blending=rule, sigma=1e-9)

    pictures = [jax.jit(sharp, static_argnums=3)(mesh, camera, texture, rule) for rule in ("layered", "hard")]
    np.testing.assert_allclose(pictures[0].rgb, pictures[1].rgb, atol=1e-4)


@pytest.mark.parametrize("which, falloff", [(0, "sigmoid"), (2, "sigmoid")])
def test_hard_agrees_with_brute_force(float64, bumpy_meshes, which, falloff):
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    picture = draw(Mesh(jnp.asarray(vertices), faces), camera, texture, "hard", falloff=falloff)
    rgb, alpha = expected_hard(project(camera, vertices), faces, texture, falloff)
    np.testing.assert_allclose(picture.rgb, rgb, atol=1e-12)
    np.testing.assert_allclose(picture.alpha, alpha, atol=1e-12)


def test_antialias_gives_the_area_of_a_square(float64):
    # Edges parallel to the pixels: coverage of an image is its area, to the last digit, wherever they are.
    corners = np.array([[-0.53, -0.41, 0], [0.37, -0.41, 0], [0.37, 0.62, 0], [-0.53, 0.62, 0]])
    mesh = Mesh(jnp.asarray(corners[None]), np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    camera = orbiting(1)
    camera = type(camera)(np.eye(3)[None], np.array([[0.0, 0, -1]]), np.ones((1, 2)), np.zeros((1, 2)))
    texture = VertexColours(np.ones((1, 4, 3)))
    alpha = draw(mesh, camera, texture, "antialias", size=(16, 16)).alpha[0]
    np.testing.assert_allclose(alpha.sum() * (2 / 16) ** 2, 0.90 * 1.03, rtol=0.02)
    np.testing.assert_allclose(alpha.sum(0)[8] * 2 / 16, 1.03, atol=1e-12)
    np.testing.assert_allclose(alpha.sum(1)[8] * 2 / 16, 0.90, atol=1e-12)


@pytest.mark.parametrize("faces_are_data", [False, True])
def test_antialias_leaves_the_inside_alone(bumpy_meshes, faces_are_data):
    vertices, faces = icosphere(2)
    camera, rng = orbiting(), np.random.default_rng(0)
    points = jnp.asarray(np.stack([0.5 * vertices] * 2), jnp.float32)
    texture = FaceTexels(rng.random((2, len(faces), 1, 1, 3)).astype(np.float32))
    mesh = Mesh(points, jnp.stack([faces, faces])) if faces_are_data else Mesh(points, faces)
    smooth, sharp = (draw(mesh, camera, texture, rule, size=(32, 32)) for rule in ("antialias", "hard"))
    changed = np.abs(np.asarray(smooth.rgb - sharp.rgb)).max(-1) > 1e-6
    seen = np.asarray(sharp.face_id) >= 0
    neighbours = [np.roll(seen, shift, axis) for shift in (1, -1) for axis in (1, 2)]
    border = np.any([seen != other for other in neighbours], axis=0)
    assert changed.sum() > 20 and not (changed & ~border).any()


# Colours behind a transparency of 1e-6 are left out of layers.
@pytest.mark.parametrize("rule, atol", [("layered", 2e-6), ("antialias", 1e-10), ("hard", 1e-12)])
@pytest.mark.parametrize("which", range(3))
def test_picture_and_gradient_agree_with_brute_force(float64, bumpy_meshes, rule, atol, which):
    vertices, faces, rng = bumpy_meshes
    texture, camera = textures(rng, faces)[which], orbiting()
    weights, mask_weights = rng.normal(size=(2, *SIZE, 3)), rng.normal(size=(2, *SIZE))

    def loss(vertices, texture):
        picture = draw(Mesh(vertices, faces), camera, texture, rule, falloff="exponential")
        return (picture.rgb * weights).sum() + (picture.alpha * mask_weights).sum(), picture

    def brute_force(vertices, texture):
        clip = project(camera, vertices)
        if rule == "layered":
            return expected_layered(clip, faces, texture)
        if rule == "antialias":
            return expected_antialias(clip, faces, texture)
        return expected_hard(clip, faces, texture, "exponential")

    def expected(vertices, texture):
        rgb, alpha = brute_force(vertices, texture)
        return (rgb * weights).sum() + (alpha * mask_weights).sum()

    both = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    gradient, picture = both(jnp.asarray(vertices), jax.tree.map(jnp.asarray, texture))
    rgb, alpha = brute_force(vertices, texture)
    np.testing.assert_allclose(picture.rgb, rgb, atol=atol)
    np.testing.assert_allclose(picture.alpha, alpha, atol=atol)
    assert ((alpha > 0.01) & (alpha < 0.99)).sum() > 20
    gradient = np.asarray(gradient[0]), np.asarray(gradient[1].values)
    seen = 0
    for _ in range(6):
        step = np.zeros_like(vertices)
        place = tuple(rng.integers(size) for size in step.shape)
        step[place] = 1e-6
        slope = (expected(vertices + step, texture) - expected(vertices - step, texture)) / 2e-6
        np.testing.assert_allclose(gradient[0][place], slope, rtol=1e-6, atol=1e-5)
        seen += abs(slope) > 1e-3
    assert seen >= 3
    for place in zip(*np.unravel_index(rng.permutation(texture.values.size)[:4], texture.values.shape)):
        values = [texture.values.copy() for _ in range(2)]
        values[0][place] += 1e-4
        values[1][place] -= 1e-4
        slope = np.subtract(*(expected(vertices, type(texture)(value)) for value in values)) / 2e-4
        np.testing.assert_allclose(gradient[1][place], slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", ["softmax", "layered"])
def test_faces_through_the_camera_plane_are_opaque(float64, rule):
    # A ground plane that reaches behind the camera, and a triangle that stands on it.
    plane = [[-50, -1, -40], [50, -1, -40], [50, -1, 9], [-50, -1, 9]]
    points = np.array([*plane, [-1, -1, -6], [1, -1, -6], [0, 1, -6]], float)
    faces = np.array([[0, 2, 1], [0, 3, 2], [4, 5, 6]], np.int32)
    texture = VertexColours(np.random.default_rng(0).random((1, 7, 3)))
    camera = orbiting(1)
    camera = type(camera)(np.eye(3)[None], np.array([[0.0, 0, -0.5]]), np.ones((1, 2)), np.zeros((1, 2)))
    weights = np.random.default_rng(1).normal(size=(*SIZE, 3))

    def expected(points, texture):
        clip = project(camera, points[None])[0]
        colour = shader(texture, faces, 0)
        if rule == "layered":
            return reference.layered(clip, faces, SIZE, colour, sigma=SIGMA, background=np.array(SKY), cutoff=CUTOFF)[0]
        return reference.softmax(
            clip, faces, SIZE, colour, near=0.1, far=100.0, sigma=SIGMA, gamma=1e-4, background=np.array(SKY),
            cutoff=CUTOFF,
        )  # fmt: skip

    def loss(points):
        picture = draw(Mesh(points[None], faces), camera, texture, rule)
        return (picture.rgb[0] * weights).sum(), picture

    gradient, picture = jax.jit(jax.grad(loss, has_aux=True))(jnp.asarray(points))
    np.testing.assert_allclose(picture.rgb[0], expected(points, texture), atol=2e-6)
    assert (np.asarray(picture.alpha[0, 8:]) == 1).all()
    for place in [(0, 0), (2, 1), (3, 2), (4, 0), (6, 1), (6, 2)]:
        step = np.zeros_like(points)
        step[place] = 1e-6
        slope = ((expected(points + step, texture) - expected(points - step, texture)) * weights).sum() / 2e-6
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-4)


def test_exponential_coverage_is_one_inside(float64, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    camera, texture = orbiting(), VertexColours(np.ones((2, 12, 3)))
    picture = draw(Mesh(jnp.asarray(vertices), faces), camera, texture, "hard", falloff="exponential")
    for image, clip in enumerate(project(camera, vertices)):
        wanted = reference.coverage(clip, faces, SIZE, SIGMA, CUTOFF, "exponential")
        np.testing.assert_allclose(picture.alpha[image], wanted, atol=1e-12)
        assert (wanted[reference.rasterize(clip, faces, SIZE)[0] >= 0] == 1).all()
