"""Camera terms at hand-made values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from ast_jax.losses.camera import (
    camera_loss,
    camera_place_loss,
    camera_quaternion_loss,
    camera_rotation_loss,
    intermediate_camera_loss,
    uniform_pose_loss,
)
from render import orbit


def test_uniform_pose_by_hand():
    # Means over the batch (0.75, 0.25): |0.75 - 0.5| and |0.25 - 0.5|, mean 0.25.
    np.testing.assert_allclose(uniform_pose_loss(jnp.asarray([[1.0, 0.0], [0.5, 0.5]])), 0.25)
    assert uniform_pose_loss(jnp.asarray([[1.0, 0.0], [0.0, 1.0]])) == 0.0


def test_rotation_loss_is_half_of_one_minus_cosine_of_the_angle():
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    angles_rad = np.array([0.0, 0.1, 1.0, 2.5, np.pi])
    first = Rotation.from_euler("xyz", [0.3, -1.2, 2.0])
    target = (first * Rotation.from_rotvec(angles_rad[:, None] * axis)).as_matrix()
    rotation = np.repeat(first.as_matrix()[None], len(angles_rad), axis=0)
    actual = camera_rotation_loss(rotation.astype(np.float32), target.astype(np.float32))
    np.testing.assert_allclose(actual, (1 - np.cos(angles_rad)) / 2, atol=1e-6)


def test_cmr_measures_rotations_by_quaternions():
    first, second = Rotation.random(20, rng=0), Rotation.random(20, rng=1)
    camera = orbit(2.7, np.zeros(20), np.zeros(20), np.radians(25.0))
    cameras = [dataclasses.replace(camera, rotation=r.as_matrix().astype(np.float32)) for r in (first, second)]
    wanted = 1 - np.abs((first.as_quat() * second.as_quat()).sum(-1))
    np.testing.assert_allclose(camera_quaternion_loss(*cameras), wanted, atol=1e-5)
    moved = dataclasses.replace(cameras[1], principal=camera.principal + np.array([[0.1, -0.2]], np.float32))
    np.testing.assert_allclose(camera_quaternion_loss(cameras[0], moved) - wanted, 0.05, atol=1e-5)
    same = jax.grad(lambda c: camera_quaternion_loss(c, cameras[0]).sum())(cameras[0])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(same))


def test_rotation_gradient_is_finite_at_the_minimum():
    eye = jnp.eye(3)[None]
    assert np.all(np.isfinite(jax.grad(lambda r: camera_rotation_loss(r, eye).sum())(eye)))


def test_place_loss_by_plain_arithmetic():
    """Seen from the front at distance 3, corners at depth 3 -+ 0.25: a shift moves all of them by itself."""
    true = orbit(3.0, np.array([0.0]), np.array([0.0]), np.radians(30.0))
    shifted = dataclasses.replace(true, principal=true.principal + jnp.array([[0.3, -0.4]]))
    np.testing.assert_allclose(camera_place_loss(shifted, true), 0.25, rtol=1e-5)
    larger = dataclasses.replace(true, focal=true.focal * 1.1)
    focal = 1 / np.tan(np.radians(15.0))
    expected = np.mean([2 * (0.1 * focal * 0.25 / depth) ** 2 for depth in (2.75, 3.25)])
    np.testing.assert_allclose(camera_place_loss(larger, true), expected, rtol=1e-4)
    turned = dataclasses.replace(true, rotation=orbit(3.0, np.array([0.5]), np.array([2.0]), 0.5).rotation)
    np.testing.assert_allclose(camera_place_loss(turned, true), 0.0, atol=1e-12)


def test_camera_loss_is_half_the_angle_and_the_distance_but_for_a_hundredth_each():
    true = orbit(3.0, np.array([0.0]), np.array([0.0]), np.radians(30.0))
    wrong = orbit(3.0, np.array([0.0]), np.array([0.4]), np.radians(30.0))
    wrong = dataclasses.replace(wrong, principal=true.principal + jnp.array([[0.3, -0.4]]))
    expected = np.hypot(np.sin(0.2), 0.01) - 0.01 + np.hypot(0.5, 0.01) - 0.01
    np.testing.assert_allclose(camera_loss(wrong, true), expected, rtol=1e-5)
    np.testing.assert_allclose(camera_loss(true, true), 0.0, atol=1e-6)


def test_camera_loss_is_smooth_at_the_minimum():
    true = orbit(3.0, np.array([0.3]), np.array([1.0]), np.radians(30.0))
    gradient = jax.grad(lambda camera: camera_loss(camera, true).sum())(true)
    assert all(np.abs(leaf).max() < 50 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_cameras_before_the_last_count_by_their_mean():
    true = orbit(3.0, np.array([0.0, 0.2]), np.array([0.0, 1.0]), np.radians(30.0))
    steps = [
        orbit(3.0, np.array([0.0, 0.2]), np.array([0.0, 1.0]) + angle, np.radians(30.0)) for angle in (0.4, 0.1, 0.0)
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *steps)
    expected = np.mean([camera_loss(camera, true) for camera in steps], axis=0)
    np.testing.assert_allclose(intermediate_camera_loss(stacked, true), expected, rtol=1e-5)
    np.testing.assert_array_equal(intermediate_camera_loss(None, true), [0, 0])
