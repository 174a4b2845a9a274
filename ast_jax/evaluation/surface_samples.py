"""Points spread evenly over a predicted mesh."""

import numpy as np
from jaxtyping import Float, Int


def sample_surface(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], num_points: int, seed: int
) -> Float[np.ndarray, "m 3"]:
    """Points uniform by area on all faces of a mesh: see `sample_surface_with_normals`."""
    return sample_surface_with_normals(vertices, faces, num_points, seed)[0]


def sample_surface_with_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], num_points: int, seed: int
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]]:
    """Points uniform by area on all faces of a mesh, with the normals of their faces.

    ``p = (1 - sqrt(u)) a + sqrt(u) (1 - w) b + sqrt(u) w c`` on the face a, b, c; u, w uniform in [0, 1].

    Args:
      vertices: object units.
      faces: at least one with area.
      num_points: how many.
      seed: the same seed gives the same points.

    Returns:
      the points and unit normals (right hand rule of the face), float64.

    Raises:
      ValueError: the mesh has no area or a vertex that is not finite.

    Source: Osada et al., Shape distributions, ACM TOG 2002, section 4.2.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = np.cross(first, second)
    areas = np.linalg.norm(normals, axis=1)
    if not (np.isfinite(areas).all() and areas.sum() > 0.0):
        raise ValueError("vertices: the mesh has no area or a vertex that is not finite; nothing to sample.")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(areas), num_points, p=areas / areas.sum())
    root, other = np.sqrt(rng.random((num_points, 1))), rng.random((num_points, 1))
    points = corners[chosen, 0] + root * ((1.0 - other) * first[chosen] + other * second[chosen])
    return points, normals[chosen] / areas[chosen, None]
