"""How far the cameras of a method are off, and where it looks from: for every protocol whose data knows cameras."""

import numpy as np
from scipy.stats import wasserstein_distance

from ast_jax.evaluation.camera_error import (
    angle_divergence,
    circular_wasserstein_deg,
    rotation_errors_deg,
    viewpoint_angles_deg,
)
from ast_jax.evaluation.metric import Item, Metric
from ast_jax.evaluation.results import Evaluation

_BIN_DEG = 15
_LIMITS_DEG = {"azimuth": (-180.0, 180.0), "elevation": (-90.0, 90.0)}


def measure_rotations(item: Item) -> dict[str, np.ndarray]:
    """The predicted and the true rotation of each input view; nothing where one of them is not known.

    Args:
      item: the object.

    Returns:
      ``rotation`` and ``true_rotation``, ``[views, 3, 3]``, world to view.
    """
    camera = item.predicted.input_camera
    if camera is None or item.source.camera_kind == "unknown":
        return {}
    return {
        "rotation": np.asarray(camera.rotation, np.float64),
        "true_rotation": item.truth.rotation[list(item.views)].astype(np.float64),
    }


def add_viewpoints(result: Evaluation, measured: dict[str, np.ndarray]) -> None:
    """Camera errors per object, distances of the distributions of azimuth and elevation, and their histograms.

    Args:
      result: gets ``camera_error_deg`` in the data set's axes (as published), ``camera_error_aligned_deg`` after the
        one turn of object space that fits best, ``azimuth_distance_deg`` and ``elevation_distance_deg`` (earth
        mover's), and ``viewpoints`` among its details.
      measured: with what `measure_rotations` gave, ``[n, views, 3, 3]``; otherwise nothing is added.

    Source: Goel et al., U-CMR, ECCV 2020: errors and distributions of viewpoints.
    """
    if "rotation" not in measured:
        return
    shape = measured["rotation"].shape[:2]
    rotation, target = (measured[name].reshape(-1, 3, 3) for name in ("rotation", "true_rotation"))
    for name, aligned in (("camera_error_deg", False), ("camera_error_aligned_deg", True)):
        result.metrics[name] = rotation_errors_deg(rotation, target, aligned=aligned).reshape(shape).mean(axis=1)
    distances = {"azimuth": circular_wasserstein_deg, "elevation": wasserstein_distance}
    pairs = zip(distances, viewpoint_angles_deg(rotation), viewpoint_angles_deg(target))
    result.details["viewpoints"] = {}
    for name, predicted, true in pairs:
        result.totals[f"{name}_distance_deg"] = float(distances[name](predicted, true))
        result.details["viewpoints"][name] = _histogram(name, predicted, true)


def _histogram(name: str, predicted: np.ndarray, true: np.ndarray) -> dict:
    """Counts per bin, and the divergence of these."""
    low, high = _LIMITS_DEG[name]
    predicted, true = (np.clip(angles, low, high) for angles in (predicted, true))
    edges = np.arange(low, high + _BIN_DEG, _BIN_DEG)
    return {
        "edges_deg": edges.tolist(),
        "predicted": np.histogram(predicted, edges)[0].tolist(),
        "true": np.histogram(true, edges)[0].tolist(),
        # One count more in every bin: a divergence is infinite where only one of the two has any.
        "divergence_nats": angle_divergence(predicted, true, (low, high), num_bins=len(edges) - 1, pseudo_count=1.0),
    }


METRIC = Metric(
    headings={
        "camera_error_deg": ("camera error, deg ↓", 1),
        "camera_error_aligned_deg": ("camera error, own axes, deg ↓", 1),
        "azimuth_distance_deg": ("azimuths, deg apart ↓", 1),
        "elevation_distance_deg": ("elevations, deg apart ↓", 1),
    },
    measure=measure_rotations,
    finish=add_viewpoints,
    arrays=("rotation", "true_rotation"),
)
