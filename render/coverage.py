"""Soft silhouettes: how much of each pixel the mesh covers, differentiable in the vertices."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render import worklist
from render.arrays import Array, check_positive
from render.distance import (
    border_position,
    distance_at,
    distance_gradient,
    probability,
    signed_squared_distance,
    triangle_table,
)
from render.rasterize import nearest_faces
from render.screen import ScreenFaces, check_scene, soft_box, to_screen
from render.worklist import Canvas, Pairs, Pixel


def soft_coverage(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    sigma: float | Float[Array, ""],
    *,
    face_mask: Bool[Array, "b f"] | None = None,
    cutoff: float = 1e-4,
) -> Float[Array, "b h w"]:
    """Soft coverage of SoftRas over all faces, in front or behind.

    `alpha = 1 - prod_f (1 - p_f)` with `p_f = sigmoid(-d_f / sigma)` and d_f the squared distance of the
    pixel centre to the border of face f, negative inside. Faces with `p_f < cutoff` outside do not count,
    all others do: there is no limit on faces per pixel. Faces with a part behind the camera, or with a
    corner more than 1e4 half-images off the screen, cover their inside fully, without soft border and
    gradient.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        sigma: > 0, squared NDC units in which the shorter image side spans [-1, 1]. Gets no gradient.
        face_mask: false takes a face away.
        cutoff: smallest probability outside of a face, in (0, 0.5).

    Returns:
        Coverage in [0, 1].

    Raises:
        ValueError: wrong shape, sigma or cutoff out of range, empty image, face index out of range.

    Source: Liu et al., Soft Rasterizer, ICCV 2019, equations 3 and 7.
    """
    vertices_clip = jnp.asarray(vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    check_positive("sigma", sigma)
    screen = to_screen(vertices_clip, faces, image_size, face_mask, None)
    canvas = worklist.make_canvas(vertices_clip.shape[0], faces.shape[-2], image_size)
    sigma_px = squared_pixels(sigma, image_size, vertices_clip.dtype)
    reach = jnp.sqrt(sigma_px * reach_in_sigmas(cutoff))
    work = worklist.build(*jax.lax.stop_gradient(soft_box(screen, reach)), screen.soft, canvas)
    transparency = canvas.unflatten(_transparency(canvas, cutoff, screen.corners, work, sigma_px))
    return jnp.where(covered_by_crossing(screen, image_size, canvas), 1.0, 1.0 - transparency)


def covered_by_crossing(screen: ScreenFaces, image_size: tuple[int, int], canvas: Canvas) -> jax.Array:
    """Pixels `[b, h, w]` within the hard inside of faces that cross the plane of the camera."""
    face = nearest_faces(screen, screen.crossing, image_size, canvas)[0]
    return canvas.unflatten(face) >= 0


def squared_pixels(sigma: float | jax.Array, image_size: tuple[int, int], dtype) -> jax.Array:
    """Squared NDC units, in which the shorter side spans [-1, 1], to squared pixels; without gradient."""
    return jax.lax.stop_gradient(jnp.asarray(sigma, dtype)) * (0.5 * min(image_size)) ** 2


def reach_in_sigmas(cutoff: float) -> float:
    """Squared distance, in units of sigma, beyond which `sigmoid(-d / sigma)` is below the cut-off."""
    if not 0.0 < cutoff < 0.5:
        raise ValueError(f"cutoff must lie between 0 and 0.5, got {cutoff}")
    return math.log(1.0 / cutoff - 1.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _transparency(canvas: Canvas, cutoff: float, corners, work, sigma):
    """Product over faces of 1 - p, flat."""
    table = triangle_table(corners)
    reach = reach_in_sigmas(cutoff)

    def step(pairs: Pairs, product):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, product):
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            factor = jnp.where(distance < reach * sigma, probability(-distance, sigma), 1.0)
            return product.at[pixel.index].multiply(factor, mode="promise_in_bounds")

        return worklist.each_pixel(pairs, canvas, at_pixel, product, corners.dtype)

    return worklist.walk(work, canvas, step, jnp.ones(canvas.size, corners.dtype))


def _transparency_forward(canvas, cutoff, corners, work, sigma):
    product = _transparency(canvas, cutoff, corners, work, sigma)
    return product, (corners, work, sigma, product)


def _transparency_backward(canvas, cutoff, saved, cotangent):
    corners, work, sigma, product = saved
    table = triangle_table(corners)
    # d(product) / d(distance of f) = product p_f / sigma, for 1 - p_f = sigmoid(distance / sigma).
    incoming = cotangent * product / sigma

    def step(pairs: Pairs, gradient):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, sums):
            position = worklist.once(pairs, lambda: border_position(rows, pixel.x, pixel.y))
            # All else follows from p: inside it is above one half, and the cut-off is a probability too.
            p = probability(distance_at(rows, pixel.x, pixel.y, position), sigma)
            scale = jnp.where(p > 0.5, -p, jnp.where(p > cutoff, p, 0.0)) * worklist.take(incoming, pixel)
            updates = distance_gradient(rows, pixel.x, pixel.y, position, scale)
            return tuple(total + update for total, update in zip(sums, updates))

        sums = worklist.each_pixel(pairs, canvas, at_pixel, worklist.zeros(pairs, 6, corners.dtype), corners.dtype)
        return worklist.add_rows(gradient, pairs, jnp.stack(sums))

    return worklist.walk(work, canvas, step, jnp.zeros_like(corners)), None, None


_transparency.defvjp(_transparency_forward, _transparency_backward)
