"""How close a predicted shape is to the true one. All on the CPU in float64."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from ast_jax.data.occupancy import solid_occupancy

# 2 % of the side of the cube that holds the objects. Tatarchenko et al. (CVPR 2019) take 1 %, which asks for
# some 100 000 points: with 10 000 the spacing of the samples is itself about 1 %.
F_SCORE_THRESHOLD = 0.02


def voxel_iou(a: Bool[np.ndarray, "x y z"], b: Bool[np.ndarray, "x y z"]) -> float:
    """Intersection over union of two solids: ``|a and b| / |a or b|``; 1 if both are empty.

    Args:
      a: occupied voxels.
      b: occupied voxels of the same grid.

    Returns:
      a value in [0, 1].

    Source: Choy et al., 3D-R2N2, ECCV 2016; at 32^3 as in NMR and SoftRas.
    """
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def mesh_occupancy(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int = 32
) -> Bool[np.ndarray, "r r r"]:
    """The solid inside a mesh, by the same function that made the truth of the data sets.

    Args:
      vertices: object units; the grid covers [-0.5, 0.5]^3.
      faces: any winding, holes up to a voxel.
      resolution: voxels per side.

    Returns:
      occupied voxels, indexed x, y, z.

    Raises:
      ValueError: no face, or a vertex that is not finite.
    """
    return solid_occupancy(np.asarray(vertices, np.float64), faces, resolution)


def sample_surface(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], num_points: int, seed: int
) -> Float[np.ndarray, "m 3"]:
    """Points uniform by area on all faces of a mesh.

    ``p = (1 - sqrt(u)) a + sqrt(u) (1 - w) b + sqrt(u) w c`` on the face a, b, c; u, w uniform in [0, 1].

    Args:
      vertices: object units.
      faces: at least one with area.
      num_points: how many.
      seed: the same seed gives the same points.

    Returns:
      the points, float64.

    Raises:
      ValueError: the mesh has no area or a vertex that is not finite.

    Source: Osada et al., Shape distributions, ACM TOG 2002, section 4.2.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = np.linalg.norm(np.cross(first, second), axis=1)
    if not (np.isfinite(areas).all() and areas.sum() > 0.0):
        raise ValueError("vertices: the mesh has no area or a vertex that is not finite; nothing to sample.")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(areas), num_points, p=areas / areas.sum())
    root, other = np.sqrt(rng.random((num_points, 1))), rng.random((num_points, 1))
    return corners[chosen, 0] + root * ((1.0 - other) * first[chosen] + other * second[chosen])


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
    to_target, to_points = cKDTree(target).query(points)[0], cKDTree(points).query(target)[0]
    chamfer = 0.5 * float(to_target.mean() + to_points.mean())
    precision, recall = float((to_target < threshold).mean()), float((to_points < threshold).mean())
    return chamfer, 2.0 * precision * recall / max(precision + recall, np.finfo(float).tiny)


def chamfer_l1(points: Float[np.ndarray, "m 3"], target: Float[np.ndarray, "n 3"]) -> float:
    """Mean distance between two point sets, both ways: ``(mean_a min_b |a - b| + mean_b min_a |a - b|) / 2``.

    Args:
      points: on the predicted surface.
      target: on the true surface.

    Returns:
      a distance in object units; papers often print ten times this.

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 4; Unicorn and AST use the same.
    """
    return surface_scores(points, target)[0]


def f_score(
    points: Float[np.ndarray, "m 3"],
    target: Float[np.ndarray, "n 3"],
    threshold: float = F_SCORE_THRESHOLD,
) -> float:
    """Harmonic mean of precision and recall, the shares of points with a counterpart within the threshold.

    Args:
      points: on the predicted surface.
      target: on the true surface.
      threshold: object units.

    Returns:
      a value in [0, 1].

    Source: Knapitsch et al., Tanks and Temples, 2017; Tatarchenko et al., CVPR 2019.
    """
    return surface_scores(points, target, threshold)[1]
