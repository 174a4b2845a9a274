"""Textures: colours on faces, as basis functions of the barycentrics times coefficients of each face.

A texture on a face is `colour(b) = sum_k basis_k(b) coefficient_k`. Vertex colours have the barycentrics as
basis and three coefficients; a grid of t x t texels has t^2 products of two hat functions, which is
bilinear interpolation.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float

from render.arrays import Array
from render.interpolate import interpolate, take_faces
from render.mesh import gather_corners
from render.rasterize import Fragments


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VertexColours:
    """Colours at vertices, interpolated linearly on faces.

    Args:
        values: `[b, v, 3]`, usually in [0, 1].
    """

    values: Float[Array, "b v 3"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FaceTexels:
    """A grid of t x t texels on each face, interpolated bilinearly.

    Texel (i, j) sits where the barycentrics are `b1 = i / (t - 1)`, `b2 = j / (t - 1)`, `b0 = 1 - b1 - b2`;
    with t = 1 the face has one colour. Texels beyond the diagonal, `i + j > t - 1`, lie outside of the face
    and matter only in the cells that the diagonal crosses.

    Args:
        values: `[b, f, t, t, 3]`, usually in [0, 1].
    """

    values: Float[Array, "b f t t 3"]


Texture = VertexColours | FaceTexels
Barycentrics: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]


def sample_texture(texture: Texture, faces: Array, fragments: Fragments) -> Float[Array, "b h w 3"]:
    """Colour of the nearest face at each pixel, zero where there is none.

    Args:
        texture: colours.
        faces: `[f, 3]` or `[b, f, 3]`.
        fragments: from `rasterize`.

    Returns:
        Colours, differentiable in the texture and in the barycentrics.
    """
    if isinstance(texture, VertexColours):
        return interpolate(fragments, texture.values, faces)
    return sample_face_texels(texture.values, fragments)


def sample_face_texels(texels: Float[Array, "b f t t c"], fragments: Fragments) -> Float[Array, "b h w c"]:
    """Bilinear lookup in the texel grid of the nearest face, see `FaceTexels`; zero where there is none.

    Args:
        texels: any number of channels.
        fragments: from `rasterize`.

    Returns:
        Values, differentiable in the texels and in the barycentrics.

    Raises:
        ValueError: wrong shape.
    """
    if texels.ndim != 5 or texels.shape[2] != texels.shape[3]:
        raise ValueError(f"texels must have shape [b, f, t, t, c], got {texels.shape}")
    side = texels.shape[2]
    grids = jnp.asarray(texels).reshape(*texels.shape[:2], side * side, texels.shape[4])
    if side == 1:
        return take_faces(grids[:, :, 0], fragments.face_id)
    total = 0.0
    rows, columns = (_cell(fragments.barycentric[..., axis], side) for axis in (1, 2))
    for i, weight_i in rows:
        for j, weight_j in columns:
            values = take_faces(grids, fragments.face_id, i * side + j)
            total = total + (weight_i * weight_j)[..., None] * values
    return total


def face_coefficients(texture: Texture, faces: Array) -> jax.Array:
    """Coefficients of all faces of a batch, `[b * f, k, 3]`, see the top."""
    if isinstance(texture, VertexColours):
        return gather_corners(jnp.asarray(texture.values), faces).reshape(-1, 3, 3)
    values = jnp.asarray(texture.values)
    return values.reshape(-1, values.shape[2] * values.shape[3], 3)


def texel_side(texture: Texture) -> int:
    """Texels along a face; 0 stands for vertex colours."""
    return 0 if isinstance(texture, VertexColours) else texture.values.shape[2]


def colour_at(side: int, coefficients: jax.Array, weights: Barycentrics) -> tuple[jax.Array, ...]:
    """Colours of points on faces.

    Args:
        side: texels along a face, 0 for vertex colours.
        coefficients: `[k, 3, pairs]` of the face of each pair.
        weights: barycentrics, `[pairs]` each.

    Returns:
        Red, green, blue, `[pairs]` each.
    """
    return tuple(_field(side, coefficients[:, channel], weights) for channel in range(3))


def field_gradient(side: int, values: jax.Array, weights: Barycentrics) -> tuple[jax.Array, Barycentrics]:
    """A scalar texture at points on faces, and its derivatives.

    Args:
        side: texels along a face, 0 for vertex colours.
        values: `[k, pairs]` coefficients.
        weights: barycentrics.

    Returns:
        The values, and their derivatives by the three barycentrics.
    """
    if side == 0:
        return _field(side, values, weights), tuple(values)
    grid = values.reshape(side, side, -1)
    first, second = _hats(side, weights[1]), _hats(side, weights[2])
    value = _contract(grid, first, second)
    along = _contract(grid, _slopes(side, weights[1]), second)
    across = _contract(grid, first, _slopes(side, weights[2]))
    return value, (jnp.zeros_like(value), along, across)


def coefficient_gradient(side: int, weights: Barycentrics, cotangent: Sequence[jax.Array]) -> jax.Array:
    """Carries a gradient of `colour_at`, three arrays over pairs, to the coefficients `[k, 3, pairs]`."""
    colours = jnp.stack(cotangent)
    if side == 0:
        return jnp.stack(weights)[:, None] * colours[None]
    lines = _hats(side, weights[1])[:, None, None] * _hats(side, weights[2])[None, :, None]
    return (lines * colours[None, None]).reshape(side * side, *colours.shape)


def check_texture(texture: Texture, vertices: Array, faces: Array) -> None:
    """Raises a ValueError when a texture does not fit a mesh."""
    batch, num_vertices, num_faces = vertices.shape[0], vertices.shape[1], faces.shape[-2]
    shape = texture.values.shape
    if isinstance(texture, VertexColours):
        expected, fits = f"[{batch}, {num_vertices}, 3]", shape == (batch, num_vertices, 3)
    else:
        expected = f"[{batch}, {num_faces}, t, t, 3]"
        fits = len(shape) == 5 and shape == (batch, num_faces, shape[2], shape[2], 3) and shape[2] > 0
    if not fits:
        raise ValueError(f"texture values of this mesh must have shape {expected}, got {shape}")


def _field(side: int, values: jax.Array, weights: Barycentrics) -> jax.Array:
    if side == 0:
        return sum(weight * value for weight, value in zip(weights, values))
    return _contract(values.reshape(side, side, -1), _hats(side, weights[1]), _hats(side, weights[2]))


def _contract(grid: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """`sum_ij first_i second_j grid_ij`, written so that XLA sums over i without storing products."""
    inner = sum(grid[:, j] * second[j][None] for j in range(grid.shape[1]))
    return jnp.sum(first * inner, axis=0)


def _hats(side: int, weight: jax.Array) -> jax.Array:
    """Hat functions on the lattice i / (side - 1), `[side, pairs]`."""
    lattice = jnp.arange(side, dtype=weight.dtype)[:, None]
    return jnp.maximum(1.0 - jnp.abs(weight[None] * (side - 1) - lattice), 0.0)


def _slopes(side: int, weight: jax.Array) -> jax.Array:
    """Derivatives of `_hats`; on a lattice line those of the cell above, on the last line those of the cell below."""
    scaled = jnp.minimum(weight * (side - 1), side - 1 - 1e-6)[None]
    offset = scaled - jnp.arange(side, dtype=weight.dtype)[:, None]
    falling = jnp.where((offset >= 0) & (offset < 1), -1.0, 0.0)
    return (side - 1) * jnp.where((offset >= -1) & (offset < 0), 1.0, falling)


def _cell(weight: jax.Array, side: int) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """The two lattice lines on either side of a barycentric, with their bilinear weights."""
    scaled = weight * (side - 1)
    low = jnp.clip(jnp.floor(scaled), 0, side - 2).astype(jnp.int32)
    fraction = scaled - low.astype(weight.dtype)
    return (low, 1.0 - fraction), (low + 1, fraction)
