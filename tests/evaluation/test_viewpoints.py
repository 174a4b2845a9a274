"""Camera errors and distributions of viewpoints of cameras turned by hand."""

import json

import numpy as np

from ast_jax.evaluation.metrics.viewpoints import METRIC, add_viewpoints
from ast_jax.evaluation.results import Evaluation


def _about_y(degrees):
    angle = np.radians(degrees)
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = [[c, zero, s], [zero, one, zero], [-s, zero, c]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def test_a_turn_of_the_object_space_is_an_error_until_it_is_aligned():
    azimuths = np.array([[0.0, 40.0], [-100.0, 170.0], [20.0, 65.0]])
    result = Evaluation(("a", "b", "c"), {})
    add_viewpoints(result, {"rotation": _about_y(azimuths + 30), "true_rotation": _about_y(azimuths)})
    np.testing.assert_allclose(result.metrics["camera_error_deg"], 30.0)
    np.testing.assert_allclose(result.metrics["camera_error_aligned_deg"], 0.0, atol=1e-5)
    assert set(result.metrics) | set(result.totals) == set(METRIC.headings)
    # All azimuths move by 30 degrees, on the circle; elevations stay.
    np.testing.assert_allclose(result.totals["azimuth_distance_deg"], 30.0, atol=1e-6)
    np.testing.assert_allclose(result.totals["elevation_distance_deg"], 0.0, atol=1e-6)
    views = json.loads(json.dumps(result.details))["viewpoints"]
    assert sum(views["azimuth"]["predicted"]) == sum(views["azimuth"]["true"]) == 6
    assert len(views["azimuth"]["edges_deg"]) == 25 and len(views["elevation"]["edges_deg"]) == 13
    assert views["azimuth"]["divergence_nats"] > 0 and abs(views["elevation"]["divergence_nats"]) < 1e-12


def test_nothing_without_cameras():
    result = Evaluation(("a",), {})
    add_viewpoints(result, {})
    assert not result.metrics and not result.totals and not result.details
