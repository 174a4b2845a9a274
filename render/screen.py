"""Faces on the screen: corners after the division by w, the boxes around them, and which of them may be soft.

Screen coordinates are pixels from the middle of the image, x right and y down: of both an NDC coordinate is a multiple,
so that it is rounded to as many digits as it has, and what is symmetric stays so. Pixel centres are at whole numbers
and a half along an even number of pixels, at whole numbers along an odd one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from render.arrays import Array, check_faces, check_image_size, check_mask
from render.mesh import gather_corners

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
    """Gathers the corners of all faces and divides by w where that is safe.

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
    if not isinstance(cull_backfaces, bool):
        raise ValueError(f"cull_backfaces must be True or False, static, got {cull_backfaces!r}")
    if vertex_depth is None:
        vertex_depth = depth_of_clip(vertices_clip)
    packed = jnp.concatenate([vertices_clip, vertex_depth[..., None]], axis=-1)
    corners = gather_corners(packed, faces).reshape(-1, 3, 5)
    # False where something is not a number.
    exists = jnp.all(jnp.abs(corners) < _LARGEST_SIZE, axis=(1, 2))
    corners = jnp.where(exists[:, None, None], corners, 0.0)
    if face_mask is not None:
        exists &= jnp.asarray(face_mask).reshape(-1)
    w, depth = corners[..., 3], corners[..., 4]
    reach = jnp.max(jnp.abs(corners[..., :2]), axis=-1)
    soft = exists & jnp.all((w > _LEAST_SIZE) & (reach < SOFT_LIMIT * w), axis=-1)
    crossing = exists & ~soft & jnp.any(w > 0, axis=-1) & jnp.all(jnp.maximum(reach, jnp.abs(w)) > _LEAST_SIZE, axis=-1)
    seen = (soft | crossing)[:, None]
    least = jnp.maximum(reach / _FARTHEST, _LEAST_SIZE)
    w = jnp.where(seen, jnp.where(jnp.abs(w) > least, w, jax.lax.stop_gradient(jnp.where(w < 0, -least, least))), 1.0)
    points = _pixels(jnp.where(seen[..., None], corners[..., :2], 0.0), w[..., None], image_size).reshape(-1, 6)
    if cull_backfaces:
        front = _faces_viewer(*jax.lax.stop_gradient((points, w)))
        soft, crossing = soft & front, crossing & front
    return ScreenFaces(
        corners=points,
        inverse_w=jax.lax.stop_gradient(jnp.min(jnp.abs(w), axis=-1, keepdims=True)) / w,
        depth=depth,
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


def soft_box(screen: ScreenFaces, radius: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Lower and upper x, y `[m, 2]` of the boxes around soft faces, grown by a radius in pixels."""
    corners = screen.corners.reshape(-1, 3, 2)
    return jnp.min(corners, axis=1) - radius, jnp.max(corners, axis=1) + radius


def hard_box(screen: ScreenFaces, image_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Like `soft_box` with radius 0, but the whole image for faces that cross the plane of the camera."""
    low, high = soft_box(screen, 0.0)
    corner = jnp.array([centre(image_size)], low.dtype)
    crossing = screen.crossing[:, None]
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


def centre(image_size: tuple[int, int]) -> tuple[float, float]:
    """Middle of an image as column and row, where pixel centres have whole numbers."""
    height, width = image_size
    return 0.5 * (width - 1), 0.5 * (height - 1)


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
    """Clip x, y `[m, 3, 2]` and w `[m, 3, 1]` to pixels from the middle of the image."""
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
