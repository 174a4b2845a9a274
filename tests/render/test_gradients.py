"""Gradients of pictures by vertices, camera, light and background, in float64 and float32, against central differences
of the float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    DirectionalLight,
    FaceTexels,
    Mesh,
    PerspectiveCamera,
    PhongLight,
    SphericalHarmonicsLight,
    VertexColours,
    icosphere,
    render,
)
from tests.render import reference
from tests.render.scenes import orbiting

SIZE, SIGMA, GAMMA, CUTOFF = (11, 15), 2e-3, 3e-3, 1e-10
FACES = icosphere(0)[1]
# Blending, light, texture: together all of each.
CASES = [
    ("softmax", "phong", "colours"),
    ("layered", "harmonics", "texels"),
    ("hard", "phong", "texels"),
    ("antialias", "directional", "colours"),
]
GROUPS = {
    "vertices": ("vertices",),
    "camera": ("rotation", "translation", "focal", "principal"),
    "light": ("direction", "colour", "ambient", "specular", "shininess", "harmonics"),
    "background": ("background",),
}


def numbers():
    """A scene, by name of its parts."""
    rng, camera = np.random.default_rng(0), orbiting(1)
    return {
        "vertices": 0.5 * icosphere(0)[0] + 0.06 * rng.normal(size=(12, 3)),
        "rotation": np.asarray(camera.rotation[0], np.float64),
        "translation": np.asarray(camera.translation[0], np.float64),
        "focal": np.asarray(camera.focal[0], np.float64) * [1, 1.2],
        "principal": np.array([0.05, -0.03]),
        "colours": rng.random((12, 3)),
        "texels": rng.random((20, 3, 3, 3)),
        "direction": np.array([0.3, 0.8, 0.6]),
        "colour": rng.random(3),
        "ambient": rng.random(3),
        "specular": rng.random(3),
        "shininess": np.array(3.3),
        "harmonics": rng.normal(size=(9, 3)),
        "background": rng.random((*SIZE, 3)),
    }


WEIGHTS = np.random.default_rng(1).normal(size=(*SIZE, 4))


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)


def harmonics(normal):
    """Real spherical harmonics up to degree 2."""
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    a, b, c, d = (np.sqrt(k / np.pi) for k in (1 / 4, 3 / 4, 15 / 4, 5 / 16))
    parts = (
        a + 0 * x,
        b * y,
        b * z,
        b * x,
        c * x * y,
        c * y * z,
        d * (3 * z * z - 1),
        c * x * z,
        (x * x - y * y) * c / 2,
    )
    return np.stack(parts, axis=-1)


def lit(light, scene, colour, normal, to_viewer):
    if light is None:
        return colour
    normal, to_viewer = unit(normal), unit(to_viewer)
    if light == "harmonics":
        return colour * (harmonics(normal) @ scene["harmonics"])
    direction = unit(scene["direction"])
    facing = (normal @ direction)[..., None]
    result = colour * (scene["ambient"] + scene["colour"] * np.maximum(facing, 0))
    if light == "phong":
        mirrored = ((2 * facing * normal - direction) * to_viewer).sum(-1, keepdims=True)
        seen = (facing > 0) & (mirrored > 0)
        result = result + np.where(seen, scene["specular"] * np.where(seen, mirrored, 1) ** scene["shininess"], 0)
    return result


def shader(scene, blending, light, texture):
    """Colours of a face index and barycentrics, as the reference wants them."""
    points = scene["vertices"]
    corners = points[FACES]
    normals = np.zeros_like(points)
    np.add.at(normals, FACES, np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, None])
    normals, to_viewer = unit(normals), -scene["rotation"].T @ scene["translation"] - points

    def colour(index, weights):
        face = FACES[index]
        if blending == "softmax":  # The corners are lit, not the pixels.
            return weights @ lit(light, scene, scene["colours"][face], normals[face], to_viewer[face])
        if texture == "colours":
            albedo = weights @ scene["colours"][face]
        else:
            albedo = reference.texel_colour(scene["texels"][index], weights)
        return lit(light, scene, albedo, weights @ normals[face], weights @ to_viewer[face])

    return colour


def expected(scene, blending, light, texture):
    view = scene["vertices"] @ scene["rotation"].T + scene["translation"]
    depth = -view[:, 2:]
    clip = np.concatenate([view[:, :2] * scene["focal"] + depth * scene["principal"], 0 * depth, depth], axis=1)
    colour, sky = shader(scene, blending, light, texture), scene["background"]
    if blending == "layered":
        rgb, alpha = reference.layered(clip, FACES, SIZE, colour, sigma=SIGMA, background=sky, cutoff=CUTOFF)
    elif blending == "softmax":
        alpha = reference.coverage(clip, FACES, SIZE, SIGMA, CUTOFF)
        rgb = reference.softmax(
            clip, FACES, SIZE, colour, near=0.1, far=100.0, sigma=SIGMA, gamma=GAMMA, background=sky, cutoff=CUTOFF
        )
    else:
        picture, face_id, depth = reference.painted(clip, FACES, SIZE, colour, np.zeros(3))
        picture[..., :3] += (face_id < 0)[..., None] * sky
        if blending == "antialias":
            picture = reference.antialias(picture, face_id, depth, clip, FACES)
        rgb, alpha = picture[..., :3], picture[..., 3]
        if blending == "hard":
            alpha = reference.coverage(clip, FACES, SIZE, SIGMA, CUTOFF)
    depth = reference.rasterize(clip, FACES, SIZE)[2]
    return (rgb * WEIGHTS[..., :3]).sum() + (alpha * WEIGHTS[..., 3]).sum() + 0.1 * depth.sum()


def drawn(scene, blending, light, texture):
    part = {name: value[None] for name, value in scene.items()}
    lamp = part["direction"], part["colour"], part["ambient"]
    lights = {
        None: None,
        "directional": DirectionalLight(*lamp),
        "phong": PhongLight(*lamp, part["specular"], part["shininess"]),
        "harmonics": SphericalHarmonicsLight(part["harmonics"]),
    }
    textures = {"colours": VertexColours(part["colours"]), "texels": FaceTexels(part["texels"])}
    camera = PerspectiveCamera(part["rotation"], part["translation"], part["focal"], part["principal"])
    picture = render(
        Mesh(part["vertices"], FACES), camera, SIZE, texture=textures[texture], light=lights[light],
        blending=blending, sigma=SIGMA, gamma=GAMMA, cutoff=CUTOFF, background=part["background"],
    )  # fmt: skip
    weights = jnp.asarray(WEIGHTS, picture.rgb.dtype)
    values = (picture.rgb[0] * weights[..., :3]).sum() + (picture.alpha[0] * weights[..., 3]).sum()
    return values + 0.1 * picture.depth[0].sum()


def slope(scene, move, case):
    """Derivative along a move: central differences of fourth order. No kink is as near."""
    h = 2e-6
    at = [
        expected(scene | {name: scene[name] + step * h * way for name, way in move.items()}, *case)
        for step in (-2, -1, 1, 2)
    ]
    return (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h)


def along(gradient, move):
    return sum((np.asarray(gradient[name], np.float64) * way).sum() for name, way in move.items())


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_gradients_are_derivatives(float64, case):
    scene, rng = numbers(), np.random.default_rng(2)
    both = jax.jit(jax.value_and_grad(lambda scene: drawn(scene, *case)))
    value, gradient = both(jax.tree.map(jnp.asarray, scene))
    np.testing.assert_allclose(value, expected(scene, *case), rtol=1e-9)
    for group, names in GROUPS.items():
        move = {name: rng.normal(size=scene[name].shape) for name in names}
        np.testing.assert_allclose(along(gradient, move), slope(scene, move, case), rtol=1e-6, err_msg=group)


@pytest.mark.parametrize("blending", ["softmax", "layered", "hard", "antialias"])
def test_gradients_in_single_precision(blending):
    # Without a light, which takes most of the time of a compilation and is nothing but a few products.
    scene, rng, case = numbers(), np.random.default_rng(3), (blending, None, "colours")
    single = jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), scene)
    gradient = jax.jit(jax.grad(lambda scene: drawn(scene, *case)))(single)
    scene = jax.tree.map(lambda part: np.asarray(part, np.float64), single)
    for names in (("vertices",), ("rotation", "translation", "focal", "principal"), ("colours",)):
        moves = [{name: rng.normal(size=scene[name].shape) for name in names} for _ in range(4)]
        wanted = np.array([slope(scene, move, case) for move in moves])
        found = np.array([along(gradient, move) for move in moves])
        assert np.linalg.norm(found - wanted) <= 1e-3 * np.linalg.norm(wanted), names
