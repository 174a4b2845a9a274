"""Nearest neighbours between two surfaces, both ways: one search that all surface metrics share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # ty: ignore[missing-module-member]  # a compiled class


@dataclass(frozen=True)
class Nearest:
    """For each point of one set the nearest of the other.

    Args:
      to_target: distance of each predicted point to the target.
      target_index: which target point that is.
      to_points: distance of each target point to the prediction.
      points_index: which predicted point that is.
    """

    to_target: Float[np.ndarray, " m"]
    target_index: Int[np.ndarray, " m"]
    to_points: Float[np.ndarray, " n"]
    points_index: Int[np.ndarray, " n"]


def match_points(points: Float[np.ndarray, "m 3"], target: Float[np.ndarray, "n 3"]) -> Nearest:
    """Search both ways with a KD-tree each.

    Args:
      points: on the predicted surface.
      target: on the true surface.

    Returns:
      distances in the unit of the points, and indices.

    Raises:
      ValueError: a set is empty or has a coordinate that is not finite.
    """
    for name, array in (("points", points), ("target", target)):
        if not len(array):
            raise ValueError(f"{name}: is empty; there is nothing to compare.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: has a coordinate that is not finite.")
    to_target, target_index = plain_tree(target).query(points)
    to_points, points_index = plain_tree(points).query(target)
    return Nearest(to_target, target_index, to_points, points_index)


def plain_tree(points: Float[np.ndarray, "m d"]) -> cKDTree:
    """A tree split in the middle of its boxes: exact like every KD-tree, and twice as fast to build.

    Surfaces are spread evenly, so that balancing by medians gains nothing. Large leaves are faster for points far away,
    such as those of a bad prediction, which see many leaves at about one distance.
    """
    return cKDTree(points, leafsize=64, balanced_tree=False, compact_nodes=False)
