"""Textures: colours on faces, as basis functions of the barycentrics times coefficients of each face, or as a
picture.

A texture on a face is `colour(b) = sum_k basis_k(b) coefficient_k`. Vertex and corner colours have the
barycentrics as basis and three coefficients; a grid of t x t texels has t^2 products of two hat functions,
which is bilinear interpolation. A UV image has no such basis; `bake_texels` gives it one.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render.arrays import Array, check_floats, floats_of, is_integer, to_float
from render.footprint import mip_level, uv_footprint
from render.fragments import Fragments, check_fragments
from render.interpolate import interpolate, take_faces
from render.mesh import gather_corners
from render.pytree import pytree
from render.uv import Wrap, sample_uv


@pytree
@dataclasses.dataclass(frozen=True)
class VertexColours:
    """Colours at vertices, interpolated linearly on faces.

    Args:
        values: `[b, v, 3]`, usually in [0, 1].
    """

    values: Float[Array, "b v 3"]


@pytree
@dataclasses.dataclass(frozen=True)
class CornerColours:
    """Colours at the corners of faces, interpolated linearly; faces that share a vertex may differ there.

    Args:
        values: `[b, f, 3, 3]` face, corner, channel; usually in [0, 1].
    """

    values: Float[Array, "b f 3 3"]


@pytree
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


@pytree
@dataclasses.dataclass(frozen=True)
class UVImage:
    """A picture on the faces, by uv coordinates of their corners.

    u points right and v up, (0, 0) is the bottom left corner of the picture (`render.uv`). The lookup is
    bilinear, and trilinear in mip levels where `sample_texture` knows the footprint of the pixels.

    Args:
        image: `[b, h, w, 3]`, or `[1, h, w, 3]` for all; row 0 is the top; usually in [0, 1].
        uv: `[b, f, 3, 2]`, or `[f, 3, 2]` for all.
        wrap: beyond [0, 1] "repeat" continues the picture periodically, "clamp" by its border texels; static.
        max_level: coarsest mip level, static: 0 for none, None for all down to one texel.
    """

    image: Float[Array, "#b h w 3"]
    uv: Float[Array, "f 3 2"] | Float[Array, "b f 3 2"]
    wrap: Wrap = dataclasses.field(default="repeat", metadata={"static": True})
    max_level: int | None = dataclasses.field(default=0, metadata={"static": True})


BasisTexture: TypeAlias = VertexColours | CornerColours | FaceTexels
Texture: TypeAlias = BasisTexture | UVImage
Barycentrics: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]


def sample_texture(
    texture: Texture,
    faces: Array,
    fragments: Fragments,
    footprint: Float[Array, "b *layers h w 3 2"] | None = None,
) -> Float[Array, "b *layers h w 3"]:
    """Colour of the seen face at each pixel, zero where there is none.

    Args:
        texture: colours.
        faces: `[f, 3]` or `[b, f, 3]`.
        fragments: from `rasterize`.
        footprint: from `barycentric_footprint`, for the mip levels of a `UVImage`; without it the lookup is in
            the image itself.

    Returns:
        Colours, differentiable in the texture, the barycentrics and the footprint.

    Raises:
        ValueError: a texture or a footprint that does not fit, a face index out of range.
    """
    check_fragments(fragments)
    shape = fragments.face_id.shape
    check_texture(texture, shape[0], None, faces.shape[-2])
    if footprint is not None and footprint.shape != (*shape, 3, 2):
        raise ValueError(f"footprint must have shape {(*shape, 3, 2)} like the fragments, got {footprint.shape}")
    if isinstance(texture, FaceTexels):
        return sample_face_texels(texture.values, fragments)
    if isinstance(texture, UVImage):
        return jax.checkpoint(_sample_uv_image)(floats_of(texture), fragments, footprint)
    return interpolate(fragments, texture.values, faces)


def sample_face_texels(texels: Float[Array, "b f t t c"], fragments: Fragments) -> Float[Array, "b *layers h w c"]:
    """Bilinear lookup in the texel grid of the nearest face, see `FaceTexels`; zero where there is none.

    Args:
        texels: any number of channels.
        fragments: from `rasterize`.

    Returns:
        Values, differentiable in the texels and in the barycentrics.

    Raises:
        ValueError: wrong shape.
    """
    check_fragments(fragments)
    texels, batch = to_float("texels", texels), fragments.face_id.shape[0]
    if texels.ndim != 5 or texels.shape[0] != batch or texels.shape[2] != texels.shape[3] or texels.shape[2] == 0:
        raise ValueError(f"texels must have shape [{batch}, f, t, t, c] with t > 0, got {texels.shape}")
    return _sample_grids(texels, fragments)


@jax.checkpoint
def _sample_grids(texels: jax.Array, fragments: Fragments) -> jax.Array:
    """The work of `sample_face_texels`; the backward pass looks up anew."""
    side = texels.shape[2]
    grids = texels.reshape(*texels.shape[:2], side * side, texels.shape[4])
    if side == 1:
        return take_faces(grids[:, :, 0], fragments.face_id)
    total = 0.0
    rows, columns = (_cell(fragments.barycentric[..., axis], side) for axis in (1, 2))
    for i, weight_i in rows:
        for j, weight_j in columns:
            values = take_faces(grids, fragments.face_id, i * side + j)
            total = total + (weight_i * weight_j)[..., None] * values
    return total


def bake_texels(texture: UVImage, side: int, batch: int | None = None) -> FaceTexels:
    """Resamples a UV image on the t x t grid of every face, where a sum of basis functions is needed (softmax).

    Texels on the face are looked up; with t = 1 that is the middle of the face. The texels just beyond the
    diagonal continue their cell linearly, so that nothing from outside of the face's part of the image shows.
    Differentiable in image and uv.

    Args:
        texture: the image.
        side: texels t along a face.
        batch: meshes b, needed where image and uv are both shared.

    Returns:
        Texels `[b, f, t, t, 3]`.

    Raises:
        ValueError: side < 1, unknown wrap, not a UV image, shapes that do not match.
    """
    if not is_integer(side) or side < 1:
        raise ValueError(f"side must be an integer >= 1, texels along a face, got {side!r}")
    if not isinstance(texture, UVImage):
        raise ValueError(f"texture must be a UVImage, others need no baking; got {type(texture).__name__}")
    uv = to_float("texture uv", texture.uv)
    if batch is None:
        batch = max(texture.image.shape[0], uv.shape[0] if uv.ndim == 4 else 1)
    check_texture(texture, batch, None, uv.shape[-3] if uv.ndim > 2 else 0)
    points = jnp.asarray(texel_points(side), uv.dtype)
    places = jnp.einsum("kc,...fcu->...fku", points, uv, precision=jax.lax.Precision.HIGHEST)
    places = jnp.broadcast_to(places, (batch, *places.shape[-3:]))
    values = sample_uv(texture.image, places, wrap=texture.wrap).reshape(*places.shape[:2], side, side, 3)
    if side == 1:
        return FaceTexels(values)
    beyond = values[:, :, 1:, :-1] + values[:, :, :-1, 1:] - values[:, :, :-1, :-1]
    index = np.arange(1, side)
    diagonal = jnp.asarray((index[:, None] + index[None] == side)[None, None, :, :, None])
    return FaceTexels(values.at[:, :, 1:, 1:].set(jnp.where(diagonal, beyond, values[:, :, 1:, 1:])))


def texture_points(texture: Texture) -> Float[np.ndarray, "k 3"]:
    """Barycentrics of the places whose colours the coefficients of a face are, in their order.

    Args:
        texture: colours.

    Returns:
        The corners, or the texels; those beyond the diagonal are moved to the nearest point of the face.
    """
    side = texel_side(texture)
    return np.eye(3) if side == 0 else texel_points(side)


def face_coefficients(texture: BasisTexture, faces: Array) -> jax.Array:
    """Coefficients of all faces of a batch, `[b * f, k, 3]`, see the top."""
    if isinstance(texture, VertexColours):
        return gather_corners(jnp.asarray(texture.values), faces).reshape(-1, 3, 3)
    side, values = texel_side(texture), jnp.asarray(texture.values)
    return values.reshape(-1, side * side or 3, 3)


def texel_side(texture: Texture) -> int:
    """Texels along a face; 0 stands for vertex and corner colours.

    Raises:
        ValueError: a UV image, which has no basis.
    """
    if isinstance(texture, UVImage):
        raise ValueError("softmax blending needs a texture of basis functions: bake_texels(texture, side) makes one")
    return texture.values.shape[2] if isinstance(texture, FaceTexels) else 0


def colour_at(side: int, coefficients: jax.Array, weights: Barycentrics) -> tuple[jax.Array, ...]:
    """Colours of points on faces.

    Args:
        side: texels along a face, 0 for vertex and corner colours.
        coefficients: `[k, 3, pairs]` of the face of each pair.
        weights: barycentrics, `[pairs]` each.

    Returns:
        Red, green, blue, `[pairs]` each.
    """
    return tuple(_field(side, coefficients[:, channel], weights) for channel in range(3))


def field_gradient(side: int, values: jax.Array, weights: Barycentrics) -> tuple[jax.Array, Barycentrics]:
    """A scalar texture at points on faces, and its derivatives.

    Args:
        side: texels along a face, 0 for vertex and corner colours.
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


