"""Alignment finds a motion that was applied by hand and never makes a prediction worse."""

import numpy as np
import pytest
import trimesh

from ast_jax.evaluation.alignment import Alignment, align
from ast_jax.evaluation.chamfer import chamfer_l2
from ast_jax.evaluation.shape3d import surface_metrics


def _blob(num=600, seed=0):
    """Points and normals of an ellipsoid with a bump, without any symmetry."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    v = np.asarray(mesh.vertices)
    mesh.vertices = v * [0.5, 0.3, 0.2] + 0.15 * np.exp(-8 * ((v - [0.6, 0.6, 0.5]) ** 2).sum(1, keepdims=True))
    points, face = trimesh.sample.sample_surface(mesh, num, seed=seed)
    return np.asarray(points), np.asarray(mesh.face_normals[face])


def _turn(degrees, axis):
    return trimesh.transformations.rotation_matrix(np.radians(degrees), axis)[:3, :3]


def test_recovers_a_known_motion():
    target, target_normals = _blob()
    rotation = _turn(12.0, [1, 2, -1])
    points = (target * [1.1, 0.9, 1.05]) @ rotation.T * 0.7 + [0.05, -0.1, 0.2]
    turned = (target_normals / [1.1, 0.9, 1.05]) @ rotation.T
    motion = align(points, target)
    np.testing.assert_allclose(motion.rotation @ motion.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(motion.rotation) > 0.0
    # Scale in the axes of the prediction is not that of the truth: what counts is where the points come to lie.
    assert np.sqrt(np.square(motion.move(points) - target).sum(1).mean()) < 0.02
    row = surface_metrics(points, target, normals=turned, target_normals=target_normals, with_icp=True)
    assert row["chamfer_l1"] > 0.1 > 0.01 > row["chamfer_l1_icp"]
    assert row["normal_consistency_icp"] > 0.95 > row["normal_consistency"]


def test_recovers_a_similarity_exactly():
    """With equal scales the motion is unique: compare it number by number."""
    target, _ = _blob()
    rotation = _turn(8.0, [0, 1, 1])
    points = 1.6 * target @ rotation + [0.3, 0.2, -0.1]
    motion = align(points, target, num_steps=100)
    np.testing.assert_allclose(motion.rotation, rotation.T, atol=0.02)
    np.testing.assert_allclose(motion.scale, 1 / 1.6, rtol=0.02)
    np.testing.assert_allclose(motion.move(points), target, atol=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_without(seed):
    rng = np.random.default_rng(seed)
    points, target = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) * rng.uniform(0.2, 3.0, 3)
    steps = int(rng.integers(0, 15))
    motion = align(points, target, num_steps=steps)
    assert chamfer_l2(motion.move(points), target) <= chamfer_l2(points, target)


def test_equal_sets_stay_where_they_are():
    points, _ = _blob(100)
    motion = align(points, points, num_steps=10)
    np.testing.assert_allclose(motion.move(points), points, atol=1e-12)


def test_same_input_gives_the_same_motion_and_fewer_points_nearly_so():
    target, _ = _blob(600)
    points = target @ _turn(5.0, [0, 0, 1]) + 0.02
    first, again, few = (align(points, target, num_steps=40, num_points=n) for n in (None, None, 300))
    np.testing.assert_array_equal(first.move(points), again.move(points))
    np.testing.assert_allclose(few.move(points), first.move(points), atol=0.02)


def test_motion_by_hand():
    quarter = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    motion = Alignment(np.array([2.0, 1.0, 1.0]), quarter, np.array([0.0, 0.0, 5.0]))
    np.testing.assert_allclose(motion.move(np.array([[1.0, 3.0, 0.0]])), [[-3.0, 2.0, 5.0]])
    # The line x = y becomes x = 2 y and turns: its normal (1, -1) becomes (0.5, -1), then (1, 0.5).
    normal = motion.turn(np.array([[1.0, -1.0, 0.0]]))
    np.testing.assert_allclose(normal, [[1 / 1.25**0.5, 0.5 / 1.25**0.5, 0.0]])


def test_clear_errors():
    with pytest.raises(ValueError, match="all in one place"):
        align(np.zeros((3, 3)), np.eye(3))
    with pytest.raises(ValueError, match="target: at least one point"):
        align(np.eye(3), np.full((2, 3), np.nan))
