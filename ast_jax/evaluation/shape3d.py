"""How close a predicted shape is to the true one: all surface metrics from one search. On the CPU in float64."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.alignment import align
from ast_jax.evaluation.chamfer import chamfer_l1, chamfer_l2, normal_consistency
from ast_jax.evaluation.f_score import DIBR_THRESHOLDS, F_SCORE_THRESHOLD, f_score, f_scores
from ast_jax.evaluation.nearest import Nearest, match_points
from ast_jax.evaluation.surface_samples import sample_surface, sample_surface_with_normals
from ast_jax.evaluation.voxel_iou import mesh_occupancy, voxel_iou

__all__ = [
    "chamfer_l1",
    "f_score",
    "mesh_occupancy",
    "sample_surface",
    "sample_surface_with_normals",
    "surface_metrics",
    "surface_scores",
    "voxel_iou",
]


def surface_scores(
    points: Float[np.ndarray, "m 3"],
    target: Float[np.ndarray, "n 3"],
    threshold: float = F_SCORE_THRESHOLD,
) -> tuple[float, float]:
    """Chamfer-L1 and F-score at once, at the price of one: see `chamfer_l1` and `f_score`.

    Args:
      points: on the predicted surface.
      target: on the true surface.
      threshold: of the F-score, object units.

    Returns:
      Chamfer-L1 in object units, F-score in [0, 1].
    """
    nearest = match_points(points, target)
    score = f_scores(points, target, (threshold,), nearest=nearest)[0]
    return chamfer_l1(points, target, nearest=nearest), float(score)


def surface_metrics(
    points: Float[np.ndarray, "m 3"],
    target: Float[np.ndarray, "n 3"],
    *,
    normals: Float[np.ndarray, "m 3"] | None = None,
    target_normals: Float[np.ndarray, "n 3"] | None = None,
    thresholds: Sequence[float] = DIBR_THRESHOLDS,
    with_icp: bool = False,
    nearest: Nearest | None = None,
) -> dict[str, float]:
    """Every surface metric of one prediction.

    Args:
      points: on the predicted surface, object units.
      target: on the true surface.
      normals: of the predicted points; without either normals there is no normal consistency.
      target_normals: of the true points.
      thresholds: of the F-scores, object units.
      with_icp: also after `align`, under the same names with ``_icp`` behind.
      nearest: of the two sets, where it is known already.

    Returns:
      ``chamfer_l1``, ``chamfer_l2``, ``normal_consistency`` and one ``f_score@<threshold>`` each.

    Raises:
      ValueError: a set is empty or has a coordinate that is not finite.
    """
    nearest = nearest or match_points(points, target)
    row = {
        "chamfer_l1": chamfer_l1(points, target, nearest=nearest),
        "chamfer_l2": chamfer_l2(points, target, nearest=nearest),
    }
    scores = f_scores(points, target, thresholds, nearest=nearest)
    row |= {f"f_score@{threshold:g}": float(score) for threshold, score in zip(thresholds, scores)}
    if normals is not None and target_normals is not None:
        row["normal_consistency"] = normal_consistency(points, normals, target, target_normals, nearest=nearest)
    if with_icp:
        motion = align(points, target)
        moved = surface_metrics(
            motion.move(points),
            target,
            normals=None if normals is None else motion.turn(normals),
            target_normals=target_normals,
            thresholds=thresholds,
        )
        row |= {f"{name}_icp": value for name, value in moved.items()}
    return row
