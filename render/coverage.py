"""Soft silhouettes: how much of each pixel the mesh covers, differentiable in the vertices."""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from render import worklist
from render.arrays import Array, check_choice, check_cull_backfaces, check_positive, static_size, to_float
from render.distance import (
    border_position,
    distance_at,
    distance_gradient,
    probability,
    signed_squared_distance,
    triangle_table,
)
from render.linear import linear_map, without_second_derivatives
from render.screen import ScreenFaces, check_scene, soft_box, to_screen
from render.worklist import Canvas, Pairs, Pixel
from render.zbuffer import nearest_crossing

Falloff = Literal["sigmoid", "exponential"]


def soft_coverage(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    sigma: float | Float[Array, ""],
    *,
    face_mask: Bool[Array, "b f"] | None = None,
    cutoff: float = 1e-4,
    falloff: Falloff = "sigmoid",
    cull_backfaces: bool = False,
) -> Float[Array, "b h w"]:
    """Soft coverage over all faces, in front or behind.

    `alpha = 1 - prod_f (1 - p_f)` with d_f the squared distance of the pixel centre to the border of face f,
    negative inside, and `p_f = sigmoid(-d_f / sigma)` (SoftRas) or `p_f = exp(-max(d_f, 0) / sigma)` (DIB-R:
    alpha is 1 on the mesh, and only what is beside it gets gradients). Faces with `p_f < cutoff` outside do not count,
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
        falloff: "sigmoid" or "exponential".
        cull_backfaces: only faces that are counter-clockwise in the image count.

    Returns:
        Coverage in [0, 1].

    Raises:
        ValueError: wrong shape, sigma or cutoff out of range, unknown falloff, empty image, face index out of
            range.

    Source: Liu et al., Soft Rasterizer, ICCV 2019, equations 3 and 7; Chen et al., DIB-R, NeurIPS 2019,
    equations 4 and 5.
    """
    vertices_clip = to_float("vertices_clip", vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    check_positive("sigma", sigma)
    check_cull_backfaces(cull_backfaces)
    reach_in_sigmas(cutoff, falloff)
    if vertices_clip.shape[0] * faces.shape[-2] == 0:
        return jnp.zeros((vertices_clip.shape[0], *image_size), vertices_clip.dtype)
    size = static_size(image_size)
    return _soft_coverage(vertices_clip, faces, face_mask, sigma, size, cutoff, falloff, cull_backfaces)


# Compiled as a whole, see `render.backend_xla`.
@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _soft_coverage(vertices_clip, faces, face_mask, sigma, image_size, cutoff, falloff, cull_backfaces):
    screen = to_screen(vertices_clip, faces, image_size, face_mask, None, cull_backfaces)
    sigma_px = squared_pixels(sigma, image_size, vertices_clip.dtype)
    return coverage_of_screen(screen, image_size, vertices_clip.shape[0], sigma_px, cutoff, falloff)


def coverage_of_screen(
    screen: ScreenFaces, image_size: tuple[int, int], batch: int, sigma_px, cutoff: float, falloff: Falloff
) -> Float[Array, "b h w"]:
    """The work of `soft_coverage` on faces that are on the screen already."""
    canvas = worklist.make_canvas(batch, image_size)
    work = soft_work(screen, canvas, sigma_px, cutoff, falloff)
    transparency = canvas.unflatten(_transparency(_Settings(canvas, cutoff, falloff), screen.corners, work, sigma_px))
    # Faces through the plane of the camera have no soft border: they cover their inside.
    crossing = nearest_crossing(screen, image_size, batch) >= 0
    return jnp.where(crossing, 1.0, 1.0 - transparency)


def soft_work(screen: ScreenFaces, canvas: Canvas, sigma_px, cutoff: float, falloff: Falloff) -> worklist.WorkList:
    """Windows of the soft faces, grown by as far as the cut-off reaches; no gradients."""
    reach = jnp.sqrt(sigma_px * reach_in_sigmas(cutoff, falloff))
    return worklist.build(*jax.lax.stop_gradient(soft_box(screen, reach)), screen.soft, canvas)


def squared_pixels(sigma: float | jax.Array, image_size: tuple[int, int], dtype) -> jax.Array:
    """Squared NDC units, in which the shorter side spans [-1, 1], to squared pixels; without gradient."""
    return jax.lax.stop_gradient(jnp.asarray(sigma, dtype)) * (0.5 * min(image_size)) ** 2


def reach_in_sigmas(cutoff: float, falloff: Falloff = "sigmoid") -> float:
    """Squared distance, in units of sigma, beyond which the probability of a face is below the cut-off."""
    if not isinstance(cutoff, float | np.floating) or not 0.0 < cutoff < 0.5:
        raise ValueError(f"cutoff must be a static number between 0 and 0.5, got {cutoff!r}")
    check_choice("falloff", falloff, ("sigmoid", "exponential"))
    return math.log(1.0 / cutoff - 1.0) if falloff == "sigmoid" else math.log(1.0 / cutoff)


class _Settings(NamedTuple):
    """Static half of the arguments."""

    canvas: Canvas
    cutoff: float
    falloff: Falloff


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _transparency(settings: _Settings, corners, work, sigma):
    """Product over faces of 1 - p, flat."""
    table, canvas = triangle_table(corners), settings.canvas
    reach = reach_in_sigmas(settings.cutoff, settings.falloff)

    def step(pairs: Pairs, product):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, product):
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            if settings.falloff == "sigmoid":
                clear = probability(-distance, sigma)
            else:
                clear = -jnp.expm1(-jnp.maximum(distance, 0.0) / sigma)
            factor = jnp.where(distance < reach * sigma, clear, 1.0)
            return product.at[pixel.index].multiply(factor, mode="promise_in_bounds")

        return worklist.each_pixel(pairs, canvas, at_pixel, product, corners.dtype)

    return worklist.walk(work, canvas, step, jnp.ones(canvas.size, corners.dtype))


