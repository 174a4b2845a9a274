"""Points on the outer surface of a mesh that may hold seats, engines and doubled walls inside."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

MAX_ROUNDS = 20
# Voxels to walk off the surface to be clear of it in any direction: more than the diagonal of one.
STEP = 2.0


def sample_outer_surface(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    solid: Bool[np.ndarray, "r r r"],
    count: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]]:
    """Points uniform by area on the part of the surface that can be reached from outside.

    Args:
      vertices: within the cube [-0.5, 0.5]^3.
      solid: voxels of that cube, inside and surface; a point two of them behind the skin is dropped.
      count: how many points.

    Returns:
      Points, and unit normals that point out of the solid where the voxels tell which side that is.
    """
    outside = ~solid
    near_outside = ndimage.binary_dilation(np.pad(outside, 1, constant_values=True), np.ones((3, 3, 3)))[
        1:-1, 1:-1, 1:-1
    ]
    points, normals = np.zeros((0, 3)), np.zeros((0, 3))
    for _ in range(MAX_ROUNDS):
        new_points, new_normals = _sample(vertices, faces, count, rng)
        keep = _lookup(near_outside, new_points)
        points, normals = (
            np.concatenate([points, new_points[keep]]),
            np.concatenate([normals, new_normals[keep]]),
        )
        if len(points) >= count:
            break
    points, normals = points[:count], normals[:count]
    step = STEP / len(solid) * normals
    wrong = _lookup(outside, points - step) & ~_lookup(outside, points + step)
    return points, np.where(wrong[:, None], -normals, normals)


def _sample(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator):
    """Uniform by area, barycentrics by the square-root rule (Osada et al. 2002, "Shape distributions")."""
    corners = np.asarray(vertices, np.float64)[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(normal, axis=-1)
    cumulative = np.cumsum(double_area)
    face = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], count), side="right")
    face = np.minimum(face, len(faces) - 1)
    root, other = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    weights = np.stack([1 - root, root * (1 - other), root * other], axis=-1)
    points = np.einsum("mc,mcd->md", weights, corners[face])
    return points, normal[face] / np.maximum(double_area[face], 1e-300)[:, None]


def _lookup(grid: Bool[np.ndarray, "r r r"], points: Float[np.ndarray, "m 3"]) -> Bool[np.ndarray, " m"]:
    """The voxel of each point; all that lies beyond the cube is outside."""
    side = len(grid)
    index = np.floor((points + 0.5) * side).astype(np.int64)
    beyond = ((index < 0) | (index >= side)).any(axis=-1)
    return beyond | grid[tuple(np.clip(index, 0, side - 1).T)]
