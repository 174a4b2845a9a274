"""Intersection over union of solids in voxels, and the voxels of a predicted mesh."""

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.data.occupancy import solid_occupancy
from ast_jax.evaluation.nmr_voxels import nmr_occupancy

# name -> vertices, faces, resolution -> voxels [x, y, z]
VOXEL_RULES = {"touch": solid_occupancy, "nmr": nmr_occupancy}


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
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int = 32, rule: str = "touch"
) -> Bool[np.ndarray, "r r r"]:
    """The solid inside a mesh.

    Args:
      vertices: object units; the grid covers [-0.5, 0.5]^3.
      faces: any winding; for ``"touch"`` holes up to a voxel do no harm.
      resolution: voxels per side.
      rule: ``"touch"``: every voxel that the surface touches and all inside, as the truth of the data sets made
        here. ``"nmr"``: that of the published numbers on NMR's voxels.

    Returns:
      occupied voxels, indexed x, y, z.

    Raises:
      ValueError: no such rule, no face, or a vertex that is not finite.
    """
    if rule not in VOXEL_RULES:
        raise ValueError(f"rule={rule!r}: choose one of {', '.join(VOXEL_RULES)}.")
    return VOXEL_RULES[rule](np.asarray(vertices, np.float64), faces, resolution)
