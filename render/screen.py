"""Faces on the screen: corners after the division by w, the boxes around them, and which of them may be soft.

Screen coordinates are pixels from the middle of the image, x right and y down: of both an NDC coordinate is a multiple,
so that it is rounded to as many digits as it has, and what is symmetric stays so. Pixel centres are at whole numbers
and a half along an even number of pixels, at whole numbers along an odd one.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from render.arrays import Array, check_faces, check_image_size, check_mask
from render.worklist import centre, once

# A corner farther from the image than this many half-images leaves float32 no precision for distances in
# it. The same bound takes out faces that cross or nearly touch the plane of the camera, where x / w has no
# limit.
SOFT_LIMIT = 1e4
# Corners farther off are drawn at this many half-images, in the direction where they are: that turns an edge that
# passes through the image by less than a rounding, and their products are far from the largest float32.
_FARTHEST = 1e7
# Coordinates that rounding may have moved away from a multiple of this fraction of a pixel are taken to be it. NDC
# coordinates of pixel centres are no floats where the size of the image is no power of two: what was lost there, and
# by perspective, is found again.
_FRACTION = 1 / 256
# Faces all of whose clip coordinates are smaller are nothing: their derivatives would not fit into a float32.
_LEAST_SIZE = 1e-12
# Faces with a larger clip coordinate or depth are nothing either: the derivative of a depth is as large as the depth
# over the least total of edge functions, see `render.rasterize`, and would not fit either.
_LARGEST_SIZE = 1e20
# What is known of a vertex, a bit each: everything of it is a number, and not too large; it is where faces may be soft;
# in front of the camera; and not zero.
_EXISTS, _SOFT, _IN_FRONT, _SOLID = 1, 2, 4, 8


class ScreenFaces(NamedTuple):
    """Faces of a whole batch, `m = b * f`.

    Attributes:
        corners: `[m, 6]` x0 y0 x1 y1 x2 y2, x / w and y / w also where w is negative; zero where there is nothing to
            see. They depend on nothing but their vertex, so that faces that share one have the same bits.
        inverse_w: `[m, 3]` 1 / w of the corners times the least |w|, so at most 1, negative behind the camera.
        depth: `[m, 3]` view depth of the corners.
        soft: `[m]` all corners are in front of the camera and not too far off the screen.
        crossing: `[m]` not soft, but a part of the face is in front of the camera.
    """

    corners: jax.Array
    inverse_w: jax.Array
    depth: jax.Array
    soft: jax.Array
    crossing: jax.Array


def to_screen(
    vertices_clip: jax.Array,
    faces: Array,
    image_size: tuple[int, int],
    face_mask: Array | None,
    vertex_depth: jax.Array | None,
    cull_backfaces: bool = False,
) -> ScreenFaces:
    """Divides vertices by w where that is safe, and gathers them as corners of faces.

    Args:
        vertices_clip: `[b, v, 4]`.
        faces: `[f, 3]` or `[b, f, 3]`.
        image_size: height and width in pixels.
        face_mask: `[b, f]` or None; false takes a face away.
        vertex_depth: `[b, v]` or None, see `depth_of_clip`.
        cull_backfaces: takes away faces that are clockwise in the image.

    Returns:
        The faces; everything in them is finite, and so are gradients through it.
    """
    if vertex_depth is None:
        vertex_depth = depth_of_clip(vertices_clip)
    batch, count, _ = vertices_clip.shape
    # What can be said of a vertex alone is worked out once for each, not for all the faces around it.
    anything = (vertices_clip[..., 0] > 0).astype(jnp.int32)
    vertices = once(anything, lambda: _to_screen(vertices_clip, vertex_depth, image_size))
    index = _flat_index(faces, batch, count)
    bits = vertices.bits.at[index].get(mode="fill", fill_value=0)
    every, some = bits[:, 0] & bits[:, 1] & bits[:, 2], bits[:, 0] | bits[:, 1] | bits[:, 2]
    exists = there = (every & _EXISTS) > 0
    if face_mask is not None:
        exists &= jnp.asarray(face_mask).reshape(-1)
    soft = exists & ((every & _SOFT) > 0)
    crossing = exists & ~soft & ((some & _IN_FRONT) > 0) & ((every & _SOLID) > 0)
    seen = (soft | crossing)[:, None]
    points = jnp.where(seen, vertices.points.at[index].get(mode="clip").reshape(-1, 6), 0.0)
    w, depth = (vertices.w_and_depth.at[index].get(mode="clip")[..., column] for column in range(2))
    w = jnp.where(seen, w, 1.0)
    if cull_backfaces:
        front = _faces_viewer(*jax.lax.stop_gradient((points, w)))
        soft, crossing = soft & front, crossing & front
    return ScreenFaces(
        corners=points,
        inverse_w=jax.lax.stop_gradient(jnp.min(jnp.abs(w), axis=-1, keepdims=True)) / w,
        depth=jnp.where(there[:, None], depth, 0.0),
        soft=soft,
        crossing=crossing,
    )


def depth_of_clip(vertices_clip: jax.Array) -> jax.Array:
    """View depth of clip-space vertices `[b, v, 4]` as far as they tell it.

    That is w. In images whose w is one throughout (orthographic, weak perspective) it is clip z instead,
    which grows linearly with the depth.
    """
    z, w = vertices_clip[..., 2], vertices_clip[..., 3]
    return jnp.where(jnp.all(w == 1, axis=-1, keepdims=True), z, w)


class _ScreenVertices(NamedTuple):
    """Vertices of a whole batch, `n = b * v`.

    Attributes:
        points: `[n, 2]` x, y.
        w_and_depth: `[n, 2]` w as it was divided by, and view depth.
        bits: `[n]` sums of `_EXISTS`, `_SOFT`, `_IN_FRONT` and `_SOLID`.
    """

    points: jax.Array
    w_and_depth: jax.Array
    bits: jax.Array


def _to_screen(vertices_clip: jax.Array, vertex_depth: jax.Array, image_size: tuple[int, int]) -> _ScreenVertices:
    """Divides by w where that is safe; everything is finite, and so are gradients through it."""
    columns = [vertices_clip[..., i] for i in range(4)] + [vertex_depth]
    # False where something is not a number.
    exists = functools.reduce(jnp.logical_and, (jnp.abs(column) < _LARGEST_SIZE for column in columns))
    x, y, _, w, depth = (jnp.where(exists, column, 0.0) for column in columns)
    reach = jnp.maximum(jnp.abs(x), jnp.abs(y))
    soft = (w > _LEAST_SIZE) & (reach < SOFT_LIMIT * w)
    solid = jnp.maximum(reach, jnp.abs(w)) > _LEAST_SIZE
    flags = {_EXISTS: exists, _SOFT: soft, _IN_FRONT: w > 0, _SOLID: solid}
    least = jnp.maximum(reach / _FARTHEST, _LEAST_SIZE)
    w = jnp.where(jnp.abs(w) > least, w, jax.lax.stop_gradient(jnp.where(w < 0, -least, least)))
    return _ScreenVertices(
        points=_pixels(jnp.stack([x, y], axis=-1), w[..., None], image_size).reshape(-1, 2),
        w_and_depth=jnp.stack([w, depth], axis=-1).reshape(-1, 2),
        bits=sum(jnp.where(flag, bit, 0) for bit, flag in flags.items()).reshape(-1),
    )


def _flat_index(faces: Array, batch: int, count: int) -> jax.Array:
    """`[b * f, 3]` indices into the vertices of the batch, of which each image has so many; beyond the last for those
    out of range."""
    faces = jnp.asarray(faces, jnp.int32)
    first = count * jnp.arange(batch, dtype=jnp.int32)[:, None, None]
    index = first + jnp.broadcast_to(faces, (batch, *faces.shape[-2:]))
    inside = jnp.broadcast_to((faces >= 0) & (faces < count), index.shape)
    return jnp.where(inside, index, batch * count).reshape(-1, 3)


def soft_box(screen: ScreenFaces, radius: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Lower and upper x, y `[2, m]` of the boxes around soft faces, grown by a radius in pixels."""
    corners = [screen.corners[:, 2 * i : 2 * i + 2].T for i in range(3)]
    return functools.reduce(jnp.minimum, corners) - radius, functools.reduce(jnp.maximum, corners) + radius


