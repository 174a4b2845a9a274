"""Halves of a solid and the surface that a camera does not see, on shapes where both are known."""

import numpy as np
import pytest

from ast_jax.evaluation.hidden import half_ious, hidden_f_score, is_seen
from ast_jax.evaluation.nearest import match_points
from ast_jax.evaluation.shape3d import sample_surface_with_normals
from render import OrthographicCamera, icosphere, orbit


def _from_front():
    return orbit(2.732, 0.0, 0.0, np.radians(30.0))  # from +z


def test_a_change_on_one_side_changes_the_iou_of_that_half_only():
    truth = np.zeros((8, 8, 8), bool)
    truth[2:6, 2:6, :] = True
    answer = truth.copy()
    answer[2:4, :, :4] = False  # the far half, z < 0, loses one half of its voxels
    camera = _from_front()
    assert half_ious(answer, truth, np.asarray(camera.rotation)) == (1.0, 0.5)
    from_behind = np.asarray(orbit(2.732, 0.0, np.pi, np.radians(30.0)).rotation)
    assert half_ious(answer, truth, from_behind) == (0.5, 1.0)


def test_a_sphere_hides_its_far_side():
    vertices, faces = icosphere(3)
    points, normals = sample_surface_with_normals(0.4 * vertices, faces, 8000, seed=0)
    distance = 2.732
    seen = is_seen(points, normals, _from_front())
    # Seen up to the circle where the line of sight touches: z = r^2 / distance.
    clear = np.abs(points[:, 2] - 0.16 / distance) > 0.04  # flat faces about the circle may fall on either side
    np.testing.assert_array_equal(seen[clear], (points[:, 2] > 0.16 / distance)[clear])
    camera = OrthographicCamera(np.eye(3), np.array([0, 0, -2.0]), scale=np.ones(2), principal=np.zeros(2))
    clear = np.abs(points[:, 2]) > 0.04
    np.testing.assert_array_equal(is_seen(points, normals, camera)[clear], (points[:, 2] > 0)[clear])


def test_what_lies_behind_something_else_is_not_seen():
    rng = np.random.default_rng(0)
    sheet = np.concatenate([rng.uniform(-0.4, 0.4, (5000, 2)), np.zeros((5000, 1))], axis=1)
    points = np.concatenate([sheet + [0, 0, 0.3], sheet - [0, 0, 0.3]])
    normals = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    camera = OrthographicCamera(np.eye(3), np.array([0, 0, -2.0]), scale=np.ones(2), principal=np.zeros(2))
    np.testing.assert_array_equal(is_seen(points, normals, camera), np.arange(10000) < 5000)


def test_the_score_of_the_hidden_surface_forgives_what_is_seen():
    target = np.array([[0.0, 0, 1], [0, 0, -1]])
    points = np.array([[0.5, 0, 1], [0, 0, -1]])  # wrong before, right behind
    seen = np.array([True, False])
    assert hidden_f_score(match_points(points, target), seen, seen) == pytest.approx(1.0)
    assert hidden_f_score(match_points(points, target), ~seen, ~seen) == 0.0
    assert np.isnan(hidden_f_score(match_points(points, target), np.array([True, True]), seen))
