"""Chamfer-L2, normal consistency and F-scores against loops; all metrics at once equal those one by one."""

import numpy as np
import pytest
import trimesh

from ast_jax.evaluation.chamfer import chamfer_l1, chamfer_l2, normal_consistency
from ast_jax.evaluation.f_score import f_scores
from ast_jax.evaluation.nearest import match_points
from ast_jax.evaluation.shape3d import sample_surface_with_normals, surface_metrics


def _clouds():
    rng = np.random.default_rng(0)
    points, normals, target, target_normals = (rng.normal(size=(m, 3)) for m in (40, 40, 30, 30))
    return points, normals, target + 0.2, target_normals


def _loops(points, target):
    """For each point (squared distance, index) of the nearest target, and the other way round."""
    table = [[sum((p - q) ** 2) for q in target] for p in points]
    forward = [min((d, i) for i, d in enumerate(row)) for row in table]
    backward = [min((d, i) for i, d in enumerate(column)) for column in zip(*table)]
    return forward, backward


def test_chamfer_l2_and_normals_equal_loops():
    points, normals, target, target_normals = _clouds()
    forward, backward = _loops(points, target)
    expected = (sum(d for d, _ in forward) / 40 + sum(d for d, _ in backward) / 30) / 2
    np.testing.assert_allclose(chamfer_l2(points, target), expected, rtol=1e-12)

    def cosine(a, b):
        return abs(a @ b) / np.sqrt((a @ a) * (b @ b))

    one = np.mean([cosine(normals[k], target_normals[i]) for k, (_, i) in enumerate(forward)])
    two = np.mean([cosine(target_normals[k], normals[i]) for k, (_, i) in enumerate(backward)])
    actual = normal_consistency(points, normals, target, target_normals)
    np.testing.assert_allclose(actual, (one + two) / 2, rtol=1e-12)


def test_f_scores_equal_loops():
    points, _, target, _ = _clouds()
    forward, backward = _loops(points, target)
    for threshold, actual in zip((0.3, 0.5, 0.9), f_scores(points, target, (0.3, 0.5, 0.9))):
        precision = sum(d**0.5 <= threshold for d, _ in forward) / 40
        recall = sum(d**0.5 <= threshold for d, _ in backward) / 30
        np.testing.assert_allclose(actual, 2 * precision * recall / (precision + recall), rtol=1e-12)
    assert f_scores(points, target + 100.0, (0.1,)) == [0.0]


def test_parallel_planes_by_hand():
    """Two squares 0.1 apart: the distance is 0.1 everywhere, the normals agree, whatever their side."""
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0), [0.0]), -1).reshape(-1, 3)
    up = np.tile([0.0, 0.0, 2.0], (25, 1))
    row = surface_metrics(grid, grid + [0, 0, 0.1], normals=up, target_normals=-up, thresholds=(0.05, 0.11))
    expected = {"chamfer_l1": 0.1, "chamfer_l2": 0.01, "f_score@0.05": 0.0, "f_score@0.11": 1.0}
    assert row == pytest.approx(expected | {"normal_consistency": 1.0})


def test_all_at_once_equals_one_by_one():
    points, normals, target, target_normals = _clouds()
    row = surface_metrics(points, target, normals=normals, target_normals=target_normals)
    assert row["chamfer_l1"] == chamfer_l1(points, target)
    assert row["chamfer_l2"] == chamfer_l2(points, target)
    assert row["normal_consistency"] == normal_consistency(points, normals, target, target_normals)
    assert [row[f"f_score@{t}"] for t in ("0.01", "0.02", "0.03", "0.04", "0.05")] == list(f_scores(points, target))
    assert "normal_consistency" not in surface_metrics(points, target, normals=normals)


def test_normals_of_samples_are_those_of_their_faces():
    ball = trimesh.creation.icosphere(subdivisions=2)
    points, normals = sample_surface_with_normals(np.asarray(ball.vertices), np.asarray(ball.faces), 500, 0)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    # The ball is convex: a point of a face lies in its plane and behind all others.
    height = points @ ball.face_normals.T - (ball.face_normals * ball.triangles[:, 0]).sum(axis=1)
    np.testing.assert_allclose(height.max(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(normals, ball.face_normals[height.argmax(axis=1)], atol=1e-6)


def test_clear_errors():
    with pytest.raises(ValueError, match="points: is empty"):
        match_points(np.zeros((0, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="target: has a coordinate"):
        match_points(np.zeros((1, 3)), np.full((1, 3), np.inf))
