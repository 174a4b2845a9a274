"""What the camera shows of a mesh: against the renderer and loops in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.model.projection import View, look, projected_texels
from ast_jax.model.template import sphere
from render import FaceTexels, Mesh, orbit, render
from render.texture import texel_points

LEVEL, TEXELS, SIZE = 2, 3, 96
CAMERA = orbit(jnp.array([2.732]), jnp.array([0.3]), jnp.array([0.8]), jnp.array([0.45]))


def _colour(points):
    """A colour for every place in space that changes slowly."""
    return 0.5 + 0.4 * np.sin(3 * points + np.array([0.0, 1.0, 2.0]))


def _texels(vertices, faces) -> FaceTexels:
    points = np.einsum("kc,fcx->fkx", texel_points(TEXELS), vertices[faces])
    return FaceTexels(jnp.float32(_colour(points)).reshape(1, len(faces), TEXELS, TEXELS, 3))


def _photograph(vertices, faces) -> np.ndarray:
    """A picture of a body, with its coverage as fourth channel."""
    mesh = Mesh(jnp.float32(vertices)[None], faces)
    drawn = render(mesh, CAMERA, (SIZE, SIZE), texture=_texels(vertices, faces), blending="antialias")
    return np.concatenate([drawn.rgb, drawn.alpha[..., None]], axis=-1)


def _dumbbell() -> np.ndarray:
    """Two balls and a thin neck, seen nearly along it: the one in front hides a part of the other."""
    points, axis = sphere(LEVEL).vertices, np.array([0.96, 0.0, 0.28])
    return points * (0.12 + 0.3 * (points @ axis) ** 2)[:, None]


def _look(vertices, image) -> View:
    view = jax.jit(look, static_argnums=(3, 4))(image, jnp.float32(vertices)[None], CAMERA, LEVEL, TEXELS)
    return View(*(np.asarray(part)[0] for part in view))


@pytest.mark.parametrize("vertices", [0.4 * sphere(LEVEL).vertices, _dumbbell()], ids=["sphere", "dumbbell"])
def test_what_can_be_trusted_has_the_colours_of_the_surface(vertices):
    faces = sphere(LEVEL).faces
    view = _look(vertices, _photograph(vertices, faces))
    truth, trusted = np.asarray(_texels(vertices, faces).values)[0], view.trust > 0.5
    assert 0.15 < trusted.mean() < 0.5
    assert np.abs(view.colours - truth)[trusted].max() < 0.12
    assert np.abs(view.colours - truth)[~trusted].max() > 0.5


def test_texels_are_seen_where_a_ray_says_so():
    """A texel is hidden when the segment to the camera meets another face: every one of a facing face is tried."""
    vertices, faces = _dumbbell(), sphere(LEVEL).faces
    view = _look(vertices, _photograph(vertices, faces)[..., :3])
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    eye = np.asarray(CAMERA.position_world)[0].astype(np.float64)
    facing = ((eye - corners.mean(1)) * normals).sum(-1) > 0
    points = np.einsum("kc,fcx->fkx", texel_points(TEXELS), corners)
    hidden = np.array(
        [[_is_met(point, eye, np.delete(corners, k, 0)) for point in points[k]] for k in np.flatnonzero(facing)]
    )
    assert hidden.sum() >= 100
    assert not view.trust[~facing].any()
    # A z-buffer sees the middle of a pixel, not the texel: some at the rim differ.
    assert np.mean((view.trust[facing].reshape(hidden.shape) > 0) == ~hidden) > 0.9
    np.testing.assert_allclose(np.linalg.norm(view.normals, axis=-1), 1, atol=1e-5)
    assert (view.normals[view.seen > 0.99][:, 2] > 0).all()  # towards the viewer


def _is_met(start, stop, corners) -> bool:
    """Möller and Trumbore 1997, in double precision."""
    along, first, second = stop - start, corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(along, second)
    determinant = (first * across).sum(-1)
    offset = start - corners[:, 0]
    u = (offset * across).sum(-1) / determinant
    other = np.cross(offset, first)
    v, t = (along * other).sum(-1) / determinant, (second * other).sum(-1) / determinant
    return bool(((u > 0) & (v > 0) & (u + v < 1) & (t > 1e-9) & (t < 1)).any())


def test_without_coverage_the_border_is_trusted_too():
    vertices, faces = 0.4 * sphere(LEVEL).vertices, sphere(LEVEL).faces
    image = _photograph(vertices, faces)
    cut, whole = _look(vertices, image), _look(vertices, image[..., :3])
    np.testing.assert_allclose(whole.trust.mean((1, 2)), whole.seen, atol=1e-6)
    assert (cut.trust <= whole.trust).all() and (cut.trust < whole.trust).any()


def test_nothing_of_the_object_in_the_picture_is_not_trusted():
    image = np.concatenate([np.ones((1, SIZE, SIZE, 3)), np.zeros((1, SIZE, SIZE, 1))], axis=-1).astype(np.float32)
    assert not _look(0.4 * sphere(LEVEL).vertices, image).trust.any()


def test_the_mirror_image_of_a_symmetric_body_has_its_colours():
    """A body coloured by |x|: what a face shows is what its mirror image would."""
    ball, vertices = sphere(LEVEL), 0.4 * sphere(LEVEL).vertices
    points = np.einsum("kc,fcx->fkx", texel_points(TEXELS), vertices[ball.faces])
    points[..., 0] = np.abs(points[..., 0])
    truth = _colour(points).reshape(-1, TEXELS, TEXELS, 3)
    view = View(*(jnp.asarray(part)[None] for part in (np.zeros((320, 3)),) * 2 + (np.ones(320), truth, truth[..., 0])))
    mirrored = view.of_mirrored(LEVEL)
    np.testing.assert_allclose(mirrored.colours[0], truth, atol=1e-6)
    np.testing.assert_allclose(mirrored.trust[0], truth[..., 0], atol=1e-6)


def test_elsewhere_is_the_colour_of_the_nearest_face_that_is_seen():
    rng = np.random.default_rng(0)
    vertices, faces = 0.4 * sphere(LEVEL).vertices, sphere(LEVEL).faces
    seen = rng.uniform(size=len(faces)) < 0.3
    colours = rng.uniform(size=(len(faces), TEXELS, TEXELS, 3)).astype(np.float32)
    trust = np.broadcast_to(seen[:, None, None], colours.shape[:-1]).astype(np.float32)
    middle = vertices[faces].mean(1)
    nothing = np.zeros_like(middle)
    view = View(*(jnp.asarray(part)[None] for part in (nothing, nothing, seen.astype(np.float32), colours, trust)))
    texels = np.asarray(projected_texels(view, jnp.float32(vertices)[None], LEVEL))[0]
    np.testing.assert_array_equal(texels[seen], colours[seen])
    for face in np.flatnonzero(~seen):
        distance = np.linalg.norm(middle[seen] - middle[face], axis=1)
        nearest = np.flatnonzero(distance < distance.min() + 1e-6)
        mean = colours[seen][nearest].mean((1, 2))
        assert min(np.abs(texels[face] - colour).max() for colour in mean) < 1e-5
