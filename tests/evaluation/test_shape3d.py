"""Shape metrics against brute force, trimesh and values by hand."""

import numpy as np
import pytest
import trimesh

from ast_jax.evaluation.shape3d import chamfer_l1, f_score, mesh_occupancy, sample_surface, voxel_iou


def test_voxel_iou_by_hand():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert voxel_iou(a, b) == 1.0
    a[0, 0], b[0, :, 0] = True, True  # two voxels each, one shared
    assert voxel_iou(a, b) == 1 / 3
    assert voxel_iou(a, a) == 1.0
    assert voxel_iou(a, ~a) == 0.0


def test_occupancy_of_a_ball_has_its_volume():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    occupancy = mesh_occupancy(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    centres = (np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1) + 0.5) / 32 - 0.5
    radius = np.linalg.norm(centres, axis=-1)
    half_diagonal = 0.5 * 3**0.5 / 32
    # Exact apart from the voxels that the surface runs through, which all count as solid.
    assert occupancy[radius < 0.395 - half_diagonal].all()
    assert not occupancy[radius > 0.4 + half_diagonal].any()


def _clouds():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) + 0.2


def test_chamfer_and_f_score_equal_brute_force():
    points, target = _clouds()
    distances = [[float(np.sqrt(sum((p - q) ** 2))) for q in target] for p in points]
    forward = [min(row) for row in distances]
    backward = [min(column) for column in zip(*distances)]
    expected = (sum(forward) / 40 + sum(backward) / 30) / 2
    np.testing.assert_allclose(chamfer_l1(points, target), expected, rtol=1e-12)
    precision, recall = sum(d < 0.5 for d in forward) / 40, sum(d < 0.5 for d in backward) / 30
    assert 0 < precision < 1
    expected = 2 * precision * recall / (precision + recall)
    np.testing.assert_allclose(f_score(points, target, 0.5), expected, rtol=1e-12)


def test_equal_and_distant_clouds():
    points, target = _clouds()
    assert chamfer_l1(points, points) == 0.0 and f_score(points, points) == 1.0
    assert f_score(points, target + 100.0) == 0.0


def test_samples_lie_on_the_surface_uniformly_by_area():
    box = trimesh.creation.box(extents=(1.0, 0.5, 0.2))
    points = sample_surface(np.asarray(box.vertices), np.asarray(box.faces), 20_000, seed=0)
    assert points.shape == (20_000, 3)
    half = np.array([0.5, 0.25, 0.1])
    assert np.all(np.abs(points) <= half + 1e-12)
    on_side = np.abs(np.abs(points) - half) < 1e-12
    assert np.all(on_side.any(1))
    areas = np.array([0.5 * 0.2, 1.0 * 0.2, 1.0 * 0.5])
    np.testing.assert_allclose(on_side.mean(0), areas / areas.sum(), atol=0.015)
    # Uniform within a face too: the first two moments of a coordinate on the large sides.
    x = points[on_side[:, 2], 0]
    np.testing.assert_allclose([x.mean(), x.std()], [0.0, 1 / 12**0.5], atol=0.01)


def test_samples_repeat_with_their_seed():
    vertices, faces = np.eye(3), np.array([[0, 1, 2]])
    first, again, other = (sample_surface(vertices, faces, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("vertices", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_nothing_to_sample(vertices):
    with pytest.raises(ValueError, match="no area or a vertex that is not finite"):
        sample_surface(vertices, np.array([[0, 1, 2]]), 5, 0)
