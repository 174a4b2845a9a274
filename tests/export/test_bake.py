"""Baked textures against colours that are known at every point of the surface."""

import functools
import inspect

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from ast_jax.data.crop import Box, photo_camera
from ast_jax.export.bake import BakedTexture, bake_texture
from ast_jax.export.unwrap import unwrap
from ast_jax.model.template import carry_points, sphere
from render import FaceTexels, Mesh, UVImage, VertexColours, orbit, render

LEVEL, SIZE, RADIUS = 2, 256, 0.45
BALL, FLAT = sphere(LEVEL), unwrap(LEVEL)
VERTICES = (RADIUS * BALL.vertices).astype(np.float32)
MAGENTA = (1.0, 0.0, 1.0)  # behind the object: far from every colour of it


def true_colour(points: np.ndarray) -> np.ndarray:
    """Linear in the position, so that colours of vertices give it on flat faces exactly."""
    matrix = np.array([[0.1, 0.05, 0.0], [0.1, 0.2, 0.1], [0.0, 0.05, 0.1]])
    return np.array([0.2, 0.6, 0.2]) + points / RADIUS @ matrix.T


@functools.cache
def camera(azimuth_deg: float = 90.0):
    return orbit(2.732, np.zeros(1), np.radians([azimuth_deg]), np.radians(24.0))


