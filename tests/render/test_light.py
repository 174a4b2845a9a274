import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import sph_harm_y

from render import (
    CornerColours,
    DirectionalLight,
    FaceTexels,
    Mesh,
    PerspectiveCamera,
    PhongLight,
    SphericalHarmonicsLight,
    UVImage,
    VertexColours,
    gather_corners,
    icosphere,
    lambert_coefficients,
    render,
    shade,
    shade_texture,
)
from tests.render import reference

ONE, BLACK = np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32)


def row(*numbers):
    return np.array([[numbers]], np.float32)


def harmonics(points):
    """Real spherical harmonics `[m, 9]` from scipy's complex ones, which carry the sign (-1)^m."""
    x, y, z = points.T
    theta, phi = np.arccos(z), np.arctan2(y, x)
    columns = []
    for degree in range(3):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi) * (-1) ** order
            part = value.real if order >= 0 else value.imag
            columns.append(part * (np.sqrt(2) if order else 1))
    return np.stack(columns, axis=-1)


def unit(rng, *shape):
    vectors = rng.normal(size=(*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def lights(rng, batch=2):
    direction, colour, ambient, specular = (rng.uniform(0.1, 1, (batch, 3)) for _ in range(4))
    return [
        DirectionalLight(direction, colour, ambient),
        PhongLight(direction, colour, ambient, specular, rng.uniform(2, 9, batch)),
        SphericalHarmonicsLight(rng.normal(size=(batch, 9, 3))),
    ]


def expected_shade(light, colour, normal, to_viewer):
    """One image, from the definitions."""
    if isinstance(light, SphericalHarmonicsLight):
        return colour * np.einsum("mk,kc->mc", harmonics(normal), light.coefficients[0])
    towards = light.direction[0] / np.linalg.norm(light.direction)
    shaded = []
    for albedo, n, v in zip(colour, normal, to_viewer):
        total = albedo * (light.ambient[0] + light.colour[0] * max(0, n @ towards))
        if isinstance(light, PhongLight) and n @ towards > 0:
            # The light turned half around the normal.
            mirrored = (2 * np.outer(n, n) - np.eye(3)) @ towards
            total = total + light.specular[0] * max(0, mirrored @ v) ** light.shininess[0]
        shaded.append(total)
    return np.array(shaded)


@pytest.mark.parametrize("which", range(3))
def test_agrees_with_the_definition(float64, which):
    rng = np.random.default_rng(0)
    light, colour = lights(rng)[which], rng.random((2, 4, 5, 3))
    normal, to_viewer = unit(rng, 2, 4, 5), unit(rng, 2, 4, 5)
    shaded = shade(light, colour, 3 * normal, 0.2 * to_viewer)
    for image in range(2):
        flat = (x[image].reshape(-1, 3) for x in (colour, normal, to_viewer))
        expected = expected_shade(jax.tree.map(lambda x, i=image: x[i : i + 1], light), *flat)
        np.testing.assert_allclose(shaded[image].reshape(-1, 3), expected, atol=1e-12)


@pytest.mark.parametrize("direction, diffuse", [((0, 1, 1), 0.5**0.5), ((0, 1, 0), 0.0), ((0, 1, -1), 0.0)])
def test_diffuse_values_of_pytorch3d(direction, diffuse):
    """tests/test_lighting.py (BSD): 45 and 90 degrees; and no light from behind."""
    light = DirectionalLight(np.array([direction], np.float32), ONE, BLACK)
    np.testing.assert_allclose(shade(light, row(1, 1, 1), row(0, 0, 1))[0, 0], np.full(3, diffuse), atol=1e-6)


@pytest.mark.parametrize(
    "viewer, highlight",
    [
        ((1, 1, 0), 1.0),
        ((1, -1, 0), 0.0),
        # 30 degrees off the mirrored light.
        ((np.sin(np.pi / 4 + np.pi / 6), np.cos(np.pi / 4 + np.pi / 6), 0), np.cos(np.pi / 6) ** 10),
    ],
)
def test_specular_values_of_pytorch3d(viewer, highlight):
    """tests/test_lighting.py: light at (-1, 1, 0), normal +y, shininess 10, colour (1, 0, 1)."""
    light = PhongLight(row(-1, 1, 0)[0], BLACK, BLACK, row(1, 0, 1)[0], np.full(1, 10, np.float32))
    shaded = shade(light, row(1, 1, 1), row(0, 1, 0), row(*viewer))
    np.testing.assert_allclose(shaded[0, 0], [highlight, 0, highlight], atol=1e-6)


def test_a_matt_surface_under_spherical_harmonics(float64):
    """`lambert_coefficients` is the integral over the half sphere, by Gauss quadrature exact for these functions."""
    rng = np.random.default_rng(1)
    radiance, normals = rng.normal(size=(1, 9, 3)), unit(rng, 6)
    shaded = shade(SphericalHarmonicsLight(lambert_coefficients(radiance)), np.ones((1, 6, 3)), normals[None])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    cosine, angle = (nodes + 1) / 2, np.arange(12) / 12 * 2 * np.pi
    for place, normal in enumerate(normals):
        frame = np.linalg.svd(normal[None])[2]
        side = np.sqrt(1 - cosine**2)[:, None, None]
        ring = np.cos(angle)[:, None] * frame[1] + np.sin(angle)[:, None] * frame[2]
        incoming = (cosine[:, None, None] * normal + side * ring).reshape(-1, 3)
        flux = (harmonics(incoming) @ radiance[0]).reshape(8, 12, 3)
        total = np.einsum("ijc,i,i->c", flux, cosine, weights / 2) * 2 * np.pi / 12
        np.testing.assert_allclose(shaded[0, place], total / np.pi, atol=1e-12)


def test_constant_spherical_harmonics_are_ambient_light():
    coefficients = np.zeros((1, 9, 3), np.float32)
    coefficients[:, 0] = np.sqrt(4 * np.pi)
    colour = row(0.3, 0.6, 0.9)
    np.testing.assert_allclose(shade(SphericalHarmonicsLight(coefficients), colour, row(1, 2, 3)), colour, rtol=1e-6)


@pytest.mark.parametrize("which", range(3))
def test_gradients(float64, which):
    rng = np.random.default_rng(2)
    light, weights = lights(rng)[which], rng.normal(size=(2, 15, 3))
    arguments = light, rng.random((2, 15, 3)), rng.normal(size=(2, 15, 3)), rng.normal(size=(2, 15, 3))
    uses = 4 if isinstance(light, PhongLight) else 3

    @jax.jit
    def loss(arguments):
        return (shade(*arguments) * weights).sum()

    leaves, tree = jax.tree.flatten(arguments)
    gradients = jax.tree.leaves(jax.jit(jax.grad(loss))(arguments))
    for place in range(len(leaves) - 4 + uses):
        move = rng.normal(size=leaves[place].shape)
        ends = [
            loss(jax.tree.unflatten(tree, [x + sign * move if i == place else x for i, x in enumerate(leaves)]))
            for sign in (1e-6, -1e-6)
        ]
        slope = float(ends[0] - ends[1]) / 2e-6
        assert abs(slope) > 1e-3
        np.testing.assert_allclose(np.sum(gradients[place] * move), slope, rtol=1e-6)


@pytest.mark.parametrize("which", range(3))
def test_degenerate_vectors_stay_finite(which):
    """No normal, normal away from and at right angles to the light, eye on the point, light without direction."""
    light = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), lights(np.random.default_rng(3), 1)[which])
    normals = jnp.array([[[0, 0, 0], [-1, -1, -1], [1e-30, 0, 0], [1e30, 0, 0], [0, 0, 1]]], jnp.float32)
    colour, viewer = jnp.ones_like(normals), normals.at[0, 4].set(0)
    dark = light
    if which < 2:
        dark = type(light)(**(vars(light) | {"direction": jnp.zeros((1, 3))}))
    for candidate in (light, dark):
        gradients = jax.grad(lambda *a: shade(*a).sum(), argnums=(0, 1, 2, 3))(candidate, colour, normals, viewer)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
        assert np.isfinite(shade(candidate, colour, normals, viewer)).all()
    if which < 2:
        np.testing.assert_allclose(shade(light, colour, normals, viewer)[0, 0], light.ambient[0], rtol=1e-6)


