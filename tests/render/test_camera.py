import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from render import (
    OrthographicCamera,
    PerspectiveCamera,
    WeakPerspectiveCamera,
    look_at,
    orbit,
    quaternion_to_rotation,
)


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
    parallel = OrthographicCamera(
        np.eye(3)[None], np.array([[0, 0, -5.0]]), np.ones((1, 2)), np.zeros((1, 2)), 0.5, 8.0
    )
    for camera, origin in ((perspective, 0.0), (weak, 5.0), (parallel, 5.0)):
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


def random_cameras(rng, n):
    """One batch of each kind, turned anyhow, the origin in front."""
    quaternion = rng.normal(size=(n, 4))
    rotation = np.asarray(quaternion_to_rotation(quaternion))
    translation = np.array([0, 0, -3.0]) + 0.2 * rng.normal(size=(n, 3))
    lens, principal = rng.uniform(0.5, 2, (n, 2)), 0.3 * rng.normal(size=(n, 2))
    return [
        PerspectiveCamera(rotation, translation, lens, principal),
        OrthographicCamera(rotation, translation, lens, principal),
        WeakPerspectiveCamera(lens[:, 0], principal, quaternion, 3.0),
    ]


def test_orthographic_projects_as_worked_out_by_hand():
    # Twice as wide as high: a unit is 0.5 of the half width and 1 of the half height, square on the screen. The
    # camera is turned a quarter about +Y: it sees world -Z on its right and looks along -X.
    rotation = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    camera = OrthographicCamera(rotation, np.array([0.2, 0, -4]), np.array([0.5, 1]), np.array([0.1, -0.1]), 1.0, 9.0)
    points = np.array([[0.0, 0, 0], [0.3, 0.5, -0.4], [-2.0, 0.5, -0.4]])
    clip = camera.project(points)
    np.testing.assert_allclose(clip[:, 0], [0.2, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(clip[:, 1], [-0.1, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(clip[:, 2], [-0.25, (2 * 3.7 - 10) / 8, 0.25], atol=1e-6)
    np.testing.assert_array_equal(clip[:, 3], 1)
    np.testing.assert_allclose(camera.depth(points), [4, 3.7, 6], atol=1e-6)


def test_points_towards_the_viewer_stay_on_their_pixel(float64):
    rng = np.random.default_rng(0)
    points, step = rng.uniform(-0.5, 0.5, (4, 5, 3)), rng.uniform(-1, 1, (4, 5, 1))
    for camera in random_cameras(rng, 4):
        direction = np.asarray(camera.to_viewer(points))
        np.testing.assert_allclose(np.linalg.norm(direction, axis=-1), 1, atol=1e-12)
        here, there = (np.asarray(camera.project(p)) for p in (points, points + step * direction))
        np.testing.assert_allclose(there[..., :2] / there[..., 3:], here[..., :2] / here[..., 3:], atol=1e-9)
        assert np.all(camera.depth(points + 0.1 * direction) < camera.depth(points))
        np.testing.assert_allclose(camera.depth(points), -camera.view(points)[..., 2], atol=1e-12)


def test_the_centre_of_a_camera_has_no_direction_but_gradients():
    camera = random_cameras(np.random.default_rng(0), 1)[0]
    centre = camera.position_world
    expected = -np.linalg.solve(camera.rotation[0], camera.translation[0])
    np.testing.assert_allclose(centre[0], expected, atol=1e-5)
    aside = PerspectiveCamera(np.eye(3), np.zeros(3), np.ones(2), np.zeros(2))
    for x in (0.0, 1e-30, 1e-12):
        direction = aside.to_viewer(jnp.array([[x, 0, 0]]))
        np.testing.assert_allclose(direction, [[-np.sign(x), 0, 0]], atol=1e-6)
        gradient = jax.grad(lambda points: (aside.to_viewer(points) * 0.5).sum())(jnp.array([[x, 0, 0]]))
        assert np.isfinite(gradient).all()


def test_gradient_of_directions_against_finite_differences(float64):
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 3, 3))

    for camera in random_cameras(np.random.default_rng(0), 2):
        leaves, kind = jax.tree.flatten(camera)

        def loss(points, *leaves, kind=kind):
            return jnp.sum(jnp.sin(jax.tree.unflatten(kind, leaves).to_viewer(points)))

        check_grads(jax.jit(loss), (points, *leaves), order=1, modes=["rev"], rtol=1e-5)


def test_numpy_and_jax_arrays_give_the_same():
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 3, 3)).astype(np.float32)
    for camera in random_cameras(np.random.default_rng(0), 2):
        on_device = jax.tree.map(jnp.asarray, camera)
        for method in ("view", "depth", "project", "to_viewer"):
            values = [getattr(c, method)(p) for c, p in ((camera, points), (on_device, jnp.asarray(points)))]
            np.testing.assert_allclose(*values, atol=1e-6)