@functools.cache
def photograph(azimuth_deg: float = 90.0, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    colours = VertexColours(jnp.asarray(true_colour(VERTICES), jnp.float32)[None])
    mesh = Mesh(jnp.asarray(VERTICES)[None], BALL.faces)
    drawn = render(
        mesh, camera(azimuth_deg), (2 * size, 2 * size), texture=colours, background=MAGENTA, blending="antialias"
    )
    mean = lambda x: np.asarray(x[0]).reshape(size, 2, size, 2, -1).mean((1, 3))  # noqa: E731
    return mean(drawn.rgb), mean(drawn.alpha)[..., 0]


def bake(texels, azimuth_deg: float = 90.0, *, size: int = SIZE, **options) -> BakedTexture:
    picture, mask = photograph(azimuth_deg)
    options = dict(camera=camera(azimuth_deg), picture=picture, mask=mask, level=LEVEL, size=size, **options)
    texture = None if texels is None else FaceTexels(texels[None])
    return bake_texture(VERTICES, BALL.faces, texture, **options)


def sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear filtering by scipy: pixel centres at +0.5, v upwards."""
    at = [(1 - uv[:, 1]) * len(image) - 0.5, uv[:, 0] * len(image) - 0.5]
    channels = [scipy.ndimage.map_coordinates(image[..., k] / 255, at, order=1, mode="nearest") for k in range(3)]
    return np.stack(channels, -1)


def on_faces(baked: BakedTexture, barycentric=(0.4, 0.35, 0.25)) -> np.ndarray:
    return sample(baked.image, np.einsum("k,fkc->fc", barycentric, FLAT.uv[FLAT.faces]))


def face_points(barycentric=(0.4, 0.35, 0.25)) -> np.ndarray:
    return np.einsum("k,fkc->fc", barycentric, VERTICES[BALL.faces])


def facing(azimuth_deg: float = 90.0) -> np.ndarray:
    """Cosine at the middle of each face of the sphere, from the definition."""
    middle = VERTICES[BALL.faces].mean(1)
    to_eye = np.asarray(camera(azimuth_deg).position_world)[0] - middle
    normal = middle / np.linalg.norm(middle, axis=-1, keepdims=True)
    return (normal * to_eye).sum(-1) / np.linalg.norm(to_eye, axis=-1)


GREY = np.full((len(BALL.faces), 2, 2, 3), 0.5)


def test_what_is_seen_has_the_colours_of_the_photograph():
    baked = bake(GREY, symmetric=False)
    well = facing() > 0.45
    assert 0.2 < well.mean() < 0.4
    np.testing.assert_allclose(on_faces(baked)[well], true_colour(face_points())[well], atol=0.01)
    assert baked.seen_faces[well].all() and not baked.seen_faces[facing() < 0].any()
    corners = VERTICES[BALL.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    assert area[facing() > 0.3].sum() / area.sum() - 0.03 < baked.seen_share < area[facing() > 0].sum() / area.sum()


@pytest.mark.parametrize("layout_level", [LEVEL - 1, LEVEL + 1])
def test_another_layout_shows_the_same_surface(layout_level):
    flat, middle = unwrap(layout_level), np.array([0.4, 0.35, 0.25])
    baked = bake(GREY, symmetric=False, layout_level=layout_level)
    colours = sample(baked.image, np.einsum("k,fkc->fc", middle, flat.uv[flat.faces]))
    points = np.repeat(middle[None], len(flat.faces), 0)
    face, places = carry_points(np.arange(len(flat.faces)), points, layout_level, LEVEL)
    well = facing()[face] > 0.45
    assert 0.2 < well.mean() < 0.4
    surface = np.einsum("nk,nkc->nc", places, VERTICES[BALL.faces[face]])
    np.testing.assert_allclose(colours[well], true_colour(surface)[well], atol=0.01)
    assert baked.seen_faces.shape == (len(BALL.faces),)
    assert baked.seen_share == pytest.approx(bake(GREY, symmetric=False).seen_share, abs=0.03)


def test_drawn_again_it_is_the_photograph():
    picture, mask = photograph()
    image = bake(GREY).image.astype(np.float32)[None] / 255
    texture = UVImage(jnp.asarray(image), jnp.asarray(FLAT.uv[FLAT.faces], jnp.float32), wrap="clamp")
    mesh = Mesh(jnp.asarray(VERTICES)[None], BALL.faces)
    drawn = np.asarray(render(mesh, camera(), mask.shape, texture=texture, blending="antialias").rgb)[0]
    inside = scipy.ndimage.binary_erosion(mask > 0.99, iterations=12)
    assert inside.sum() > 5000
    assert np.abs(drawn - picture)[inside].max() < 0.02


def test_it_does_not_matter_where_in_the_picture_the_object_is():
    picture, mask = photograph()
    around, larger = np.ones((330, 330, 3), np.float32), np.zeros((330, 330), np.float32)
    around[20:220, 110:310], larger[20:220, 110:310] = picture, mask
    moved = photo_camera(camera(), [Box(110.0, 20.0, 200.0)], larger.shape)
    options = dict(level=LEVEL, size=SIZE)
    found = bake_texture(
        VERTICES, BALL.faces, FaceTexels(GREY[None]), camera=moved, picture=around, mask=larger, **options
    )
    difference = np.abs(found.image.astype(int) - bake(GREY).image)
    assert difference.mean() < 0.5 and np.quantile(difference, 0.999) < 10


def test_what_is_not_seen_keeps_the_models_pattern():
    """The model is right but too dark by 0.1, and has stripes that the photograph does not have."""
    stripes = 0.1 * np.random.default_rng(0).choice([-1, 1], len(BALL.faces))[:, None]
    model = true_colour(VERTICES[BALL.faces].mean(1)) - 0.1
    baked = bake((model + stripes)[:, None, None], symmetric=False)
    hidden = facing() < -0.1
    middle = (1 / 3, 1 / 3, 1 / 3)
    difference = on_faces(baked, middle)[hidden] - (model + stripes)[hidden]
    np.testing.assert_allclose(difference, 0.1, atol=0.03)


def test_the_other_side_is_its_mirror_image():
    baked = bake(GREY, symmetric=True)
    hidden = facing(270.0) > 0.45
    mirrored = true_colour(face_points() * [-1, 1, 1])
    np.testing.assert_allclose(on_faces(baked)[hidden], mirrored[hidden], atol=0.01)
    assert not baked.seen_faces[hidden].any()


def test_without_a_model_everything_has_colours_of_the_object():
    """Neither the background nor the mixed pixels at its border get into the texture."""
    for azimuth_deg in (90.0, 0.0):
        image = bake(None, azimuth_deg, symmetric=False).image.reshape(-1, 3) / 255
        colours = true_colour(VERTICES)
        assert (image >= colours.min(0) - 0.01).all() and (image <= colours.max(0) + 0.01).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_no_step_anywhere_on_the_surface(symmetric):
    """Neither at the cut nor where the view ends: both sides of every edge have the same colour next to it."""
    baked = bake(GREY, 30.0, symmetric=symmetric, size=4 * SIZE)
    sides = {}
    for face, corners in enumerate(BALL.faces):
        for k in range(3):
            ends = sorted([(corners[k], FLAT.faces[face][k]), (corners[k - 2], FLAT.faces[face][k - 2])])
            sides.setdefault((ends[0][0], ends[1][0]), []).append([end[1] for end in ends])
    places = np.array(list(sides.values()))
    assert places.shape[1:] == (2, 2)
    for t in (0.0, 0.3, 0.5, 1.0):
        uv = (1 - t) * FLAT.uv[places[:, :, 0]] + t * FLAT.uv[places[:, :, 1]]
        one, other = sample(baked.image, uv[:, 0]), sample(baked.image, uv[:, 1])
        np.testing.assert_allclose(one, other, atol=0.03)


def test_every_pixel_is_painted_and_what_lies_outside_is_the_nearest_inside():
    picture, mask = photograph()
    options = dict(camera=camera(), picture=picture, level=LEVEL, size=SIZE)
    ones = FaceTexels(np.ones_like(GREY)[None])
    white = bake_texture(VERTICES, BALL.faces, ones, mask=np.zeros_like(mask), **options)
    assert (white.image == 255).all() and white.seen_share == 0
    shades = np.linspace(0, 1, len(BALL.faces))[:, None, None, None] * np.ones(3)
    image = bake_texture(VERTICES, BALL.faces, FaceTexels(shades[None]), mask=np.zeros_like(mask), **options).image
    assert set(image[0, :, 0]) <= set(image[2:6, :, 0].ravel())


def test_a_part_in_front_does_not_colour_what_is_behind():
    """A ball pushed in from behind until its back wall comes close to the front wall: still hidden."""
    vertices = VERTICES.copy()
    back = vertices[:, 2] < -0.3
    vertices[back, 2] += 0.6
    picture, mask = photograph(0.0)
    baked = bake_texture(
        vertices, BALL.faces, None, camera=camera(0.0), picture=picture, mask=mask, level=LEVEL, size=SIZE
    )
    moved = back[BALL.faces].all(1)
    assert moved.any() and not baked.seen_faces[moved].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"level": 3}, "faces"), ({"mask": np.ones((4, 4))}, "picture and mask"), ({"size": 4}, "size")],
)
def test_bad_input_is_named(changes, message):
    picture, mask = photograph()
    options = dict(camera=camera(), picture=picture, mask=mask, level=LEVEL, size=SIZE) | changes
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(bake_texture)(VERTICES, BALL.faces, None, **options)