def check_texture(texture: Texture, batch: int, num_vertices: int | None, num_faces: int) -> None:
    """Raises a ValueError when a texture does not fit a mesh; num_vertices None fits any number of them."""
    if isinstance(texture, UVImage):
        _check_uv_image(texture, batch, num_faces)
        return
    if not isinstance(texture, VertexColours | CornerColours | FaceTexels):
        names = "VertexColours, CornerColours, FaceTexels or UVImage"
        raise ValueError(f"texture must be {names}, got {type(texture).__name__}")
    check_floats("texture values", texture.values)
    shape = texture.values.shape
    if isinstance(texture, FaceTexels):
        expected = f"[{batch}, {num_faces}, t, t, 3]"
        fits = len(shape) == 5 and shape == (batch, num_faces, shape[2], shape[2], 3) and shape[2] > 0
    elif isinstance(texture, VertexColours):
        expected = f"[{batch}, {'v' if num_vertices is None else num_vertices}, 3]"
        fits = len(shape) == 3 and shape == (batch, shape[1], 3) and num_vertices in (None, shape[1])
    else:
        expected, fits = f"[{batch}, {num_faces}, 3, 3]", shape == (batch, num_faces, 3, 3)
    if not fits:
        raise ValueError(f"texture values of this mesh must have shape {expected}, got {shape}")


