"""Intersection over union of solids by query points: which of them lie inside the predicted mesh."""

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.evaluation.pairs import enumerate_pairs

# Pairs of a point and a face tested at once: bounds the memory to about 0.3 GB.
_PAIRS_PER_CHUNK = 1_000_000
_MIN_CELLS, _MAX_CELLS = 8, 512  # of the grid that finds the faces above a point, per side


def point_iou(inside: Bool[np.ndarray, " m"], target_inside: Bool[np.ndarray, " m"]) -> float:
    """``|a and b| / |a or b|`` over the query points; 1 if all of them lie outside of both.

    Args:
      inside: of the predicted mesh, from `points_inside`.
      target_inside: the truth at the same points.

    Returns:
      a value in [0, 1].

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 4 (100 000 points uniform in the cube).
    """
    union = np.count_nonzero(inside | target_inside)
    return np.count_nonzero(inside & target_inside) / union if union else 1.0


def points_inside(
    points: Float[np.ndarray, "m 3"], vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Bool[np.ndarray, " m"]:
    """Whether a ray along +z from each point leaves the mesh: it crosses an odd number of faces.

    Rays through edges and corners are decided as if the point were moved by (e, e^2, 0) with e infinitely
    small, so that neighbouring faces never both claim a crossing, or neither.

    Args:
      points: object units.
      vertices: of the mesh.
      faces: closed (watertight); parts that overlap count by parity.

    Returns:
      one value per point.

    Raises:
      ValueError: no face, or a number that is not finite.

    Source: parity as in the released code of Occupancy Networks; the infinitely small shift is Edelsbrunner and
      Muecke, Simulation of simplicity, ACM TOG 1990.
    """
    points, vertices = np.asarray(points, np.float64), np.asarray(vertices, np.float64)
    if not len(faces) or not np.isfinite(vertices).all() or not np.isfinite(points).all():
        raise ValueError("points, vertices, faces: a mesh with faces and finite numbers is needed.")
    cell_of_point, starts, counts, face_list = _faces_by_cell(points, vertices[faces])
    candidates = counts[cell_of_point]
    crossings = np.zeros(len(points), np.int64)
    for chunk in _chunks(candidates):
        point, number = enumerate_pairs(candidates[chunk])
        point += chunk.start
        face = face_list[starts[cell_of_point[point]] + number]
        above = _is_above(points[point], vertices, faces[face])
        crossings += np.bincount(point[above], minlength=len(points))
    return crossings % 2 == 1


def _faces_by_cell(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, ...]:
    """A grid in x and y: cell of each point; start, number and list of the faces whose box overlaps a cell."""
    side = int(np.clip(np.sqrt(len(triangles)), _MIN_CELLS, _MAX_CELLS))
    low, high = triangles[..., :2].min(axis=(0, 1)), triangles[..., :2].max(axis=(0, 1))
    size = np.maximum(high - low, np.finfo(float).tiny) / side

    def cell(xy):  # monotone, so that a face is listed wherever a point of it may fall
        return np.clip(np.floor((xy - low) / size), 0, side - 1).astype(np.int64)

    first, last = cell(triangles[..., :2].min(axis=1)), cell(triangles[..., :2].max(axis=1))
    span = last - first + 1
    face, number = enumerate_pairs(span.prod(axis=1))
    row, column = np.divmod(number, span[face, 1])
    cells = (first[face, 0] + row) * side + first[face, 1] + column
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=side * side)
    cell_of_point = cell(points[:, :2]) @ np.array([side, 1])
    return cell_of_point, np.cumsum(counts) - counts, counts, face[order]


def _chunks(candidates: np.ndarray) -> list[slice]:
    """Ranges of points with about ``_PAIRS_PER_CHUNK`` candidates each, and never none."""
    ends = np.cumsum(candidates)
    marks = np.arange(_PAIRS_PER_CHUNK, ends[-1] if len(ends) else 0, _PAIRS_PER_CHUNK)
    borders = np.unique([0, *np.searchsorted(ends, marks), len(candidates)])
    return [slice(int(a), int(b)) for a, b in zip(borders[:-1], borders[1:])]


def _is_above(point: np.ndarray, vertices: np.ndarray, corners: np.ndarray) -> Bool[np.ndarray, " p"]:
    """Whether each face lies on the vertical ray up from its point."""
    pairs = ((1, 2), (2, 0), (0, 1))  # the edge across from each corner
    weights, signs = np.zeros((3, len(point))), np.zeros((3, len(point)), bool)
    for i, (j, k) in enumerate(pairs):
        weights[i], signs[i] = _side(point, vertices, corners[:, j], corners[:, k])
    within = (signs[0] == signs[1]) & (signs[1] == signs[2])
    total = weights.sum(axis=0)
    within &= total != 0.0
    height = (weights * vertices[corners, 2].T).sum(axis=0) / np.where(total != 0.0, total, 1.0)
    return within & (height > point[:, 2])


def _side(point: np.ndarray, vertices: np.ndarray, start: np.ndarray, end: np.ndarray):
    """Twice the area of (start, end, point) in the plane, and whether the point lies to the left.

    The edge is taken from its lower vertex, so that both of its faces get the same number, bit by bit.
    """
    swapped = start > end
    a, b = vertices[np.where(swapped, end, start)], vertices[np.where(swapped, start, end)]
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    area = dx * (point[:, 1] - a[:, 1]) - dy * (point[:, 0] - a[:, 0])
    left = (area > 0.0) | ((area == 0.0) & ((dy < 0.0) | ((dy == 0.0) & (dx > 0.0))))
    return np.where(swapped, -area, area), left ^ swapped
