"""Polygons in space as triangles: ear clipping where a fan would leave the polygon.

Source: Held, FIST: fast industrial-strength triangulation of polygons, Algorithmica 2001; ``mapbox_earcut``.
"""

from collections.abc import Sequence

import mapbox_earcut
import numpy as np
from jaxtyping import Bool, Float, Int

# Corners that lie on a straight line up to rounding, as a share of the squared size of their polygon.
_FLAT = 1e-12
# Ears of a polygon that crosses itself take up to the cube of its corners: a minute or two of these.
MAX_CORNERS = 20_000
# Of all polygons whose ears are cut: the sum of their squared corners, some minutes where all cross themselves.
MAX_WORK = 10**9


def triangulate(
    points: Float[np.ndarray, "c 3"], sizes: Int[np.ndarray, " p"], names: Int[np.ndarray, " c"]
) -> tuple[Int[np.ndarray, "t 3"], Int[np.ndarray, " t"]]:
    """Cut polygons into triangles of the same winding that cover them and nothing else.

    A polygon is flattened along the axis to which its area normal (Newell's) is closest. A fan from the first corner is
    taken where it is right, as for every convex polygon; else the ears are cut. Polygons without area give no triangle,
    and of one that crosses itself some triangles between its corners are given.

    Args:
      points: the corners of all polygons, one polygon after the other, finite.
      sizes: corners of each polygon; they add up to c.
      names: the vertex that each corner is, for a corner given twice is one corner.

    Returns:
      Triangles as positions in ``points``, in the order of the polygons, and the polygon that each belongs to.

    Raises:
      ValueError: ears of more than ``MAX_CORNERS`` corners, or more than ``MAX_WORK``.
    """
    starts = np.cumsum(sizes) - sizes
    pieces, owners, work = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)], 0
    for size in np.unique(sizes[sizes >= 3]):
        polygon = np.flatnonzero(sizes == size)
        corner = starts[polygon][:, None] + np.arange(size)
        triangles = np.stack([np.zeros(size - 2, int), np.arange(1, size - 1), np.arange(2, size)], axis=-1)
        fan = corner[:, triangles]
        bad = np.zeros(len(polygon), bool)
        if size > 3:
            flat = _flatten(points[corner])
            bad = ~_fan_is_right(flat)
        if size == 4 and bad.any():  # the other diagonal
            turned = np.roll(corner, -1, axis=1)[:, triangles]
            rescued = bad & _fan_is_right(np.roll(flat, -1, axis=1))
            fan[rescued], bad = turned[rescued], bad & ~rescued
        pieces.append(fan[~bad].reshape(-1, 3))
        owners.append(np.repeat(polygon[~bad], size - 2))
        work += int(bad.sum()) * int(size) ** 2
        if work > MAX_WORK:
            raise ValueError("too many polygons of too many corners that are not convex; triangulate the mesh first")
        for k in np.flatnonzero(bad):
            cut = _cut_ears(points[corner[k]], names[corner[k]])
            pieces.append(corner[k][cut])
            owners.append(np.full(len(cut), polygon[k]))
    corners, owner = np.concatenate(pieces), np.concatenate(owners)
    named = names[corners]
    order = np.argsort(owner, kind="stable")
    order = order[(named != np.roll(named, 1, axis=1)).all(axis=1)[order]]
    return corners[order], owner[order]


def triangulate_with_holes(rings: Sequence[Float[np.ndarray, "_ 3"]]) -> Int[np.ndarray, "t 3"]:
    """One polygon with holes; the triangles are positions in the rings laid end to end, wound as the first ring.

    Args:
      rings: the outline, then the holes, each of at least three finite corners.
    """
    axes = _axes(_scaled(np.asarray(rings[0])[None]))[0]
    return _earcut((np.concatenate(rings) - rings[0][0])[:, axes], np.cumsum([len(ring) for ring in rings]))


def strip_triangles(corners: Int[np.ndarray, " c"]) -> Int[np.ndarray, "t 3"]:
    """The triangles of a strip of corners, every second one turned round, so that all are wound as the first."""
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=-1).astype(np.int64)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]
    return triangles


