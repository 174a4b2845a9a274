"""A cow made from a formula: a mesh to try things on, without a file."""

import numpy as np
from jaxtyping import Float, Int

# Round cones of the cow: start, end, radius at the start and at the end; those off the plane x = 0 have a twin.
_COW = (
    ((0.0, 0.02, -0.20), (0.0, 0.03, 0.10), 0.135, 0.135),  # trunk
    ((0.0, 0.08, 0.14), (0.0, 0.19, 0.25), 0.080, 0.065),  # neck
    ((0.0, 0.20, 0.25), (0.0, 0.13, 0.37), 0.070, 0.050),  # head
    ((0.075, -0.04, 0.12), (0.080, -0.33, 0.13), 0.055, 0.034),  # fore leg
    ((0.080, -0.02, -0.22), (0.085, -0.33, -0.24), 0.062, 0.034),  # hind leg
    ((0.050, 0.235, 0.23), (0.130, 0.25, 0.21), 0.026, 0.018),  # ear
    ((0.035, 0.260, 0.26), (0.065, 0.335, 0.27), 0.020, 0.012),  # horn
    ((0.0, 0.10, -0.32), (0.0, -0.12, -0.40), 0.020, 0.024),  # tail
    ((0.0, -0.10, -0.14), (0.0, -0.12, -0.12), 0.055, 0.050),  # udder
)
# How far the parts melt into each other, world units.
_MELT = 0.012


def cow(resolution: int = 64) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], Float[np.ndarray, "v 3"]]:
    """A spotted cow that fits into a sphere of radius 0.5, looking along +Z.

    The surface is where `-s log sum_i exp(-d_i / s)` of the distances d_i to round cones is zero.

    Args:
        resolution: cells along a side of the cube in which the surface is sought; 64 gives 10,000 faces,
            below about 48 small parts may touch.

    Returns:
        Vertices, faces, and colours of the vertices in [0, 1].
    """
    axis = (np.arange(resolution + 1) / resolution - 0.5).astype(np.float64)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    vertices, faces = surface_nets(_cow_field(points))
    vertices = vertices / resolution - 0.5
    return vertices, faces, _cow_colours(vertices)


def _cow_field(points: np.ndarray) -> np.ndarray:
    """Negative inside; about the distance near the surface."""
    total = np.zeros(points.shape[:-1])
    for start, end, first, last in _COW:
        for side in (1.0, -1.0) if start[0] else (1.0,):
            a, b = (np.array(point) * (side, 1.0, 1.0) for point in (start, end))
            along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
            distance = np.linalg.norm(points - a - along[..., None] * (b - a), axis=-1)
            total += np.exp((first + along * (last - first) - distance) / _MELT)
    return -_MELT * np.log(np.maximum(total, 1e-300))


def _cow_colours(points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    spots = np.sin(17 * x + 2.0) * np.sin(15 * y + 0.6) + np.sin(13 * z + 9 * x + 1.0) - 0.55
    eyes = 0.018 - np.linalg.norm(np.stack([np.abs(x) - 0.057, y - 0.215, z - 0.275], axis=-1), axis=-1)
    udder = 0.075 - np.linalg.norm(points - (0.0, -0.14, -0.12), axis=-1)
    horns = np.minimum(y - 0.29, z - 0.2)
    # Of each part: a function that is positive there, about how far it takes to change by one, and the colour.
    parts = (
        (spots, 8.0, (0.36, 0.21, 0.13)),
        (np.maximum(z - 0.365, udder), 100.0, (0.86, 0.58, 0.55)),
        (np.maximum(-0.30 - y, horns), 100.0, (0.22, 0.19, 0.18)),
        (eyes, 100.0, (0.1, 0.1, 0.1)),
    )
    colours = np.full(points.shape, (0.93, 0.90, 0.84))
    for where, slope, colour in parts:
        weight = np.clip(where * slope + 0.5, 0.0, 1.0)[:, None]
        colours = (1.0 - weight) * colours + weight * colour
    return colours


def surface_nets(field: Float[np.ndarray, "x y z"]) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Triangles of the zero surface of a sampled field, counter-clockwise seen from where it is positive.

    Each cell with corners of both signs gets a vertex, the mean of the zeros on its edges by linear interpolation;
    each edge between samples of different sign gets a quad of the four cells around it.

    Args:
        field: samples at whole coordinates, positive on the border of the grid.

    Returns:
        Vertices in the units of the grid, and faces.

    Source: Gibson, Constrained Elastic Surface Nets, MICCAI 1998 (without its relaxation).
    """
    cells = tuple(size - 1 for size in field.shape)
    total, count, quads = np.zeros((*cells, 3)), np.zeros(cells, int), []
    for axis in range(3):
        low, high = (np.moveaxis(field, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        at = np.argwhere((low < 0) != (high < 0))
        start, end = low[tuple(at.T)], high[tuple(at.T)]
        zero = at + np.outer(start / (start - end), (1, 0, 0))
        at, zero = (np.insert(values[:, 1:], axis, values[:, 0], axis=1) for values in (at, zero))
        # The other two axes in cyclic order, so that the quad turns counter-clockwise about this one.
        side, up = np.eye(3, dtype=int)[[(axis + 1) % 3, (axis + 2) % 3]]
        around = np.stack([at - side - up, at - up, at, at - side], axis=1)
        for cell in np.moveaxis(around, 1, 0):
            np.add.at(total, tuple(cell.T), zero)
            np.add.at(count, tuple(cell.T), 1)
        quads.append(np.where((start < 0)[:, None, None], around, around[:, ::-1]))
    number = np.cumsum(count > 0).reshape(cells) - 1
    quad = number[tuple(np.moveaxis(np.concatenate(quads), -1, 0))]
    faces = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.int32)
    return total[count > 0] / count[count > 0][:, None], faces
