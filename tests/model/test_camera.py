"""Camera candidates against the renderer's own orbit, and rotations against hand values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.spatial.transform import Rotation

from ast_jax.config.model import CameraConfig
from ast_jax.model.cameras.candidates import CandidateCameras, most_probable
from ast_jax.model.cameras.geometry import moved_camera, rotation_from_angles
from ast_jax.model.keypoints import KeypointHead
from render import orbit
from render.camera import rotation_from_6d


def test_angles_agree_with_the_orbit():
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(-3, 3, 5).astype(np.float32), rng.uniform(-1, 1, 5).astype(np.float32)
    expected = orbit(jnp.full(5, 2.0), jnp.asarray(elevation), jnp.asarray(azimuth), jnp.full(5, 0.5))
    rotation = rotation_from_angles(jnp.asarray(azimuth), jnp.asarray(elevation), jnp.zeros(5))
    np.testing.assert_allclose(rotation, expected.rotation, atol=1e-6)
    eye = [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
    np.testing.assert_allclose(np.einsum("bij,jb->bi", rotation, eye), np.broadcast_to([0, 0, 1], (5, 3)), atol=1e-6)


def test_positive_roll_turns_the_picture_counter_clockwise():
    rotation = rotation_from_angles(jnp.zeros(1), jnp.zeros(1), jnp.full(1, np.pi / 2))
    np.testing.assert_allclose(rotation[0] @ jnp.array([1.0, 0, 0]), [0, 1, 0], atol=1e-6)


def test_candidates_start_evenly_round_the_object_and_stay_within_reach():
    cameras = CandidateCameras(8, CameraConfig(), rngs=nnx.Rngs(0))
    summary = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8)), jnp.float32)
    camera, logits = cameras(summary)
    assert camera.rotation.shape == (2, 6, 3, 3) and camera.focal.shape == (2, 6, 2)
    np.testing.assert_array_equal(logits, np.zeros((2, 6)))
    azimuth = np.deg2rad(60 * np.arange(6))
    expected = orbit(
        jnp.full(6, 2.732), jnp.full(6, np.deg2rad(10.0)), jnp.asarray(azimuth), jnp.full(6, np.deg2rad(30.0))
    )
    for name in ("rotation", "translation", "focal", "principal"):
        np.testing.assert_allclose(getattr(camera, name)[1], getattr(expected, name), atol=1e-5)

    last = cameras.rotation.layers[-1]
    last.bias[...] = jnp.full_like(last.bias[...], 100.0)  # tanh saturates: the farthest offsets
    far, _ = cameras(summary)
    reach = rotation_from_angles(*(jnp.full(1, np.deg2rad(a)) for a in (31.2, 10 + 20.8, 31.2)))
    np.testing.assert_allclose(far.rotation[0, 0], reach[0], atol=1e-5)

    known = CameraConfig(candidate_elevations_deg=(30.0, 30.0), candidate_roll_deg=0.0, candidate_shift=(0.2, 0.1, 0.0))
    cameras = CandidateCameras(8, known, rngs=nnx.Rngs(0))
    for mlp in (cameras.rotation, cameras.translation):
        mlp.layers[-1].bias[...] = jnp.full_like(mlp.layers[-1].bias[...], 100.0)
    far, _ = cameras(summary)
    reach = rotation_from_angles(*(jnp.full(1, np.deg2rad(a)) for a in (31.2, 30.0, 0.0)))
    np.testing.assert_allclose(far.rotation[0, 0], reach[0], atol=1e-5)
    np.testing.assert_allclose(far.translation[0, 0], [0.2, 0.1, -2.732], atol=1e-5)
    with pytest.raises(ValueError, match="candidate_elevations_deg=.30.0, 10.0.: give lowest and highest"):
        CandidateCameras(8, CameraConfig(candidate_elevations_deg=(30.0, 10.0)), rngs=nnx.Rngs(0))


def test_most_probable_candidate():
    camera = orbit(jnp.full(6, 2.0), jnp.zeros(6), jnp.arange(6.0), jnp.full(6, 0.5))
    camera = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), camera)
    logits = jnp.array([[0.0, 2.0, 1.0], [0.0, -1.0, 3.0]])
    best = most_probable(camera, logits)
    np.testing.assert_array_equal(best.rotation[0], camera.rotation[0, 1])
    np.testing.assert_array_equal(best.rotation[1], camera.rotation[1, 2])


def test_six_numbers_give_the_rotation_whose_rows_they_are():
    angles = np.random.default_rng(0).uniform(-2, 2, (3, 4)).astype(np.float32)
    rotation = rotation_from_angles(*jnp.asarray(angles))
    scaled = rotation[:, :2] * jnp.array([3.0, 0.5])[None, :, None]
    np.testing.assert_allclose(rotation_from_6d(scaled.reshape(4, 6)), rotation, atol=1e-6)
    skewed = rotation_from_6d(jnp.asarray(np.random.default_rng(1).normal(size=(4, 6)), jnp.float32))
    np.testing.assert_allclose(np.linalg.det(skewed), np.ones(4), atol=1e-5)


def test_key_points_are_weighted_vertices():
    head = KeypointHead(2, 5, rngs=nnx.Rngs(0))
    vertices = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 3)), jnp.float32)
    mean = np.repeat(np.asarray(vertices).mean(1, keepdims=True), 2, 1)
    np.testing.assert_allclose(head(vertices), mean, atol=1e-6)
    head.logits[...] = jnp.zeros((2, 5)).at[0, 3].set(2.0).at[1, 1].set(2.0)
    np.testing.assert_allclose(head(vertices), vertices[:, jnp.array([3, 1])], atol=1e-6)


def test_a_moved_camera_is_turned_by_the_rotation_vector_and_scaled_and_shifted():
    camera = orbit(jnp.full(3, 2.0), jnp.linspace(-0.5, 0.5, 3), jnp.arange(3.0), jnp.full(3, 0.5))
    motion = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    moved = moved_camera(camera, jnp.asarray(motion))
    turned = Rotation.from_rotvec(motion[:, :3]).as_matrix() @ np.asarray(camera.rotation, np.float64)
    np.testing.assert_allclose(moved.rotation, turned, atol=1e-5)
    np.testing.assert_allclose(moved.focal, np.asarray(camera.focal) * np.exp(motion[:, 3:4]), rtol=1e-5)
    np.testing.assert_allclose(moved.principal, motion[:, 4:], atol=1e-6)
    np.testing.assert_array_equal(moved.translation, camera.translation)


def test_no_motion_changes_nothing_and_has_the_derivative_of_small_ones():
    camera = orbit(jnp.full(1, 2.0), jnp.full(1, 0.3), jnp.full(1, 0.7), jnp.full(1, 0.5))
    still = moved_camera(camera, jnp.zeros((1, 6)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), still, camera)
    slopes = jax.jacfwd(lambda motion: moved_camera(camera, motion).rotation)(jnp.zeros((1, 6)))[0, :, :, 0]
    for axis in range(3):
        small = Rotation.from_rotvec(1e-4 * np.eye(3)[axis]).as_matrix() @ np.asarray(camera.rotation[0], np.float64)
        np.testing.assert_allclose(slopes[..., axis], (small - np.asarray(camera.rotation[0])) / 1e-4, atol=2e-3)
