"""Perspective-correct barycentrics of pixels beside a face: clamped to the face, with their analytic gradient.

The screen barycentrics are clamped to >= 0, weighted with 1 / w and scaled to sum to one. Arrays are over the pairs
of a chunk or over pixels; `rows` is a table of `face_table`, columns first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from render.arrays import positive_part
from render.distance import doubled_areas, relative_corners, triangle_table
from render.screen import ScreenFaces

# Squared pixels; below, the area of a face is rounding noise and its colour that of corner 0. The same holds for areas
# times 1 / w, which perspective makes smaller: by no more than a million, unless a face reaches almost to infinity.
_LEAST_AREA, _LEAST_PART = 1e-6, 1e-12
# Where the parts of a row of the table begin after the triangle table: 1 / w, depth.
INVERSE_W, DEPTH = 9, 12


def face_table(screen: ScreenFaces) -> jax.Array:
    """`[m, 15]`: triangle table, 1 / w and depth of the corners of all faces."""
    return jnp.concatenate([triangle_table(screen.corners), screen.inverse_w, screen.depth], axis=-1)


class Place(NamedTuple):
    """Where on a face a pixel is, clamped to the face.

    Attributes:
        weights: perspective-correct barycentrics, three arrays that sum to one.
        areas: doubled areas that the barycentrics come from, >= 0.
        scale: 1 / sum of areas times 1 / w; zero for faces without area.
        winding: 1 or -1.
    """

    weights: tuple[jax.Array, jax.Array, jax.Array]
    areas: tuple[jax.Array, jax.Array, jax.Array]
    scale: jax.Array
    winding: jax.Array


def place(rows: jax.Array, x: jax.Array, y: jax.Array) -> Place:
    """Clamped barycentrics of pixel centres x, y."""
    crosses = doubled_areas(relative_corners(rows, x, y))
    winding = jnp.where(crosses[0] + crosses[1] + crosses[2] < 0, -1.0, 1.0).astype(rows.dtype)
    areas = tuple(positive_part(winding * cross) for cross in crosses)
    parts = [area * rows[INVERSE_W + i] for i, area in enumerate(areas)]
    total = parts[0] + parts[1] + parts[2]
    solid = (areas[0] + areas[1] + areas[2] > _LEAST_AREA) & (total > _LEAST_PART)
    # Divided, not multiplied by the inverse: where one part is left its weight is one, and depth that of the corner.
    divisor = jnp.where(solid, total, 1.0)
    weights = tuple(jnp.where(solid, part / divisor, rest) for part, rest in zip(parts, (1.0, 0.0, 0.0)))
    return Place(weights, areas, jnp.where(solid, 1.0 / divisor, 0.0), winding)


def depth_of(rows: jax.Array, weights: tuple[jax.Array, ...]) -> jax.Array:
    """Depth at barycentrics."""
    return sum(weight * rows[DEPTH + i] for i, weight in enumerate(weights))


def parts_gradient(where: Place, cotangent: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Carries a gradient of the barycentrics to areas / w, before they are scaled to sum to one."""
    mean = sum(g * weight for g, weight in zip(cotangent, where.weights))
    return tuple((g - mean) * where.scale for g in cotangent)


def place_gradient(
    rows: jax.Array, x: jax.Array, y: jax.Array, where: Place, to_parts: tuple[jax.Array, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Carries a gradient of areas / w to the corners (six arrays) and to 1 / w (three)."""
    to_inverse_w = tuple(g * area for g, area in zip(to_parts, where.areas))
    u, v, w = (
        jnp.where(area > 0, g * rows[INVERSE_W + i] * where.winding, 0.0)
        for i, (g, area) in enumerate(zip(to_parts, where.areas))
    )
    (ax, ay), (bx, by), (cx, cy) = relative_corners(rows, x, y)
    corners = (
        w * by - v * cy,
        v * cx - w * bx,
        u * cy - w * ay,
        w * ax - u * cx,
        v * ay - u * by,
        u * bx - v * ax,
    )
    return corners, to_inverse_w