def hard_box(screen: ScreenFaces, image_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Like `soft_box` with radius 0, but the whole image for faces that cross the plane of the camera."""
    low, high = soft_box(screen, 0.0)
    corner, crossing = jnp.array([centre(image_size)], low.dtype).T, screen.crossing[None]
    return jnp.where(crossing, -corner, low), jnp.where(crossing, corner, high)


def check_scene(vertices_clip: jax.Array, faces: Array, image_size: tuple[int, int], face_mask: Array | None) -> None:
    """Checks the arguments that all rasterizing functions share.

    Raises:
        ValueError: wrong shape, empty image, face index out of range.
    """
    check_image_size(image_size)
    if vertices_clip.ndim != 3 or vertices_clip.shape[-1] != 4:
        raise ValueError(f"vertices_clip must have shape [b, v, 4], got {vertices_clip.shape}")
    check_faces(faces, vertices_clip.shape[1], vertices_clip.shape[0])
    check_mask("face_mask", face_mask, (vertices_clip.shape[0], faces.shape[-2]))


@jax.custom_jvp
def doubled_area(ax: jax.Array, ay: jax.Array, bx: jax.Array, by: jax.Array) -> jax.Array:
    """Twice the signed area of (origin, a, b), with a sign that is never wrong, and opposite for (origin, b, a).

    Rounding keeps the order of the two products; so where they differ after it, the difference has the right sign.
    Where they do not, a compiler that multiplies and adds in one rounding would return what one of them was rounded by:
    not zero, and with the other sign when a and b change places.
    """
    first, second = ax * by, ay * bx
    return jnp.where(first == second, 0.0, first - second)


@doubled_area.defjvp
def _doubled_area_tangent(primals, tangents):
    (ax, ay, bx, by), (to_ax, to_ay, to_bx, to_by) = primals, tangents
    return doubled_area(*primals), to_ax * by + ax * to_by - to_ay * bx - ay * to_bx


def _faces_viewer(points: jax.Array, w: jax.Array) -> jax.Array:
    """Which faces, corners on the screen `[m, 6]` and their w `[m, 3]`, are counter-clockwise in the image."""
    (ax, ay), (bx, by), (cx, cy) = (points[:, i : i + 2].T for i in (0, 2, 4))
    # Rows point down. Each corner behind the camera turns the face around.
    return doubled_area(bx - ax, by - ay, cx - ax, cy - ay) * jnp.prod(jnp.sign(w), axis=-1) < 0


def _pixels(xy: jax.Array, w: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Clip x, y `[b, v, 2]` and w `[b, v, 1]` to pixels from the middle of the image."""
    half = jnp.array([[[0.5 * image_size[1], -0.5 * image_size[0]]]], xy.dtype)
    # Numbers that were rounded: x and w by whoever made them, then the quotient and the product.
    scaled = jnp.array([[[math.frexp(size)[0] != 0.5 for size in reversed(image_size)]]]).astype(xy.dtype)
    return _to_fraction(xy / w * half, jnp.where(w == 1, 2 * scaled, 3 + scaled))


@jax.custom_jvp
def _to_fraction(pixels: jax.Array, roundings: jax.Array) -> jax.Array:
    """Coordinates, moved to a multiple of `_FRACTION` so many roundings away; derivatives do not see it."""
    near = jnp.round(pixels / _FRACTION) * _FRACTION
    # Only products are compared, which have the same bits in every program: none is added to.
    less = 1.0 - roundings * (0.5 * jnp.finfo(pixels.dtype).eps)
    close = (jnp.abs(pixels) * less <= jnp.abs(near)) & (jnp.abs(near) * less <= jnp.abs(pixels))
    return jnp.where(close, near, pixels)


_to_fraction.defjvp(lambda primals, tangents: (_to_fraction(*primals), tangents[0]))
