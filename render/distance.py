"""Signed squared distance of pixels to triangles on the screen, with its analytic gradient.

Arrays are over the pairs of a chunk, see `render.worklist`: one pixel against one triangle each. All the gradient
needs of the nearest point on the border is its position, one number, which callers compute `once`.
"""

import jax
import jax.numpy as jnp

from render.screen import doubled_area

# The sigmoid of +-60 is within 1e-26 of 0 and 1; beyond, exponentials turn denormal, slow on many CPUs.
_FLAT = 60.0


def triangle_table(corners: jax.Array) -> jax.Array:
    """What the distance functions need to know of each triangle.

    Args:
        corners: `[m, 6]` x0 y0 x1 y1 x2 y2 on the screen.

    Returns:
        `[m, 9]`: the corners, then 1 / length^2 of the edges 0-1, 1-2, 2-0 (zero for an edge without length). These
        carry no gradient, and distances need none of it: they only say where on an edge the nearest point is, and
        there the distance is at a minimum.
    """
    points = corners.reshape(-1, 3, 2)
    edges = jnp.roll(points, -1, axis=1) - points
    length2 = jnp.sum(edges * edges, axis=-1)
    exists = length2 > jnp.finfo(length2.dtype).tiny
    inverse = jnp.where(exists, 1.0 / jnp.where(exists, length2, 1.0), 0.0)
    return jnp.concatenate([corners, jax.lax.stop_gradient(inverse)], axis=-1)


def signed_squared_distance(rows: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared distance to the border of the triangle, negative inside; the border itself counts as inside.

    A triangle without area is the segment (or point) it collapsed to, and nothing is inside of it. Not for automatic
    differentiation, in which the nearest of three edges may get lost (`positive_part` says how): that is for
    `distance_at`.

    Args:
        rows: `[9, pairs]` of `triangle_table`.
        x: `[pairs]` pixel centres.
        y: `[pairs]`.

    Returns:
        `[pairs]`.
    """
    corners = relative_corners(rows, x, y)
    squared = [_edge(*corners[i], *corners[(i + 1) % 3], rows[6 + i])[0] for i in range(3)]
    nearest = jnp.minimum(jnp.minimum(squared[0], squared[1]), squared[2])
    return jnp.where(inside(corners), -nearest, nearest)


def probability(signed_squared: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """Soft membership `sigmoid(-d / sigma)` of pixels at signed squared distance d."""
    return jax.nn.sigmoid(-jnp.clip(signed_squared / sigma, -_FLAT, _FLAT))


def border_position(rows: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Where on the border the point nearest to each pixel is: i + s at fraction s of the edge from corner
    i."""
    corners = relative_corners(rows, x, y)
    first, second, third = (_edge(*corners[i], *corners[(i + 1) % 3], rows[6 + i]) for i in range(3))
    use_first = (first[0] <= second[0]) & (first[0] <= third[0])
    other = jnp.where(second[0] <= third[0], 1.0 + second[1], 2.0 + third[1])
    return jnp.where(use_first, first[1], other)


def distance_at(rows: jax.Array, x: jax.Array, y: jax.Array, position: jax.Array) -> jax.Array:
    """`signed_squared_distance` from the border position already found."""
    corners = relative_corners(rows, x, y)
    to_x, to_y = _to_border(corners, position)
    squared = to_x * to_x + to_y * to_y
    return jnp.where(inside(corners), -squared, squared)


def distance_gradient(
    rows: jax.Array, x: jax.Array, y: jax.Array, position: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, ...]:
    """Carries a gradient of the squared distance to the corners.

    The nearest border point minimises the distance, so its own motion along the border does not count:
    `d(distance^2) / d(corner i) = 2 weight_i (nearest point - pixel)`.

    Args:
        rows: `[9, pairs]` of `triangle_table`.
        x: `[pairs]` pixel centres.
        y: `[pairs]`.
        position: result of `border_position`.
        cotangent: `[pairs]` of the squared distance without sign.

    Returns:
        Six arrays, in the order of the corners.
    """
    pull = [2.0 * cotangent * axis for axis in _to_border(relative_corners(rows, x, y), position)]
    return tuple(weight * axis for weight in _corner_weights(position) for axis in pull)


def inside(corners: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Whether the origin lies in triangles of either winding; the border counts, as for `render.rasterize`."""
    first, second, third = doubled_areas(corners)
    positive = jnp.minimum(jnp.minimum(first, second), third) >= 0
    negative = jnp.maximum(jnp.maximum(first, second), third) <= 0
    # On the line through a triangle without area all three vanish, but only points between its corners are
    # on it.
    (ax, ay), (bx, by), (cx, cy) = corners
    low = jnp.maximum(jnp.minimum(jnp.minimum(ax, bx), cx), jnp.minimum(jnp.minimum(ay, by), cy))
    high = jnp.minimum(jnp.maximum(jnp.maximum(ax, bx), cx), jnp.maximum(jnp.maximum(ay, by), cy))
    return (positive | negative) & (low <= 0) & (high >= 0)


def doubled_areas(corners: list[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Twice the signed areas of (origin, corner 1, corner 2), (origin, 2, 0), (origin, 0, 1): barycentrics,
    unscaled."""
    first, second, third = corners
    return doubled_area(*second, *third), doubled_area(*third, *first), doubled_area(*first, *second)


def relative_corners(
    rows: jax.Array | list[jax.Array], x: jax.Array, y: jax.Array
) -> list[tuple[jax.Array, jax.Array]]:
    return [(rows[2 * i] - x, rows[2 * i + 1] - y) for i in range(3)]


def _edge(ax, ay, bx, by, inverse_length2) -> tuple[jax.Array, jax.Array]:
    """Squared distance of the origin to a segment, and the fraction of the segment at which it is reached."""
    edge_x, edge_y = bx - ax, by - ay
    along = jnp.clip(-(ax * edge_x + ay * edge_y) * inverse_length2, 0.0, 1.0)
    to_x, to_y = ax + along * edge_x, ay + along * edge_y
    return to_x * to_x + to_y * to_y, along


def _corner_weights(position: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return (
        jnp.maximum(1.0 - position, 0.0) + jnp.maximum(position - 2.0, 0.0),
        jnp.maximum(1.0 - jnp.abs(position - 1.0), 0.0),
        jnp.maximum(1.0 - jnp.abs(position - 2.0), 0.0),
    )


def _to_border(corners: list[tuple[jax.Array, jax.Array]], position: jax.Array) -> tuple[jax.Array, jax.Array]:
    weights = _corner_weights(position)
    return tuple(sum(weight * corner[axis] for weight, corner in zip(weights, corners)) for axis in range(2))
