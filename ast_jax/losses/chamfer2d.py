"""A far-reaching companion of the silhouette IoU, for thin parts that the rasterizer's narrow band cannot find."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ast_jax.losses.term import Seen, Term
from ast_jax.losses.views import project_points


def silhouette_chamfer_loss(
    vertices_ndc: Float[Array, "n v 2"], mask: Float[Array, "n h w"], *, cell: int = 4
) -> Float[Array, " n"]:
    """Two-way Chamfer distance between the projected vertices and the mask.

    The mask is summed up in cells of ``cell x cell`` pixels, each with its centroid c_i and its share of the mask
    m_i in [0, 1]:

        L = sum_i m_i min_v |c_i - x_v|^2 / sum_i m_i + mean_v max(min_{i: m_i > 0} |c_i - x_v| - r, 0)^2

    with r half the diagonal of a cell, so that a vertex anywhere inside the mask costs nothing. The gradient of the
    IoU lives in a band of some sqrt(sigma) about the outline; this one reaches from anywhere to anywhere. It grows
    with (cells x vertices), not with (pixels x faces).

    Args:
      vertices_ndc: projected vertices.
      mask: in [0, 1]; height and width are multiples of ``cell``.
      cell: pixels per cell side.

    Returns:
      one value per view, squared NDC; 0 for an empty mask.

    Source: CMR's and U-CMR's distance-transform terms have the same purpose (Kanazawa 2018, Goel 2020).
    """
    n, height, width = mask.shape
    # AST-DIFF: the released code has no such term.
    cells = mask.reshape(n, height // cell, cell, width // cell, cell)
    x_ndc = (jnp.arange(width) + 0.5) / width * 2 - 1
    y_ndc = 1 - (jnp.arange(height) + 0.5) / height * 2
    weight = cells.sum((2, 4))
    safe = jnp.maximum(weight, 1e-6)
    x_cell = (cells * x_ndc.reshape(1, 1, 1, -1, cell)).sum((2, 4)) / safe
    y_cell = (cells * y_ndc.reshape(1, -1, cell, 1, 1)).sum((2, 4)) / safe
    weight, x_cell, y_cell = (a.reshape(n, -1) for a in (weight / cell**2, x_cell, y_cell))
    dx = x_cell[:, :, None] - vertices_ndc[:, None, :, 0]
    dy = y_cell[:, :, None] - vertices_ndc[:, None, :, 1]
    squared = dx * dx + dy * dy
    mask_to_mesh = (weight * squared.min(2)).sum(1) / jnp.maximum(weight.sum(1), 1e-6)
    far = jnp.where(weight[:, :, None] > 0, squared, jnp.inf).min(1)
    far = jnp.where(jnp.isfinite(far), far, 0.0)
    radius = jnp.hypot(cell / width, cell / height)  # half the diagonal of a cell in NDC
    outside = jnp.maximum(jnp.sqrt(jnp.maximum(far, 1e-12)) - radius, 0.0)
    return mask_to_mesh + jnp.square(outside).mean(1)


def _silhouette_chamfer(seen: Seen) -> Float[Array, " n"]:
    return silhouette_chamfer_loss(project_points(seen.prediction.vertices, seen.camera), seen.mask)


TERMS = (Term("silhouette_chamfer", _silhouette_chamfer),)
