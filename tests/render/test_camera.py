import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import PerspectiveCamera, WeakPerspectiveCamera, look_at, orbit, quaternion_to_rotation


@pytest.mark.parametrize(
    "azimuth, elevation, eye", [(0, 0, [0, 0, 2]), (90, 0, [2, 0, 0]), (180, 0, [0, 0, -2]), (0, 90, [0, 2, 0])]
)
def test_orbit_stands_where_it_says(azimuth, elevation, eye):
    camera = orbit(2.0, np.deg2rad(elevation), np.deg2rad(azimuth), np.deg2rad(60.0))
    rotation = np.asarray(camera.rotation)
    np.testing.assert_allclose(-rotation.T @ np.asarray(camera.translation), eye, atol=1e-6)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-6)


def test_orbit_projects_as_worked_out_by_hand():
    # Eye on +X at distance 2, so +Z is to the left and +Y up; tan(30 degrees) = 1 / sqrt(3).
    camera = orbit(np.full(1, 2.0), np.zeros(1), np.full(1, np.pi / 2), np.full(1, np.pi / 3), aspect=2.0)
    clip = camera.project(jnp.array([[[0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [1.0, 0.0, 0.0]]]))[0]
    np.testing.assert_allclose(clip[:, 3], [2, 2, 2, 1], atol=1e-6)
    ndc = clip[:, :2] / clip[:, 3:]
    root = np.sqrt(3)
    np.testing.assert_allclose(ndc, [[0, 0], [0, root / 4], [-root / 8, 0], [0, 0]], atol=1e-6)


def test_clip_depth_runs_from_minus_one_at_near_to_one_at_far():
    one = np.ones(1)
    perspective = PerspectiveCamera(np.eye(3)[None], np.zeros((1, 3)), np.ones((1, 2)), np.zeros((1, 2)), 0.5, 8.0)
    weak = WeakPerspectiveCamera(one, np.zeros((1, 2)), np.array([[1.0, 0, 0, 0]]), 5.0, 0.5, 8.0)
    for camera, origin in ((perspective, 0.0), (weak, 5.0)):
        points = jnp.array([[[0, 0, origin - 0.5], [0, 0, origin - 8.0]]])
        clip = camera.project(points)[0]
        np.testing.assert_allclose(clip[:, 2] / clip[:, 3], [-1, 1], atol=1e-5)
        np.testing.assert_allclose(camera.depth(points)[0], [0.5, 8.0], atol=1e-6)


def test_principal_point_moves_the_image_whatever_the_depth():
    camera = PerspectiveCamera(np.eye(3)[None], np.zeros((1, 3)), np.ones((1, 2)), np.array([[0.25, -0.5]]))
    clip = camera.project(jnp.array([[[0.0, 0, -1], [0, 0, -7]]]))[0]
    np.testing.assert_allclose(clip[:, :2] / clip[:, 3:], [[0.25, -0.5]] * 2, atol=1e-6)


def test_weak_perspective_scales_turns_and_shifts():
    half = np.sqrt(0.5)
    # A quarter turn about +Z carries +X to +Y.
    camera = WeakPerspectiveCamera(np.array([2.0]), np.array([[0.1, 0.2]]), np.array([[half, 0, 0, half]]))
    clip = camera.project(jnp.array([[[0.3, 0.0, 0.4]]]))[0, 0]
    np.testing.assert_allclose(clip[:2], [0.1, 0.2 + 0.6], atol=1e-6)
    assert clip[3] == 1
    np.testing.assert_allclose(camera.depth(jnp.array([[[0.3, 0.0, 0.4]]]))[0, 0], 4.6, atol=1e-6)


def test_quaternion_agrees_with_scipy():
    from scipy.spatial.transform import Rotation

    quaternions = np.random.default_rng(0).normal(size=(5, 4))
    expected = Rotation.from_quat(np.roll(quaternions, -1, axis=1)).as_matrix()
    np.testing.assert_allclose(quaternion_to_rotation(jnp.asarray(quaternions)), expected, atol=1e-6)
    gradient = jax.grad(lambda q: quaternion_to_rotation(q).sum())(jnp.zeros(4))
    assert np.isfinite(gradient).all()


def test_look_at_agrees_with_orbit_and_survives_the_poles():
    azimuth, elevation = np.array([0.3, 2.0, 5.0]), np.array([0.2, -0.9, 1.2])
    camera = orbit(np.full(3, 2.5), elevation, azimuth, np.full(3, 0.5))
    eye = -jnp.einsum("bji,bj->bi", camera.rotation, camera.translation)
    rotation, translation = look_at(eye, jnp.zeros((3, 3)), jnp.broadcast_to(jnp.array([0.0, 1, 0]), (3, 3)))
    np.testing.assert_allclose(rotation, camera.rotation, atol=1e-5)
    np.testing.assert_allclose(translation, camera.translation, atol=1e-5)
    for up in ([0.0, 1, 0], [0.0, -1, 0]):
        rotation, _ = look_at(jnp.array([0.0, 3, 0]), jnp.zeros(3), jnp.array(up))
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
        np.testing.assert_allclose(rotation[2], [0, 1, 0], atol=1e-6)


def test_leading_axes_are_free():
    camera = orbit(np.full((2, 3), 2.0), np.zeros((2, 3)), np.zeros((2, 3)), np.full((2, 3), 0.5))
    points = jnp.zeros((2, 3, 7, 3))
    flat = jax.tree.map(lambda x: x.reshape(6, *x.shape[2:]), camera)
    assert camera.project(points).shape == (2, 3, 7, 4)
    np.testing.assert_array_equal(flat.project(points.reshape(6, 7, 3)), camera.project(points).reshape(6, 7, 4))