def test_no_light_changes_nothing():
    colour = row(0.2, 0.4, 0.6)
    np.testing.assert_array_equal(shade(None, colour, row(0, 0, 1)), colour)
    texture = VertexColours(colour)
    assert shade_texture(None, texture, np.zeros((1, 3), np.int32), np.zeros((1, 1, 3, 3))) is texture


@pytest.mark.parametrize("kind", ["vertex", "corner", 1, 3])
def test_light_in_textures(float64, kind):
    """Every coefficient is lit where it lies on its face."""
    rng = np.random.default_rng(4)
    faces, light = icosphere(0)[1], lights(rng)[1]
    normals, viewers = unit(rng, 2, 20, 3), unit(rng, 2, 20, 3)
    if kind in ("vertex", "corner"):
        values = rng.random((2, 12, 3))
        corners = np.asarray(gather_corners(jnp.asarray(values), faces))
        texture = VertexColours(values) if kind == "vertex" else CornerColours(corners)
        lit = shade_texture(light, texture, faces, normals, viewers)
        assert isinstance(lit, CornerColours)
        np.testing.assert_allclose(lit.values, shade(light, corners, normals, viewers), atol=1e-12)
        return
    values = rng.random((2, 20, kind, kind, 3))
    lit = shade_texture(light, FaceTexels(values), faces, normals, viewers)
    assert isinstance(lit, FaceTexels) and lit.values.shape == values.shape
    for i in range(kind):
        for j in range(kind - i):
            share = [1 / 3] * 3 if kind == 1 else [1 - (i + j) / 2, i / 2, j / 2]
            normal, viewer = (np.einsum("c,bfcx->bfx", share, x) for x in (normals, viewers))
            np.testing.assert_allclose(lit.values[:, :, i, j], shade(light, values[:, :, i, j], normal, viewer))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda light: shade(light, row(1, 1, 1), row(0, 0, 1)), "to_viewer"),
        (lambda light: shade(light, row(1, 1, 1), row(0, 0, 1)[:, 0], row(0, 0, 1)), "normal"),
        (lambda light: shade(light, row(1, 1, 1), row(0, 0, 1), row(0, 0)), "to_viewer"),
        (lambda light: shade(light, *[np.ones((2, 1, 3), np.float32)] * 3), "batch"),
        (
            lambda light: inspect.unwrap(shade_texture)(
                light, UVImage(np.ones((1, 2, 2, 3)), np.zeros((1, 3, 2))), np.zeros((1, 3)), np.zeros((1, 1, 3, 3))
            ),
            "bake_texels",
        ),
    ],
)
def test_bad_arguments_are_named(monkeypatch, call, words):
    monkeypatch.setitem(globals(), "shade", inspect.unwrap(shade))
    light = lights(np.random.default_rng(5), 1)[1]
    with pytest.raises(ValueError, match=words):
        call(light)


