"""What one picture shows of an object and what it hides: both halves of the solid, and the surface that is not seen."""

import functools

import numpy as np
from jaxtyping import Bool, Float

from ast_jax.evaluation.f_score import F_SCORE_THRESHOLD
from ast_jax.evaluation.nearest import Nearest
from ast_jax.evaluation.voxel_iou import voxel_iou
from render import OrthographicCamera, PerspectiveCamera

# Points sort out among themselves which of them is in front: cells of the picture, as many as give each a dozen of
# 10,000 points. A point may lie so far behind the first one of its cell and still belong to the same surface, and
# further where the surface is slanted, by what it falls within a cell.
_CELLS = 32
_DEPTH_TOLERANCE = 0.03
_STEEPEST = 20.0  # fall over run


def half_ious(
    a: Bool[np.ndarray, "r r r"], b: Bool[np.ndarray, "r r r"], rotation: Float[np.ndarray, "3 3"]
) -> tuple[float, float]:
    """3D IoU of the half that faces the camera and of the half that is turned away.

    The plane between them goes through the origin, across the viewing axis.

    Args:
      a: occupied voxels of the cube [-0.5, 0.5]^3, indexed x, y, z.
      b: the truth, likewise.
      rotation: of the camera, world to view; it looks along -z.

    Returns:
      front and hidden half, each in [0, 1].
    """
    front = _centres(a.shape[0]) @ np.asarray(rotation, np.float64)[2] > 0.0
    return voxel_iou(a & front, b & front), voxel_iou(a & ~front, b & ~front)


@functools.cache
def _centres(resolution: int) -> Float[np.ndarray, "r r r 3"]:
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def is_seen(
    points: Float[np.ndarray, "m 3"],
    normals: Float[np.ndarray, "m 3"],
    camera: PerspectiveCamera | OrthographicCamera,
) -> Bool[np.ndarray, " m"]:
    """Which points of a surface a camera sees: those turned towards it with no other point before them.

    Args:
      points: world space, evenly spread over the whole surface, some thousands.
      normals: outwards.
      camera: without leading axes.

    Returns:
      true where the point is seen. Points beyond the border of the picture count as the others do.
    """
    view = points @ np.asarray(camera.rotation, np.float64).T + np.asarray(camera.translation)
    facing = normals @ np.asarray(camera.rotation, np.float64).T
    depth = -view[:, 2]
    if isinstance(camera, PerspectiveCamera):
        towards, place = -(view * facing).sum(axis=1), view[:, :2] / np.maximum(depth, 1e-6)[:, None]
    else:
        towards, place = facing[:, 2], view[:, :2]
    low, high = place.min(axis=0), place.max(axis=0)
    width = max(float((high - low).max()), 1e-12) / _CELLS
    cell = np.minimum(np.floor((place - low) / width).astype(np.int64), _CELLS - 1)
    index = cell[:, 0] * _CELLS + cell[:, 1]
    nearest = np.full(_CELLS**2, np.inf)
    np.minimum.at(nearest, index, depth)
    run = width * depth if isinstance(camera, PerspectiveCamera) else width
    slope = np.hypot(facing[:, 0], facing[:, 1]) / np.maximum(np.abs(facing[:, 2]), 1.0 / _STEEPEST)
    return (towards > 0.0) & (depth <= nearest[index] + _DEPTH_TOLERANCE + run * slope)


def hidden_f_score(
    nearest: Nearest,
    seen: Bool[np.ndarray, " m"],
    target_seen: Bool[np.ndarray, " n"],
    threshold: float = F_SCORE_THRESHOLD,
) -> float:
    """F-score of the surface that the picture does not show.

    ``2 p r / (p + r)``: p is the share of the unseen predicted points with a true point within the threshold, r that
    of the unseen true points with a predicted one.

    Args:
      nearest: of the predicted points and the target.
      seen: which predicted points the camera sees.
      target_seen: which true points it sees.
      threshold: object units.

    Returns:
      a value in [0, 1]; NaN where nothing is hidden.
    """
    if seen.all() or target_seen.all():
        return float("nan")
    precision = float((nearest.to_target[~seen] <= threshold).mean())
    recall = float((nearest.to_points[~target_seen] <= threshold).mean())
    return 2.0 * precision * recall / max(precision + recall, np.finfo(float).tiny)
