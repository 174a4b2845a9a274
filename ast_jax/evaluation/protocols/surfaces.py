"""All measures between a predicted and a true surface, under the names of the tables."""

import numpy as np
from jaxtyping import Float, Int

from ast_jax.data.store import ObjectRecord
from ast_jax.evaluation.f_score import DIBR_THRESHOLDS, F_SCORE_THRESHOLD
from ast_jax.evaluation.hidden import hidden_f_score, is_seen
from ast_jax.evaluation.nearest import match_points
from ast_jax.evaluation.shape3d import sample_surface_with_normals, surface_metrics
from render import OrthographicCamera, PerspectiveCamera

_F_SCORES = {t: "f_score" if t == F_SCORE_THRESHOLD else f"f_score_{round(100 * t):02d}" for t in DIBR_THRESHOLDS}
SURFACE_COLUMNS = ("chamfer_l1", "chamfer_l2", "normal_consistency", *_F_SCORES.values())
_TABLE_NAMES = {f"f_score@{t:g}": name for t, name in _F_SCORES.items()}
_WITH_ICP = ("chamfer_l1_icp",)


def compare_surfaces(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    truth: ObjectRecord,
    num_points: int,
    seed: int,
    *,
    with_icp: bool = False,
    seen_by: PerspectiveCamera | OrthographicCamera | None = None,
) -> dict[str, float]:
    """Chamfer distances, F-scores at the five thresholds and, where the truth has normals, their consistency.

    Args:
      vertices: predicted, in the object space of the truth.
      faces: of the prediction.
      truth: with ``surface_points``.
      num_points: sampled on the prediction.
      seed: of these points.
      with_icp: also ``chamfer_l1_icp``, after `icp.align`.
      seen_by: camera of the picture that the method saw, without leading axes: also ``f_score_hidden``, of the surface
        that it does not see, if the truth has normals.

    Returns:
      values under the names of ``tables.COLUMNS``.
    """
    points, normals = sample_surface_with_normals(vertices, faces, num_points, seed)
    target, known = truth.surface_points.astype(np.float64), truth.surface_normals is not None
    target_normals = truth.surface_normals.astype(np.float64) if known else None
    nearest = match_points(points, target)
    row = surface_metrics(
        points,
        target,
        normals=normals if known else None,
        target_normals=target_normals,
        with_icp=with_icp,
        nearest=nearest,
    )
    row = {_TABLE_NAMES.get(name, name): value for name, value in row.items()}
    if seen_by is not None and known:
        seen = (is_seen(points, normals, seen_by), is_seen(target, target_normals, seen_by))
        row["f_score_hidden"] = hidden_f_score(nearest, *seen)
    return {name: row[name] for name in (*SURFACE_COLUMNS, "f_score_hidden", *_WITH_ICP) if name in row}