def test_a_highlight_on_a_large_face_is_that_of_each_pixel(float64):
    """One rectangle as wide as the picture, its far side ten times as far as the near one."""
    size, rng = (12, 16), np.random.default_rng(0)
    points = np.array([[-4.0, -1, -1], [4, -1, -1], [4, -1, -10], [-4, -1, -10]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    camera = PerspectiveCamera(np.eye(3)[None], np.zeros((1, 3)), np.ones((1, 2)), np.zeros((1, 2)))
    parts = [0.1, 0.4, -0.9], [0.2] * 3, [0.1] * 3, [1.0] * 3
    light = PhongLight(*(np.array([part]) for part in parts), np.array([30.0]))
    albedo = rng.random(3)
    texture = VertexColours(jnp.broadcast_to(jnp.asarray(albedo), (1, 4, 3)))
    for blending in ("hard", "layered"):
        draw = jax.jit(functools.partial(render, image_size=size, blending=blending, shading="flat", sigma=1e-6))
        picture = draw(Mesh(jnp.asarray(points[None]), faces), camera, texture=texture, light=light)
        seen = np.asarray(picture.face_id[0]) >= 0
        # The ray of a pixel meets the plane y = -1 where its depth is -1 / y.
        ray = reference.pixel_centres(size)[seen]
        at = np.stack([ray[:, 0], ray[:, 1], -np.ones(len(ray))], axis=-1) / -ray[:, 1:]
        normal = np.broadcast_to([0.0, 1.0, 0.0], at.shape)
        eye = -at / np.linalg.norm(at, axis=-1, keepdims=True)
        wanted = expected_shade(light, albedo + 0 * at, normal, eye)
        assert seen.sum() > 50 and np.ptp(wanted) > 0.9
        np.testing.assert_allclose(np.asarray(picture.rgb[0])[seen], wanted, atol=1e-9, err_msg=blending)