@_transparency.defjvp
def _transparency_jvp(settings: _Settings, primals, tangents):
    primals = without_second_derivatives(primals)
    product = _transparency(settings, *primals)
    rules = (functools.partial(rule, settings) for rule in (_transparency_tangent, _transparency_gradient))
    return product, linear_map(*rules, (*primals, product), tangents[0], product)


def _transparency_tangent(settings: _Settings, saved, tangent):
    """How the product changes as the corners move."""
    corners, work, sigma, product = saved
    table = triangle_table(corners)

    def step(pairs: Pairs, change):
        rows, moves = (worklist.take_rows(part, pairs.face) for part in (table, tangent))

        def at_pixel(pixel: Pixel, change):
            pull = _pull(settings, rows, pairs, pixel, sigma, 1.0)
            term = sum(slope * move for slope, move in zip(pull, moves))
            return change.at[pixel.index].add(term, mode="promise_in_bounds")

        return worklist.each_pixel(pairs, settings.canvas, at_pixel, change, corners.dtype)

    return worklist.walk(work, settings.canvas, step, jnp.zeros_like(product)) * product / sigma


def _transparency_gradient(settings: _Settings, saved, cotangent):
    """The transpose of `_transparency_tangent`."""
    corners, work, sigma, product = saved
    table = triangle_table(corners)
    incoming = cotangent * product / sigma

    def step(pairs: Pairs, gradient):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, sums):
            updates = _pull(settings, rows, pairs, pixel, sigma, worklist.take(incoming, pixel))
            return tuple(total + update for total, update in zip(sums, updates))

        start = worklist.zeros(pairs, 6, corners.dtype)
        sums = worklist.each_pixel(pairs, settings.canvas, at_pixel, start, corners.dtype)
        return worklist.add_rows(gradient, pairs, jnp.stack(sums))

    return worklist.walk(work, settings.canvas, step, jnp.zeros_like(corners))


def _pull(settings: _Settings, rows, pairs: Pairs, pixel: Pixel, sigma, factor) -> tuple[jax.Array, ...]:
    """A factor times `sigma d log(1 - p) / d(corner)`, for the six coordinates."""
    position = worklist.once(pairs.face, lambda: border_position(rows, pixel.x, pixel.y))
    distance = distance_at(rows, pixel.x, pixel.y, position)
    scale = _relative_slope(settings, distance, sigma) * factor
    return distance_gradient(rows, pixel.x, pixel.y, position, scale)


def _relative_slope(settings: _Settings, distance, sigma) -> jax.Array:
    """`sigma (d(1 - p) / d(squared distance without sign)) / (1 - p)` of a face."""
    if settings.falloff == "sigmoid":
        # p itself: all else follows from it, inside it is above one half, and the cut-off is a probability too.
        p = probability(distance, sigma)
        return jnp.where(p > 0.5, -p, jnp.where(p > settings.cutoff, p, 0.0))
    # 1e-30: at the very border 1 - p is as small, and their product stays finite.
    relative = jnp.maximum(distance / sigma, 1e-30)
    near = (distance > 0) & (relative < reach_in_sigmas(settings.cutoff, settings.falloff))
    return jnp.where(near, 1.0 / jnp.expm1(jnp.where(near, relative, 1.0)), 0.0)
