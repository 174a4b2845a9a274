import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import WeakPerspectiveCamera, gather_corners, icosphere, interpolate, rasterize
from tests.render import reference

draw = jax.jit(rasterize, static_argnums=2)

# Corner coordinates and pixel counts of pictures of Diffren (rasterize_triangles_impl_test.cc, Apache-2.0).
SIMPLE = np.array([[-0.5, -0.5, 0.8, 1.0], [0.0, 0.5, 0.3, 1.0], [0.5, -0.5, 0.3, 1.0]])
EXTERNAL = np.array([[-0.5, -0.5, 0.99, 1.0], [0.0, -0.5, -1.01, -1.0], [0.5, -0.5, 0.99, 1.0]])
ONE = np.array([[0, 1, 2]], np.int32)


def to_clip(points, depth=3.0, focal=4.0):
    w = depth - points[..., 2:]
    return np.concatenate([focal * points[..., :2], np.zeros_like(w), w], axis=-1)


def compare(clip, faces, image_size, fragments, image=0):
    face_id, barycentric, depth = reference.rasterize(clip, faces, image_size)
    np.testing.assert_array_equal(fragments.face_id[image], face_id)
    np.testing.assert_allclose(fragments.barycentric[image], barycentric, atol=2e-5)
    np.testing.assert_allclose(fragments.depth[image], depth, rtol=1e-5)
    return face_id


@pytest.mark.parametrize("image_size", [(17, 30), (29, 8), (1, 1)])
def test_agrees_with_brute_force(bumpy_meshes, image_size):
    vertices, faces, _ = bumpy_meshes
    clip = to_clip(vertices)
    fragments = draw(jnp.asarray(clip, jnp.float32), faces, image_size)
    for image in range(2):
        compare(clip[image], faces, image_size, fragments, image)


def test_padded_faces_do_not_exist(bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip, mask = to_clip(vertices), np.stack([np.ones(20, bool), np.arange(20) < 9])
    fragments = draw(jnp.asarray(clip, jnp.float32), np.stack([faces, faces]), (17, 30), face_mask=mask)
    compare(clip[0], faces, (17, 30), fragments, 0)
    compare(clip[1], faces[:9], (17, 30), fragments, 1)


@pytest.mark.parametrize("corners, pixels", [(SIMPLE, 38400), (EXTERNAL, 48000)])
def test_counts_of_diffren(corners, pixels):
    face_id = draw(jnp.asarray(corners[None], jnp.float32), ONE, (480, 640)).face_id
    assert int((face_id == 0).sum()) == pixels


def test_barycentrics_of_diffren():
    # Its pixel (32, 24) of 64 x 48 with row 0 at the bottom is row 23 here.
    fragments = draw(jnp.asarray(SIMPLE[None], jnp.float32), ONE, (48, 64))
    np.testing.assert_allclose(fragments.barycentric[0, 23, 32], [0.22395833, 0.52083333, 0.25520833], atol=1e-6)


def test_camera_inside_a_box(float64):
    vertices = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], np.int32)
    clip = to_clip(vertices @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0], depth=0.2, focal=1.0)
    face_id = compare(clip, faces, (23, 30), draw(jnp.asarray(clip[None]), faces, (23, 30)))
    # Some wall is seen in every direction, and several of them.
    assert (face_id >= 0).all() and len(np.unique(face_id)) > 3


@pytest.mark.parametrize("winding", [[0, 1, 2], [2, 1, 0]])
def test_a_centre_on_an_edge_belongs_to_the_face(winding):
    # With 5 columns the edge x = 0 runs through the centres of column 2.
    corners = np.array([[[0, -3, 0, 1], [0, 3, 0, 1], [3, 0, 0, 1]]], np.float32)
    face_id = np.asarray(draw(corners, np.array([winding], np.int32), (4, 5)).face_id[0])
    np.testing.assert_array_equal(face_id, np.where(np.arange(5) >= 2, 0, -1)[None].repeat(4, axis=0))


def test_equal_depth_goes_to_the_lower_face():
    clip = jnp.asarray(SIMPLE[None], jnp.float32)
    faces = np.array([[2, 1, 0], [0, 1, 2], [1, 2, 0]], np.int32)
    face_id = np.unique(draw(clip, faces, (32, 32)).face_id)
    np.testing.assert_array_equal(face_id, [-1, 0])


def test_a_face_without_area_covers_nothing():
    corners = np.array([[[-1, -1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]]], np.float32)
    fragments = draw(corners, ONE, (5, 5))
    assert (np.asarray(fragments.face_id) == -1).all() and not np.asarray(fragments.barycentric).any()


def test_shared_edges_leave_no_hole():
    vertices, faces = icosphere(3)
    face_id = draw(jnp.asarray(to_clip(0.7 * vertices[None]), jnp.float32), faces, (64, 64)).face_id[0]
    filled = np.asarray(face_id) >= 0
    for row in filled:
        columns = np.flatnonzero(row)
        assert len(columns) == 0 or row[columns[0] : columns[-1] + 1].all()


def test_weak_perspective_orders_by_view_depth():
    camera = WeakPerspectiveCamera(np.ones(1), np.zeros((1, 2)), np.array([[1.0, 0, 0, 0]]))
    square = np.array([[-9, -9, 0], [9, -9, 0], [0, 9, 0]], float)
    points = jnp.asarray(np.concatenate([square - [0, 0, 0.5], square + [0, 0, 0.5]])[None], jnp.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    assert (np.asarray(draw(camera.project(points), faces, (4, 4)).face_id) == 1).all()
    fragments = draw(camera.project(points), faces, (4, 4), vertex_depth=camera.depth(points))
    np.testing.assert_allclose(fragments.depth, 4.5, rtol=1e-6)


def test_interpolation_is_perspective_correct_and_differentiable(float64, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    clip, values, picture = to_clip(vertices), rng.random((2, 12, 4)), rng.normal(size=(2, 9, 12, 4))
    corners = np.asarray(gather_corners(jnp.asarray(values), faces))

    @jax.jit
    def loss(clip, values):
        fragments = rasterize(clip, faces, (9, 12))
        return (interpolate(fragments, values, faces) * picture).sum() + fragments.depth.sum()

    def expected(clip, values):
        total = 0.0
        for image in range(2):
            face_id, barycentric, depth = reference.rasterize(clip[image], faces, (9, 12))
            pixels = np.einsum("hwi,hwic->hwc", barycentric, values[image][faces[face_id]])
            total += (pixels * picture[image]).sum() + depth.sum()
        return total

    np.testing.assert_allclose(loss(clip, values), expected(clip, values), rtol=1e-10)
    for argument, gradient in enumerate(jax.grad(loss, argnums=(0, 1))(clip, values)):
        for _ in range(6):
            step = [np.zeros_like(clip), np.zeros_like(values)]
            place = tuple(rng.integers(size) for size in step[argument].shape)
            step[argument][place] = 1e-7
            slope = expected(clip + step[0], values + step[1]) - expected(clip - step[0], values - step[1])
            np.testing.assert_allclose(gradient[place], slope / 2e-7, rtol=1e-5, atol=1e-6)
    fragments = draw(clip, faces, (9, 12))
    np.testing.assert_array_equal(
        interpolate(fragments, jnp.asarray(corners)), interpolate(fragments, jnp.asarray(values), faces)
    )
