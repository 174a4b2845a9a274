"""How much of each pixel faces cover, with soft borders, by the work list; differentiable in the faces."""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render import worklist
from render.arrays import Array, check_choice
from render.distance import (
    border_position,
    distance_at,
    distance_gradient,
    probability,
    signed_squared_distance,
    triangle_table,
)
from render.linear import linear_map, without_second_derivatives
from render.screen import ScreenFaces, soft_box
from render.worklist import Canvas, Pairs, Pixel
from render.zbuffer import nearest_crossing

Falloff = Literal["sigmoid", "exponential"]


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
