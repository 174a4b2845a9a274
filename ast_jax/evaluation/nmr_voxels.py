"""Voxels of a mesh by the rule behind the published 3D IoU of NMR and SoftRas.

The rule samples the surface along lattice lines and then fills what it shuts off. A surface can slip through
between two lines, and voxels are shifted by half a voxel against those of `solid_occupancy`, so that the two do
not agree even for a ball. Use it to compare with published numbers only.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.data.occupancy import outside_of
from ast_jax.evaluation.pairs import enumerate_pairs


def nmr_occupancy(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int = 32
) -> Bool[np.ndarray, "r r r"]:
    """Solid voxels of a mesh in [-0.5, 0.5]^3 as NMR and SoftRas count them.

    Vertices go to ``x (r - 1) + r / 2``. A voxel ``[i, i + 1)`` per axis has surface if it holds a vertex, or if
    a face crosses one of the four lattice lines (integer coordinates 0 .. r - 1) along its edges within its
    height; borders of the face count. Solid is what six-neighbours do not connect with the border of the grid.

    Args:
      vertices: object units; what lies beyond the grid is cut off.
      faces: any winding.
      resolution: voxels per side.

    Returns:
      occupied voxels, indexed x, y, z.

    Raises:
      ValueError: no face, or a vertex that is not finite.

    Source: Kato et al., Neural 3D mesh renderer, CVPR 2018, section 5.1, and Liu et al., SoftRas, ICCV 2019:
      their released evaluation. It runs in single precision; here double decides ties on a border.
    """
    vertices = np.asarray(vertices, np.float64)
    if not len(faces) or not np.isfinite(vertices).all():
        raise ValueError("vertices, faces: a mesh with faces and finite vertices is needed to fill voxels.")
    triangles = (vertices * (resolution - 1) + resolution / 2)[faces]
    surface = np.zeros((resolution,) * 3, bool)
    _mark(surface, np.floor(triangles.reshape(-1, 3)).astype(np.int64))
    for axis in range(3):
        _mark(surface, _crossings(triangles, axis, resolution))
    return ~outside_of(surface)


def _crossings(triangles: np.ndarray, axis: int, resolution: int) -> Int[np.ndarray, "m 3"]:
    """Voxels around the lattice lines along one axis, at the heights where a face crosses them."""
    p, q = (i for i in range(3) if i != axis)
    face, line_p, line_q = _candidates(triangles[..., [p, q]], resolution)
    corner, first, second = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = first[:, p] * second[:, q] - first[:, q] * second[:, p]
    offset_p, offset_q = line_p - corner[face, p], line_q - corner[face, q]
    with np.errstate(divide="ignore", invalid="ignore"):  # faces along the line have no area: no crossing
        b = (second[face, q] * offset_p - second[face, p] * offset_q) / area[face]
        c = (first[face, p] * offset_q - first[face, q] * offset_p) / area[face]
        hit = (area[face] != 0.0) & (b >= 0.0) & (c >= 0.0) & (b + c <= 1.0)
    face, b, c = face[hit], b[hit], c[hit]
    height = np.floor(corner[face, axis] + b * first[face, axis] + c * second[face, axis])
    voxels = np.zeros((4, len(face), 3), np.int64)
    for number, (back_p, back_q) in enumerate(np.ndindex(2, 2)):
        voxels[number, :, p], voxels[number, :, q] = line_p[hit] - back_p, line_q[hit] - back_q
        voxels[number, :, axis] = height
    return voxels.reshape(-1, 3)


def _candidates(triangles: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a face and a lattice point in its bounding box, in the plane."""
    low = np.clip(np.ceil(triangles.min(axis=1)), 0, resolution).astype(np.int64)
    high = np.clip(np.floor(triangles.max(axis=1)), -1, resolution - 1).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    face, number = enumerate_pairs(size.prod(axis=1))
    row, column = np.divmod(number, np.maximum(size[face, 1], 1))
    return face, low[face, 0] + row, low[face, 1] + column


def _mark(surface: np.ndarray, voxels: np.ndarray) -> None:
    inside = ((voxels >= 0) & (voxels < len(surface))).all(axis=1)
    surface[tuple(voxels[inside].T)] = True
