"""What a pixel sees: the face, where on it, and how deep; with gradients to the faces on the screen.

Which face a pixel sees is found elsewhere (`render.zbuffer`, or another backend). From there on everything is here, so
that barycentrics and depth are the same numbers whoever found the face.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from render.arrays import Array
from render.distance import doubled_areas, relative_corners
from render.screen import ScreenFaces
from render.worklist import centre

# Where the parts of a row of `corner_table` begin after the corners.
_INVERSE_W, CORNER_DEPTH = 6, 9


class Fragments(NamedTuple):
    """What each pixel sees. With `layers=k` every array has an axis k after the batch, nearest first.

    Attributes:
        face_id: index of the face within its image, -1 where there is none.
        barycentric: perspective-correct weights of the three corners; zero where there is no face.
        depth: view depth, zero where there is no face.
    """

    face_id: Int[Array, "b *k h w"]
    barycentric: Float[Array, "b *k h w 3"]
    depth: Float[Array, "b *k h w"]


def check_fragments(fragments: Fragments) -> None:
    """Raises a ValueError when something is no result of `rasterize`."""
    if not isinstance(fragments, Fragments):
        raise ValueError(f"fragments must be Fragments as from rasterize, got {type(fragments).__name__}")
    shape = np.shape(fragments.face_id)
    for name, wanted in (("barycentric", (*shape, 3)), ("depth", shape)):
        found = np.shape(getattr(fragments, name))
        if len(shape) < 3 or found != wanted:
            raise ValueError(f"fragments must have {name} of shape {wanted} beside face_id {shape}, got {found}")
    if not jnp.issubdtype(fragments.face_id.dtype, jnp.integer):
        raise ValueError(f"fragments must have face_id of integers, got {fragments.face_id.dtype}")


def no_fragments(batch: int, image_size: tuple[int, int], dtype, layers: int | None = None) -> Fragments:
    """What pixels see of meshes without faces."""
    shape = (batch, *(() if layers is None else (layers,)), *image_size)
    return Fragments(jnp.full(shape, -1, jnp.int32), jnp.zeros((*shape, 3), dtype), jnp.zeros(shape, dtype))


@jax.checkpoint
def attach(screen: ScreenFaces, face_id: Int[Array, "b *k h w"], pixels: tuple[jax.Array, jax.Array]) -> Fragments:
    """Barycentrics and depth of the faces that pixels see; the backward pass computes them anew.

    Args:
        screen: faces of the whole batch.
        face_id: index within the image, -1 for none.
        pixels: x and y of the pixel centres, see `pixel_grid`.

    Returns:
        The fragments, differentiable in the faces.
    """
    covered = face_id >= 0
    columns = _columns_at(corner_table(screen), global_index(face_id, screen))
    corners = [jnp.where(covered, column, 0.0) for column in columns]
    edges = edge_functions(corners, *pixels)[1]
    total = edges[0] + edges[1] + edges[2]
    solid = is_solid(total)
    # Not a division: its derivative squares a sum that may be tiny before it multiplies with what is tiny too.
    inverse = jnp.where(solid, 1.0 / jnp.where(solid, total, 1.0), 0.0)
    barycentric = jnp.stack(edges, axis=-1) * inverse[..., None]
    depth = sum(barycentric[..., i] * corners[CORNER_DEPTH + i] for i in range(3))
    return Fragments(face_id, barycentric, depth)


@jax.custom_jvp
def _columns_at(table: jax.Array, index: jax.Array) -> list[jax.Array]:
    """Columns of a table `[m, c]` at rows of any shape.

    XLA computes on them as it gathers and stores none of them, as it would an array of rows. The gradient is added in
    rows nevertheless: columns of gradients would cost a table each.
    """
    return [table[:, column].at[index].get(mode="promise_in_bounds") for column in range(table.shape[1])]


@_columns_at.defjvp
def _columns_tangent(primals, tangents):
    rows = tangents[0].at[primals[1]].get(mode="promise_in_bounds")
    return _columns_at(*primals), [rows[..., column] for column in range(rows.shape[-1])]


def corner_table(screen: ScreenFaces) -> Float[Array, "m 12"]:
    """The numbers of each face that decide what is seen of it: x, y of its corners, then 1 / w, then depth."""
    return jnp.concatenate([screen.corners, screen.inverse_w, screen.depth], axis=-1)


def edge_functions(
    columns: jax.Array | list[jax.Array], x: jax.Array, y: jax.Array
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """`a_i` and `e_i = a_i / w_i` of `render.rasterize`, of faces at pixel centres.

    Args:
        columns: of `corner_table`, twelve arrays.
        x: of the pixel centres on the screen.
        y: of the same.

    Returns:
        Three doubled areas and three edge functions, one for each corner.
    """
    areas = doubled_areas(relative_corners(columns, x, y))
    return areas, tuple(area * columns[_INVERSE_W + i] for i, area in enumerate(areas))


def is_solid(total: jax.Array) -> jax.Array:
    """Whether a sum of edge functions is more than noise: the squared rounding error of coordinates of one pixel."""
    return jnp.abs(total) > jnp.finfo(total.dtype).eps ** 2


def global_index(face_id: jax.Array, screen: ScreenFaces) -> jax.Array:
    """Index into the faces of the whole batch; where there is no face, that of the image's first."""
    batch = face_id.shape[0]
    first = jnp.arange(batch, dtype=jnp.int32) * (screen.soft.shape[0] // max(batch, 1))
    return jnp.maximum(face_id, 0) + first.reshape(batch, *(1,) * (face_id.ndim - 1))


def pixel_grid(image_size: tuple[int, int], dtype, axes: int) -> tuple[jax.Array, jax.Array]:
    """x `[..., 1, w]` and y `[..., h, 1]` of pixel centres on the screen, arrays of that many axes."""
    x, y = (jnp.arange(n, dtype=dtype) - middle for n, middle in zip(reversed(image_size), centre(image_size)))
    return x.reshape(*(1,) * (axes - 1), -1), y.reshape(*(1,) * (axes - 2), -1, 1)
