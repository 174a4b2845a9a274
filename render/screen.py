"""Faces on the screen: corners after the division by w, the boxes around them, and which of them may be soft.

Screen coordinates are pixels, x right and y down; whole numbers are pixel centres.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from render.arrays import Array, check_faces, check_image_size, check_mask
from render.mesh import gather_corners

# A corner farther from the image than this many half-images leaves float32 no precision for distances in
# it. The same bound takes out faces that cross or nearly touch the plane of the camera, where x / w has no
# limit.
SOFT_LIMIT = 1e4
# Faces all of whose clip coordinates are smaller are nothing: their derivatives would not fit into a float32.
_LEAST_SIZE = 1e-12
# Faces with a larger clip coordinate or depth are nothing either: the derivative of a depth is as large as the depth
# over the least total of edge functions, see `render.rasterize`, and would not fit either.
_LARGEST_SIZE = 1e20


class ScreenFaces(NamedTuple):
    """Faces of a whole batch, `m = b * f`.

    Attributes:
        corners: `[m, 6]` x0 y0 x1 y1 x2 y2 in pixels; zero where the face is not soft.
        inverse_w: `[m, 3]` 1 / w of the corners times the least w, so at most 1; one where the face is not soft.
        depth: `[m, 3]` view depth of the corners.
        clip: `[m, 9]` homogeneous x0 y0 w0 x1 y1 w1 x2 y2 w2 in pixels, scaled to at most 1.
        soft: `[m]` all corners are in front of the camera and not too far off the screen.
        crossing: `[m]` not soft, but a part of the face is in front of the camera.
    """

    corners: jax.Array
    inverse_w: jax.Array
    depth: jax.Array
    clip: jax.Array
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
    w, depth = corners[..., 3], corners[..., 4]
    if face_mask is not None:
        exists &= jnp.asarray(face_mask).reshape(-1)
    reach = jnp.max(jnp.abs(corners[..., :2]), axis=-1)
    soft = exists & jnp.all((w > _LEAST_SIZE) & (reach < SOFT_LIMIT * w), axis=-1)
    inverse_w = 1.0 / jnp.where(soft[:, None], w, 1.0)
    ndc = jnp.where(soft[:, None, None], corners[..., :2], 0.0) * inverse_w[..., None]
    size = jnp.max(jnp.abs(corners[..., :4]), axis=(1, 2))
    usable = exists & (size > _LEAST_SIZE)
    scale = jax.lax.stop_gradient(1.0 / jnp.where(usable, size, 1.0))[:, None]
    scaled = jnp.where(usable[:, None, None], corners, 0.0) * scale[..., None]
    clip = jnp.concatenate([_pixels(scaled[..., :2], scaled[..., 3:4], image_size), scaled[..., 3:4]], axis=-1)
    if cull_backfaces:
        # Rows point down, so counter-clockwise faces have a negative determinant here.
        front = jnp.linalg.det(jax.lax.stop_gradient(clip)) < 0
        soft, usable = soft & front, usable & front
    return ScreenFaces(
        corners=_pixels(ndc, jnp.ones_like(ndc[..., :1]), image_size).reshape(-1, 6),
        inverse_w=inverse_w * jax.lax.stop_gradient(jnp.min(jnp.where(soft[:, None], w, 1.0), axis=-1, keepdims=True)),
        depth=depth,
        clip=clip.reshape(-1, 9),
        soft=soft,
        crossing=usable & ~soft & jnp.any(w > 0, axis=-1),
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
    corner = jnp.array([[image_size[1] - 1, image_size[0] - 1]], low.dtype)
    crossing = screen.crossing[:, None]
    return jnp.where(crossing, 0.0, low), jnp.where(crossing, corner, high)


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


def _pixels(xy: jax.Array, w: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Homogeneous NDC to homogeneous pixels: column = (x + 1) / 2 width - 1/2, row = (1 - y) / 2 height -
    1/2."""
    height, width = image_size
    half = jnp.array([0.5 * width, -0.5 * height], xy.dtype)
    middle = jnp.array([0.5 * (width - 1), 0.5 * (height - 1)], xy.dtype)
    lead = (1,) * (xy.ndim - 1)
    return xy * half.reshape(*lead, 2) + w * middle.reshape(*lead, 2)
