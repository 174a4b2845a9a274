"""Angles against scipy's rotations, distances on the circle against optimal assignments."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from scipy.stats import wasserstein_distance

from ast_jax.evaluation.camera_error import (
    angle_divergence,
    best_gauge,
    circular_wasserstein_deg,
    rotation_errors_deg,
    viewpoint_angles_deg,
)
from render import orbit


def _random(num, seed=0):
    return Rotation.random(num, random_state=seed)


def test_angles_equal_scipy_also_near_0_and_180():
    target = _random(8)
    angles = np.array([0.0, 1e-6, 0.5, 60.0, 120.0, 179.9, 179.9999, 180.0])
    axes = np.random.default_rng(1).normal(size=(8, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    moved = Rotation.from_rotvec(np.radians(angles)[:, None] * axes) * target
    errors = rotation_errors_deg(moved.as_matrix(), target.as_matrix())
    np.testing.assert_allclose(errors, np.degrees((moved * target.inv()).magnitude()), atol=1e-6)
    np.testing.assert_allclose(errors, angles, atol=1e-6)


def test_alignment_takes_a_common_turn_away_and_nothing_else():
    target, turn = _random(50), _random(1, seed=5)
    noise = Rotation.from_rotvec(np.random.default_rng(0).normal(scale=0.1, size=(50, 3)))
    predicted = (noise * target * turn).as_matrix()
    raw, aligned = (rotation_errors_deg(predicted, target.as_matrix(), aligned=a) for a in (False, True))
    assert raw.mean() > 30.0
    np.testing.assert_allclose(aligned, np.degrees(noise.magnitude()), atol=3.0)
    exact = rotation_errors_deg((target * turn).as_matrix(), target.as_matrix(), aligned=True)
    np.testing.assert_allclose(exact, 0.0, atol=1e-6)


def test_gauge_equals_scipys_alignment_of_vectors():
    predicted, target = _random(6, 1).as_matrix(), _random(6, 2).as_matrix()
    # R G = R' row by row: G^T takes the rows of R to those of R'.
    expected, _ = Rotation.align_vectors(target.reshape(-1, 3), predicted.reshape(-1, 3))
    np.testing.assert_allclose(best_gauge(predicted, target).T, expected.as_matrix(), atol=1e-6)


def test_viewpoint_is_that_of_the_orbit():
    azimuth, elevation = np.array([0.0, 30.0, -150.0, 90.0]), np.array([0.0, 20.0, -80.0, 45.0])
    camera = orbit(3.0, np.radians(elevation), np.radians(azimuth), 0.5)
    actual = viewpoint_angles_deg(np.asarray(camera.rotation))
    np.testing.assert_allclose(actual[0], azimuth, atol=1e-3)
    np.testing.assert_allclose(actual[1], elevation, atol=1e-3)


def test_circular_distance_equals_the_best_assignment():
    rng = np.random.default_rng(0)
    for scale in (5.0, 40.0, 200.0):
        a, b = rng.normal(170.0, scale, 30), rng.normal(-150.0, scale, 30)
        gap = np.abs(a[:, None] - b[None]) % 360.0
        cost = np.minimum(gap, 360.0 - gap)
        expected = cost[linear_sum_assignment(cost)].mean()
        np.testing.assert_allclose(circular_wasserstein_deg(a, b), expected, atol=1e-9)
        repeated = circular_wasserstein_deg(np.repeat(a, 3), b)  # sets of unequal size
        np.testing.assert_allclose(repeated, expected, atol=1e-9)


def test_circular_distance_by_hand():
    assert circular_wasserstein_deg(np.array([179.0]), np.array([-179.0])) == pytest.approx(2.0)
    assert wasserstein_distance([179.0], [-179.0]) == pytest.approx(358.0)  # what the circle is for
    assert circular_wasserstein_deg(np.array([10.0, 350.0]), np.array([370.0, -10.0])) == pytest.approx(0.0)
    assert circular_wasserstein_deg(np.zeros(2), np.array([90.0, -90.0])) == pytest.approx(90.0)


def test_divergence_by_hand():
    a, b = np.array([-80.0, -80.0, 10.0, 50.0]), np.array([-80.0, 10.0, 50.0, 60.0])
    # Two bins: (2, 2) against (1, 3).
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert angle_divergence(a, b, (-90.0, 90.0), num_bins=2) == pytest.approx(expected)
    assert angle_divergence(a, b[1:], (-90.0, 90.0), num_bins=2) == np.inf
    # (2, 2) + 1 against (0, 3) + 1.
    expected = 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)
    assert angle_divergence(a, b[1:], (-90.0, 90.0), num_bins=2, pseudo_count=1.0) == pytest.approx(expected)
    with pytest.raises(ValueError, match="target_deg: has an angle beyond"):
        angle_divergence(a, b + 40.0, (-90.0, 90.0))