def _scaled(polygons: Float[np.ndarray, "p n 3"]) -> Float[np.ndarray, "p n 3"]:
    """Each polygon from its first corner, its farthest coordinate at 1."""
    relative = polygons - polygons[:, :1]
    reach = np.abs(relative).max(axis=(1, 2), keepdims=True)
    return relative / np.where(reach > 0, reach, 1)


def _axes(polygons: Float[np.ndarray, "p n 3"]) -> Int[np.ndarray, "p 2"]:
    """The two axes that a polygon keeps when it is flattened, in the order that makes it counter-clockwise."""
    crosses = np.cross(polygons[:, :-1], polygons[:, 1:])
    normal = crosses.sum(axis=1)
    # Two halves of an eight cancel out: then the corner that turns most.
    turn = crosses[np.arange(len(crosses)), np.square(crosses).sum(axis=-1).argmax(axis=1)]
    normal = np.where(np.abs(normal).max(axis=-1, keepdims=True) > _FLAT, normal, turn)
    axis = np.abs(normal).argmax(axis=-1)
    axes = np.stack([(axis + 1) % 3, (axis + 2) % 3], axis=-1)
    clockwise = np.take_along_axis(normal, axis[:, None], axis=-1)[:, 0] < 0
    axes[clockwise] = axes[clockwise][:, ::-1]
    return axes


def _flatten(polygons: Float[np.ndarray, "p n 3"]) -> Float[np.ndarray, "p n 2"]:
    scaled = _scaled(polygons)
    return np.take_along_axis(scaled, _axes(scaled)[:, None], axis=-1)


def _fan_is_right(polygons: Float[np.ndarray, "p n 2"]) -> Bool[np.ndarray, " p"]:
    """Whether all of a flat counter-clockwise polygon is seen from its first corner, once."""
    arms = polygons[:, 1:] - polygons[:, :1]
    first, second = arms[:, :-1], arms[:, 1:]
    doubled_area = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    angle_rad = np.arctan2(np.maximum(doubled_area, 0), (first * second).sum(axis=-1)).sum(axis=-1)
    turns_left = (doubled_area >= -_FLAT).all(axis=-1) & (doubled_area.sum(axis=-1) > _FLAT)
    return turns_left & (angle_rad < 2 * np.pi + 1e-6)


def _cut_ears(points: Float[np.ndarray, "n 3"], names: Int[np.ndarray, " n"]) -> Int[np.ndarray, "t 3"]:
    repeated = (names == np.roll(names, 1)) | (points == np.roll(points, 1, axis=0)).all(axis=-1)
    kept = np.flatnonzero(~repeated)
    distinct = np.unique(points[kept], axis=0, return_index=True)[1]
    # Bridges to holes come twice to some corners. What comes more often to all of them is no outline.
    kept = kept[np.sort(distinct)] if len(kept) > 2 * len(distinct) else kept
    if len(kept) < 3:
        return np.zeros((0, 3), np.int64)
    flat = _flatten(points[kept][None])[0]
    return kept[_earcut(flat, np.array([len(kept)]))]


def _earcut(flat: Float[np.ndarray, "n 2"], ends: Int[np.ndarray, " r"]) -> Int[np.ndarray, "t 3"]:
    """Counter-clockwise triangles of one flat polygon, without those that have no area at all."""
    if len(flat) > MAX_CORNERS:
        raise ValueError(
            f"a polygon of {len(flat):,} corners that is not convex, at most {MAX_CORNERS:,} can be cut into triangles"
        )
    flat = np.ascontiguousarray(flat, np.float64)
    cut = mapbox_earcut.triangulate_float64(flat, ends.astype(np.uint32)).reshape(-1, 3).astype(np.int64)
    a, b, c = (flat[cut[:, k]] for k in range(3))
    doubled_area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    cut[doubled_area < 0] = cut[doubled_area < 0][:, ::-1]
    return cut[doubled_area != 0]
