"""Meshes as files have them: faces with vertices of their own, faces twice, faces without area, far from the camera."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    FaceTexels,
    Mesh,
    OrthographicCamera,
    PerspectiveCamera,
    VertexColours,
    icosphere,
    orbit,
    render,
)
from render.topology import coincident_vertices, edges_of_faces, first_alike, have_area
from tests.render import reference
from tests.render.scenes import SKY, project, shader

SIZE = (16, 18)
RULES = ["softmax", "layered", "hard", "antialias"]


def ball(seed=0, batch=2):
    """Vertices that differ in a batch, faces, and a colour of each face."""
    rng, (points, faces) = np.random.default_rng(seed), icosphere(1)
    points = 0.5 * points + 0.03 * rng.normal(size=(batch, *points.shape))
    return jnp.asarray(points, jnp.float32), faces, jnp.asarray(rng.random((batch, len(faces), 1, 1, 3)), jnp.float32)


def draw(points, faces, colours, rule):
    return draw_mesh(Mesh(points, faces), colours, rule)


@functools.partial(jax.jit, static_argnums=2)
def draw_mesh(mesh, colours, rule):
    batch = len(mesh.vertices)
    camera = orbit(np.full(batch, 2.5), 0.3, np.arange(float(batch)), 0.5)
    # Weights of softmax feel the last bit of a depth, 6e-8, divided by gamma.
    options = dict(texture=FaceTexels(colours), blending=rule, background=SKY, sigma=1e-3, gamma=1e-2)
    return tuple(render(mesh, camera, SIZE, **options))[:3]


def check_same(found, wanted, atol):
    for one, two in zip(found, wanted):
        np.testing.assert_allclose(one, two, atol=atol)


@pytest.mark.parametrize("faces_are_data", [False, True])
def test_vertices_of_their_own_make_no_silhouettes(faces_are_data):
    """Textured glTF has a vertex for each face around; pictures and gradients are those of shared vertices."""
    points, faces, colours = ball()
    own = np.arange(faces.size, dtype=np.int32).reshape(faces.shape)
    if faces_are_data:
        own = jnp.broadcast_to(own, (2, *own.shape))
    weights = np.random.default_rng(1).normal(size=(2, *SIZE, 4))

    def split(points):
        return draw(points[:, faces.reshape(-1)], own, colours, "antialias")

    def shared(points):
        return draw(points, faces, colours, "antialias")

    def loss(points, function):
        rgb, alpha, face_id = function(points)
        return jnp.sum(jnp.append(rgb, alpha[..., None], axis=-1) * weights), (rgb, alpha, face_id)

    both = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    *gradients, found, wanted = (part for pair in zip(both(points, split), both(points, shared)) for part in pair)
    assert ((wanted[1] > 0.01) & (wanted[1] < 0.99)).sum() > 30
    check_same(found, wanted, 1e-6)
    np.testing.assert_allclose(*gradients, atol=1e-4 * np.abs(gradients[1]).max())


@pytest.mark.parametrize("rule", RULES)
def test_faces_without_area_draw_nothing(rule):
    points, faces, colours = ball(batch=1)
    # A corner twice, a point, and a line whose middle is a vertex of its own, rounded.
    middle = points[:, :1] + 0.37 * (points[:, 1:2] - points[:, :1])
    count = points.shape[1]
    bad = np.array([[0, 1, 1], [5, 5, 5], [0, count, 1], [1, count, 0]], np.int32)
    more = jnp.concatenate([points, middle], axis=1)
    black = jnp.zeros((1, len(bad), 1, 1, 3))
    wanted = draw(points, faces, colours, rule)
    found = draw(more, np.concatenate([faces, bad]), jnp.concatenate([colours, black], axis=1), rule)
    check_same(found, wanted, 5e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_faces_that_are_there_twice(turned):
    """With the same winding or the other, as double-sided meshes have them: the first is seen, no edge is a silhouette
    for it, and soft borders count both, as if they were slightly apart."""
    points, faces, colours = ball(batch=1)
    again = faces[:, ::-1] if turned else faces
    other = np.concatenate([faces, again]).astype(np.int32)
    both = jnp.concatenate([colours, 0.0 * colours], axis=1)
    check_same(draw(points, other, both, "antialias"), draw(points, faces, colours, "antialias"), 1e-6)
    # With vertices of their own, too.
    apart = np.concatenate([faces, again + points.shape[1]]).astype(np.int32)
    twice = jnp.concatenate([points, points], axis=1)
    check_same(draw(twice, apart, both, "antialias"), draw(points, faces, colours, "antialias"), 1e-6)
    one, two = (draw(points, f, c, "hard") for f, c in ((faces, colours), (other, both)))
    np.testing.assert_allclose(two[0], one[0], atol=1e-6)
    np.testing.assert_allclose(two[1], 1 - (1 - one[1]) ** 2, atol=1e-5)


def test_an_edge_of_three_faces_is_a_silhouette_where_nothing_goes_on(float64):
    """A wall on a floor, seen from in front and above: against brute force."""
    points = np.array([[-1, 0, 0], [1, 0, 0], [0, 0.8, 0], [0.1, 0, 1], [-0.1, 0, -1.0]]) * 0.5
    faces = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]], np.int32)
    rng = np.random.default_rng(0)
    texture, camera = VertexColours(rng.random((1, 5, 3))), orbit(np.full(1, 2.5), 0.4, 0.3, 0.6)
    clip = project(camera, points[None])[0]
    picture, face_id, depth = reference.painted(clip, faces, SIZE, shader(texture, faces, 0), np.array(SKY))
    assert set(np.unique(face_id)) == {-1, 0, 1} or set(np.unique(face_id)) == {-1, 0, 1, 2}
    wanted = reference.antialias(picture, face_id, depth, clip, faces)
    draw = jax.jit(functools.partial(render, image_size=SIZE, blending="antialias", background=SKY))
    found = draw(Mesh(jnp.asarray(points[None]), faces), camera, texture=texture)
    np.testing.assert_allclose(jnp.append(found.rgb[0], found.alpha[0, ..., None], -1), wanted, atol=1e-10)


def test_edges_are_numbered_by_place():
    points, faces, _ = ball()
    own = np.arange(faces.size, dtype=np.int32).reshape(faces.shape)
    for vertices, indices in ((points, faces), (points[:, faces.reshape(-1)], own)):
        edge, forward = (np.asarray(part) for part in edges_of_faces(vertices, indices))
        for image in range(2):
            numbers, first, count = np.unique(edge[image], return_index=True, return_counts=True)
            assert len(numbers) == 3 * len(faces) // 2 and (count == 2).all()
            # Neighbours of one winding walk their edge in two directions.
            assert all(forward[image][edge[image] == number].sum() == 1 for number in numbers)
    zeros = jnp.array([[[0.0, 1, 2], [-0.0, 1, 2], [0, 1, 2.0000002], [0, 1, 2]]])
    np.testing.assert_array_equal(coincident_vertices(zeros), [[0, 0, 2, 0]])


def test_first_alike_is_that_of_numpy():
    rng = np.random.default_rng(0)
    for count, values in ((1, 1), (50, 2), (3000, 30), (3000, 2**32 - 1)):
        keys = rng.integers(0, values, (count, 2), np.uint32)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        np.testing.assert_array_equal(first_alike(jnp.asarray(keys)), first[inverse.reshape(-1)])


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_area_is_told_from_rounding(offset):
    """Points on lines have none however they are rounded; small triangles far from the origin have."""
    rng, faces = np.random.default_rng(0), np.arange(3000, dtype=np.int32).reshape(-1, 3)
    ends = (rng.normal(size=(1000, 2, 3)) + offset).astype(np.float32)
    along = rng.random((1000, 1)).astype(np.float32)
    between = ends[:, 0] + along * (ends[:, 1] - ends[:, 0])
    lines = np.concatenate([ends, between[:, None]], axis=1).reshape(1, -1, 3)
    assert not have_area(jnp.asarray(lines), faces).any()
    small = 0.01 * rng.normal(size=(1, 3000, 3)) + offset
    assert np.mean(have_area(jnp.asarray(small, jnp.float32), faces)) > 0.99
    bad = jnp.array([[[0, 0, 0], [jnp.nan, 0, 1], [1, 0, 0.0]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    assert not have_area(bad, np.array([[0, 1, 2]], np.int32)).any()


def far_away(z):
    return PerspectiveCamera(np.eye(3)[None], jnp.array([[0.0, 0, -z]]), jnp.full((1, 2), z), np.zeros((1, 2)))


def parallel(z):
    return OrthographicCamera(np.eye(3)[None], jnp.array([[0.0, 0, -z]]), np.ones((1, 2)), np.zeros((1, 2)))


CAMERAS = {"far": far_away, "parallel": parallel}


@pytest.mark.parametrize("kind", CAMERAS)
def test_softmax_has_colours_and_gradients_at_every_depth(float64, kind):
    """Two triangles, one behind the other, moved through the far plane at 100: what is seen stays what it is."""
    points = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0], [-1, 1, -0.5], [1, 1, -0.5], [0, -1, -0.5]]) * 0.7
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    colours = jnp.asarray(np.random.default_rng(0).random((1, 6, 3)))

    @jax.jit
    @jax.value_and_grad
    def red(colours, z, points):
        camera = CAMERAS[kind](z)
        picture = render(
            Mesh(points, faces), camera, SIZE, texture=VertexColours(colours), background=(0.0, 1.0, 0.0), sigma=1e-4
        )
        return picture.rgb[..., 0].sum()

    wanted = None
    for z in (50.0, 99.0, 99.9, 100.0, 100.5, 136.6, 2000.0):
        value, gradient = red(colours, z, jnp.asarray(points[None]))
        assert np.abs(gradient).sum() > 10
        if kind == "parallel":  # Nothing but the depths changes.
            wanted = wanted or value
            np.testing.assert_allclose(value, wanted, rtol=1e-3)


def test_softmax_beyond_the_far_plane_agrees_with_brute_force(float64):
    points, faces, _ = ball(batch=1)
    texture = VertexColours(np.random.default_rng(0).random((1, points.shape[1], 3)))
    camera = CAMERAS["far"](136.6)
    options = dict(sigma=2e-3, gamma=3e-3, cutoff=1e-10)
    draw = jax.jit(functools.partial(render, image_size=SIZE, background=SKY, **options))
    found = draw(Mesh(points.astype(jnp.float64), faces), camera, texture=texture)
    clip = project(camera, np.asarray(points, np.float64))[0]
    wanted = reference.softmax(
        clip, faces, SIZE, shader(texture, faces, 0), near=0.1, far=100.0, background=np.array(SKY), **options
    )
    np.testing.assert_allclose(found.rgb[0], wanted, atol=1e-9)
