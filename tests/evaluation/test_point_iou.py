"""Inside tests against analytic solids and the winding number."""

import numpy as np
import pytest
import trimesh

from ast_jax.evaluation import point_iou as module
from ast_jax.evaluation.point_iou import point_iou, points_inside


def _winding_number(points, vertices, faces):
    """Sum of signed solid angles over 4 pi (van Oosterom and Strackee 1983): 1 inside, 0 outside."""
    a, b, c = np.moveaxis(np.asarray(vertices)[faces][None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    dot = lambda x, y: (x * y).sum(-1)  # noqa: E731
    top = dot(a, np.cross(b, c))
    bottom = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb
    return 2.0 * np.arctan2(top, bottom).sum(-1) / (4.0 * np.pi)


def test_equals_the_winding_number_of_a_bent_mesh():
    torus = trimesh.creation.torus(0.3, 0.12, major_sections=14, minor_sections=9)
    vertices = np.asarray(torus.vertices)
    vertices = vertices + 0.1 * np.sin(7 * vertices[:, [1, 2, 0]])
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 3))
    inside = points_inside(points, vertices, np.asarray(torus.faces, np.int32))
    number = _winding_number(points, vertices, torus.faces)
    assert 100 < inside.sum() < 2000
    np.testing.assert_array_equal(inside, np.abs(number) > 0.5)


def test_rays_through_edges_and_corners():
    """A box made of axis-aligned faces, and points on a lattice that hits every edge, diagonal and corner."""
    box = trimesh.creation.box(extents=(0.5, 0.5, 0.5)).subdivide()
    axis = np.linspace(-0.5, 0.5, 9)
    points = np.stack(np.meshgrid(axis, axis, axis + 0.01, indexing="ij"), -1).reshape(-1, 3)
    inside = points_inside(points, np.asarray(box.vertices), np.asarray(box.faces, np.int32))
    # Moved by (e, e^2, 0): the sides at -0.25 belong to the box, those at +0.25 do not.
    expected = ((points[:, :2] >= -0.25) & (points[:, :2] < 0.25)).all(axis=1) & (np.abs(points[:, 2]) < 0.25)
    np.testing.assert_array_equal(inside, expected)


def test_every_ray_crosses_a_closed_mesh_evenly():
    """From far below nothing is inside, wherever the ray passes, also through vertices."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    below = np.asarray(ball.vertices) * [1, 1, 0] - [0, 0, 2.0]
    assert not points_inside(below, np.asarray(ball.vertices), np.asarray(ball.faces, np.int32)).any()


def test_ball_has_its_volume_and_chunks_do_not_matter(monkeypatch):
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    vertices, faces = np.asarray(ball.vertices), np.asarray(ball.faces, np.int32)
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (100_000, 3))
    inside = points_inside(points, vertices, faces)
    # The standard deviation of the share is 0.0014.
    np.testing.assert_allclose(inside.mean(), ball.volume, atol=0.006)
    number = _winding_number(points[:200], vertices, faces)
    np.testing.assert_array_equal(inside[:200], number > 0.5)
    monkeypatch.setattr(module, "_PAIRS_PER_CHUNK", 999)
    np.testing.assert_array_equal(points_inside(points[:3000], vertices, faces), inside[:3000])


def test_iou_by_hand():
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert point_iou(a, b) == 1 / 3
    assert point_iou(a, a) == 1.0 and point_iou(a, ~a) == 0.0 and point_iou(a & ~a, a & ~a) == 1.0


def test_clear_error():
    with pytest.raises(ValueError, match="finite numbers"):
        points_inside(np.array([[np.nan, 0, 0]]), np.eye(3), np.array([[0, 1, 2]]))
