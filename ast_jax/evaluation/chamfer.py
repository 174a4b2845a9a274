"""Distances between two surfaces, each given by points: Chamfer-L1, Chamfer-L2, normal consistency."""

import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.nearest import Nearest, match_points

Points = Float[np.ndarray, "_ 3"]


def chamfer_l1(points: Points, target: Points, *, nearest: Nearest | None = None) -> float:
    """Mean distance between two point sets, both ways: ``(mean_a min_b |a - b| + mean_b min_a |a - b|) / 2``.

    Args:
      points: on the predicted surface, ``[m, 3]``.
      target: on the true surface, ``[n, 3]``.
      nearest: of the two sets, where it is known already.

    Returns:
      a distance in object units; papers often print ten times this.

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 4; Unicorn and AST use the same.
    """
    nearest = nearest or match_points(points, target)
    return 0.5 * float(nearest.to_target.mean() + nearest.to_points.mean())


def chamfer_l2(points: Points, target: Points, *, nearest: Nearest | None = None) -> float:
    """Mean squared distance, both ways: ``(mean_a min_b |a - b|^2 + mean_b min_a |a - b|^2) / 2``.

    Many papers print the sum of the two means, twice this.

    Args:
      points: on the predicted surface, ``[m, 3]``.
      target: on the true surface, ``[n, 3]``.
      nearest: of the two sets, where it is known already.

    Returns:
      a squared distance in object units.

    Source: Fan et al., A point set generation network, CVPR 2017; with the half of the released code of
      Occupancy Networks.
    """
    nearest = nearest or match_points(points, target)
    return 0.5 * float(np.square(nearest.to_target).mean() + np.square(nearest.to_points).mean())


def normal_consistency(
    points: Points, normals: Points, target: Points, target_normals: Points, *, nearest: Nearest | None = None
) -> float:
    """How well the normals of nearest points agree: ``mean |n_a . n_b|``, the mean of both ways.

    Args:
      points: on the predicted surface, ``[m, 3]``.
      normals: of any length but 0, either side, ``[m, 3]``.
      target: on the true surface, ``[n, 3]``.
      target_normals: likewise, ``[n, 3]``.
      nearest: of the two sets, where it is known already.

    Returns:
      a value in [0, 1], 1 is best; two random directions have 0.5.

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 4.
    """
    nearest = nearest or match_points(points, target)
    normals, target_normals = _unit(normals), _unit(target_normals)
    forward = np.abs((normals * target_normals[nearest.target_index]).sum(axis=1)).mean()
    backward = np.abs((target_normals * normals[nearest.points_index]).sum(axis=1)).mean()
    return 0.5 * float(forward + backward)


def _unit(normals: np.ndarray) -> np.ndarray:
    normals = np.asarray(normals, np.float64)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
