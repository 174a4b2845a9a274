"""How much of a face, and of its texture, one pixel sees: derivatives by the position of the pixel."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array, positive_part, to_float
from render.fragments import Fragments, check_fragments, is_solid, pixel_grid
from render.interpolate import take_faces
from render.screen import ScreenFaces, check_scene, to_screen

# Texels per pixel beyond which a footprint is as large as it gets; its fourth power still fits into a float32.
_LARGEST = 1e8


def barycentric_footprint(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    fragments: Fragments,
) -> Float[Array, "b *layers h w 3 2"]:
    """Derivatives of the perspective-correct barycentrics by the position of the pixel.

    With the edge functions `e_i` of `rasterize`, which are linear in the position p, and `s = sum_i e_i`:
    `db_i / dp = (de_i / dp - b_i ds / dp) / s`. Differentiable in vertices and barycentrics.

    Args:
        vertices_clip: clip space, those that were rasterized.
        faces: triangle indices.
        fragments: from `rasterize`, over the whole image.

    Returns:
        Per pixel along x (right, last index 0) and y (down, last index 1); zero where there is no face.

    Raises:
        ValueError: wrong shape or type, a face index out of range.
    """
    check_fragments(fragments)
    vertices_clip, face_id = to_float("vertices_clip", vertices_clip), fragments.face_id
    image_size = face_id.shape[-2:]
    check_scene(vertices_clip, faces, image_size, None)
    if face_id.shape[0] != vertices_clip.shape[0]:
        raise ValueError(f"fragments have batch {face_id.shape[0]}, vertices_clip {vertices_clip.shape[0]}")
    screen = to_screen(vertices_clip, faces, image_size, None, None)
    pixels = pixel_grid(image_size, screen.corners.dtype, face_id.ndim)
    return jax.checkpoint(footprint_at)(screen, fragments, pixels)


def footprint_at(
    screen: ScreenFaces, fragments: Fragments, pixels: tuple[jax.Array, jax.Array]
) -> Float[Array, "b *layers h w 3 2"]:
    """The work of `barycentric_footprint` on faces that are on the screen already, at any pixel centres x, y."""
    x, y = pixels
    columns = jnp.concatenate([screen.corners, screen.inverse_w], axis=-1)
    corners = take_faces(columns.reshape(fragments.face_id.shape[0], -1, 9), fragments.face_id)
    inverse_w = [corners[..., 6 + i] for i in range(3)]
    xs, ys = [corners[..., 2 * i] - x for i in range(3)], [corners[..., 2 * i + 1] - y for i in range(3)]
    cyclic = ((1, 2), (2, 0), (0, 1))
    total = sum((xs[j] * ys[k] - xs[k] * ys[j]) * r for (j, k), r in zip(cyclic, inverse_w))
    along_x = jnp.stack([(ys[j] - ys[k]) * r for (j, k), r in zip(cyclic, inverse_w)], axis=-1)
    along_y = jnp.stack([(xs[k] - xs[j]) * r for (j, k), r in zip(cyclic, inverse_w)], axis=-1)
    slopes = jnp.stack([along_x, along_y], axis=-1)
    seen = (fragments.face_id >= 0) & is_solid(total)
    inverse = jnp.where(seen, 1.0 / jnp.where(seen, total, 1.0), 0.0)[..., None, None]
    return (slopes - fragments.barycentric[..., None] * jnp.sum(slopes, axis=-2, keepdims=True)) * inverse


def uv_footprint(
    uv: Float[Array, "b f 3 2"], fragments: Fragments, footprint: Float[Array, "b *layers h w 3 2"]
) -> Float[Array, "b *layers h w 2 2"]:
    """Derivatives of interpolated uv coordinates by the position of the pixel: `sum_i uv_i (db_i / dp)^T`.

    Args:
        uv: of the corners of faces.
        fragments: from `rasterize`.
        footprint: from `barycentric_footprint`.

    Returns:
        Rows u, v; columns x, y in pixels.
    """
    corners = [take_faces(jnp.asarray(uv), fragments.face_id, jnp.full_like(fragments.face_id, i)) for i in range(3)]
    return sum(corner[..., None] * footprint[..., i, None, :] for i, corner in enumerate(corners))


def mip_level(uv_by_pixel: Float[Array, "*pixels 2 2"], texture_size: tuple[int, int]) -> Float[Array, "*pixels"]:
    """Mip level at which a texel is as large as the footprint of a pixel is long.

    A pixel, taken as a disk, sees an ellipse of the texture; the level is log2 of its longer axis in texels,
    the larger singular value of the derivatives. OpenGL takes the longer one of the derivatives by x and y,
    which is at most half a level less but changes when the camera rolls.

    Args:
        uv_by_pixel: derivatives of uv, rows u, v, columns x, y, see `uv_footprint`.
        texture_size: height and width of the image in texels.

    Returns:
        Levels >= 0, zero for pixels smaller than texels; finite, with finite gradients.

    Source: the rule of nvdiffrast (Laine et al., Modular Primitives for High-Performance Differentiable
    Rendering, SIGGRAPH Asia 2020).
    """
    height, width = texture_size
    ux, uy = (jnp.clip(uv_by_pixel[..., 0, axis] * width, -_LARGEST, _LARGEST) for axis in (0, 1))
    vx, vy = (jnp.clip(uv_by_pixel[..., 1, axis] * height, -_LARGEST, _LARGEST) for axis in (0, 1))
    mean = 0.5 * (ux * ux + uy * uy + vx * vx + vy * vy)
    # Half the difference of the squared axes: zero for a round footprint, where a square root has no derivative.
    even, skew = 0.5 * (ux * ux + uy * uy - vx * vx - vy * vy), ux * vx + uy * vy
    squared = even * even + skew * skew
    long = squared > jnp.finfo(squared.dtype).tiny
    spread = jnp.where(long, jnp.sqrt(jnp.where(long, squared, 1.0)), 0.0)
    return 0.5 * jnp.log2(1.0 + positive_part(mean + spread - 1.0))
