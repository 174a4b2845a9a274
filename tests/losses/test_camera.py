"""Camera terms at hand-made values."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from ast_jax.losses.camera import camera_rotation_loss, uniform_pose_loss


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


def test_rotation_gradient_is_finite_at_the_minimum():
    eye = jnp.eye(3)[None]
    assert np.all(np.isfinite(jax.grad(lambda r: camera_rotation_loss(r, eye).sum())(eye)))
