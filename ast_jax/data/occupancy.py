"""Voxel solids that need no watertight mesh: every voxel that the surface touches, and all they enclose.

Published models are rarely closed (0 of 132 FlightGear aircraft), so inside tests by ray parity are wrong for
them. A flood fill from outside is right as long as gaps are smaller than a voxel; behind larger ones, what
has surface on all six sides still counts as inside.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

# Candidate (triangle, voxel) pairs tested at once: bounds the memory to about 0.5 GB.
PAIRS_PER_CHUNK = 1_000_000
# A triangle within this of a voxel touches it, in voxels; a face on a voxel boundary belongs to both sides.
TOLERANCE = 1e-9
# How far beyond the cube a mesh is voxelised exactly, in cube sides; what lies farther out is moved there.
MAX_MARGIN = 0.5


def solid_occupancy(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    resolution: int = 32,
    *,
    open_below: bool = False,
) -> Bool[np.ndarray, "r r r"]:
    """Solid voxels of the cube [-0.5, 0.5]^3: surface voxels and all that they shut off from outside.

    Args:
      vertices: in the cube; parts beyond it are followed so that the inside stays closed, then cut off.
      faces: of any winding; the mesh may have gaps.
      resolution: voxels per side.
      open_below: fill what is open below only, for bodies such as cars that are modelled without a floor.

    Returns:
      Grid indexed x, y, z.

    Raises:
      ValueError: no faces, a vertex that is not finite, or a face that names a missing vertex.
    """
    surface, margin = _grid_with_margin(vertices, faces, resolution)
    solid = ~outside_of(surface) | walled_in(surface, open_below)
    return solid[(slice(margin, margin + resolution),) * 3].copy()


def surface_occupancy(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int = 32
) -> Bool[np.ndarray, "r r r"]:
    """Voxels of the cube [-0.5, 0.5]^3 that a triangle touches, borders included.

    Raises:
      ValueError: as ``solid_occupancy``.
    """
    triangles = _checked_triangles(vertices, faces)
    return voxelise((triangles + 0.5) * resolution, resolution)


def walled_in(surface: Bool[np.ndarray, "x y z"], open_below: bool) -> Bool[np.ndarray, "x y z"]:
    """Voxels with surface on all six sides along the axes; on five if the way down (-y) does not count."""
    result = np.ones_like(surface)
    for axis in range(3):
        if axis != 1 or not open_below:
            result &= np.logical_or.accumulate(surface, axis=axis)
        result &= np.flip(np.logical_or.accumulate(np.flip(surface, axis), axis=axis), axis)
    return result


def outside_of(surface: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Voxels that face neighbours connect with the outside; one ring of empty voxels is added around."""
    labels, _ = ndimage.label(np.pad(~surface, 1, constant_values=True))
    return (labels == labels[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _checked_triangles(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "f 3 3"]:
    vertices = np.asarray(vertices, np.float64)
    if not len(faces):
        raise ValueError("faces is empty; an occupancy grid needs at least one triangle.")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices has a coordinate that is not finite (NaN or infinity).")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces names vertex {faces.max()}, vertices has {len(vertices)}.")
    return vertices[faces]


def _grid_with_margin(vertices: np.ndarray, faces: np.ndarray, resolution: int) -> tuple[np.ndarray, int]:
    """The surface over a cube grown by ``margin`` voxels on every side, enough to hold the mesh."""
    triangles = _checked_triangles(vertices, faces)
    reach = min(max(np.abs(triangles).max() - 0.5, 0.0), MAX_MARGIN)
    margin = int(np.ceil(reach * resolution - TOLERANCE))
    limit = 0.5 + margin / resolution
    grid = (np.clip(triangles, -limit, limit) + limit) * resolution
    return voxelise(grid, resolution + 2 * margin), margin


def voxelise(triangles_grid: Float[np.ndarray, "f 3 3"], side: int) -> Bool[np.ndarray, "r r r"]:
    """Voxels [i, i+1]^3 of a grid that triangles in grid units touch; exact, by the separating axis theorem.

    A triangle and a box are disjoint just if they are along a box axis, the triangle's normal, or a cross
    product of an edge with a box axis.

    Source: Akenine-Moller, "Fast 3D triangle-box overlap testing", 2001.
    """
    grid = np.zeros((side, side, side), bool)
    low = np.clip(np.ceil(triangles_grid.min(axis=1) - TOLERANCE) - 1, 0, side).astype(np.int64)
    high = np.clip(np.floor(triangles_grid.max(axis=1) + TOLERANCE) + 1, 0, side).astype(np.int64)
    shape = np.maximum(high - low, 0)
    counts = shape.prod(axis=1)
    ends = np.cumsum(counts)
    for start in range(0, int(ends[-1]), PAIRS_PER_CHUNK):
        pair = np.arange(start, min(start + PAIRS_PER_CHUNK, int(ends[-1])))
        face = np.searchsorted(ends, pair, side="right")
        voxel = low[face] + _unravel(pair - (ends - counts)[face], shape[face])
        hit = _plane_touches(triangles_grid, face, voxel)
        face, voxel = face[hit], voxel[hit]
        hit = _edges_touch(triangles_grid, face, voxel)
        grid[tuple(voxel[hit].T)] = True
    return grid


def _unravel(index: np.ndarray, shape: np.ndarray) -> Int[np.ndarray, "m 3"]:
    rest, z = np.divmod(index, shape[:, 2])
    x, y = np.divmod(rest, shape[:, 1])
    return np.stack([x, y, z], axis=-1)


def _plane_touches(triangles: np.ndarray, face: np.ndarray, voxel: np.ndarray) -> Bool[np.ndarray, " m"]:
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    offset = (normal * triangles[:, 0]).sum(axis=-1)
    radius = 0.5 * np.abs(normal).sum(axis=-1) * (1 + TOLERANCE) + TOLERANCE
    distance = np.einsum("md,md->m", normal[face], voxel + 0.5) - offset[face]
    return np.abs(distance) <= radius[face]


def _edges_touch(triangles: np.ndarray, face: np.ndarray, voxel: np.ndarray) -> Bool[np.ndarray, " m"]:
    """The nine axes edge x unit vector; each lies in the plane across that unit vector."""
    touches = np.ones(len(face), bool)
    edges = np.roll(triangles, -1, axis=1) - triangles
    centre = voxel + 0.5
    for axis in range(3):
        p, q = (axis + 1) % 3, (axis + 2) % 3
        # edge x e_axis has components (p: edge_q, q: -edge_p), up to sign.
        normal_p, normal_q = edges[..., q], -edges[..., p]
        # Project the three corners on the three axes of this direction: [f, edge, corner].
        reach = normal_p[..., None] * triangles[:, None, :, p] + normal_q[..., None] * triangles[:, None, :, q]
        low, high = reach.min(axis=-1), reach.max(axis=-1)
        radius = 0.5 * (np.abs(normal_p) + np.abs(normal_q)) * (1 + TOLERANCE) + TOLERANCE
        for edge in range(3):
            middle = normal_p[face, edge] * centre[:, p] + normal_q[face, edge] * centre[:, q]
            touches &= (middle >= (low - radius)[face, edge]) & (middle <= (high + radius)[face, edge])
    return touches