def _check_uv_image(texture: UVImage, batch: int, num_faces: int) -> None:
    check_floats("texture image", texture.image)
    check_floats("texture uv", texture.uv)
    image, uv = texture.image.shape, texture.uv.shape
    if len(image) != 4 or image[0] not in (1, batch) or image[3] != 3 or 0 in image:
        raise ValueError(f"texture image must have shape [{batch}, h, w, 3] or [1, h, w, 3], got {image}")
    if uv not in ((num_faces, 3, 2), (batch, num_faces, 3, 2)):
        raise ValueError(
            f"texture uv of this mesh must have shape [{num_faces}, 3, 2] or [{batch}, {num_faces}, 3, 2], got {uv}"
        )


def _sample_uv_image(texture: UVImage, fragments: Fragments, footprint: jax.Array | None) -> jax.Array:
    corners = jnp.broadcast_to(texture.uv, (fragments.face_id.shape[0], *texture.uv.shape[-3:]))
    uv, level = interpolate(fragments, corners), None
    if footprint is not None and texture.max_level != 0:
        level = mip_level(uv_footprint(corners, fragments, footprint), texture.image.shape[1:3])
    colours = sample_uv(texture.image, uv, wrap=texture.wrap, level=level, max_level=texture.max_level)
    return jnp.where((fragments.face_id >= 0)[..., None], colours, 0.0)


def texel_points(side: int) -> Float[np.ndarray, "k 3"]:
    """Barycentrics of a grid of texels, those beyond the diagonal moved to it; the middle of the face for one."""
    if side == 1:
        return np.full((1, 3), 1.0 / 3.0)
    first, second = np.divmod(np.arange(side * side), side) / np.float64(side - 1)
    excess = np.maximum(first + second - 1.0, 0.0)
    return np.stack([np.maximum(1.0 - first - second, 0.0), first - 0.5 * excess, second - 0.5 * excess], axis=-1)


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
