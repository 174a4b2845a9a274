"""Soft colours: the depth-weighted mean of SoftRas over all faces near a pixel, with its analytic gradient.

For pixel and face, with p the soft coverage of `render.coverage` and depth z interpolated
perspective-correctly at barycentrics clamped to the face:

    w_f = p_f exp((n_f - m) / gamma),  n_f = (far - z_f) / (far - near),  m = max(eps, max_f n_f)
    rgb = (sum_f w_f colour_f + w_b background) / (sum_f w_f + w_b),  w_b = exp((eps - m) / gamma)

The forward pass walks the work list twice, once for m and the coverage, once for the sums, and keeps
per-pixel sums only; the backward pass walks it once more and computes everything anew.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from render import worklist
from render.coverage import reach_in_sigmas
from render.distance import (
    border_position,
    distance_at,
    distance_gradient,
    doubled_areas,
    probability,
    relative_corners,
    signed_squared_distance,
    triangle_table,
)
from render.screen import ScreenFaces
from render.texture import coefficient_gradient, colour_at, field_gradient
from render.worklist import Canvas, Pairs, Pixel, WorkList

# Weight of the background in SoftRas, as a normalised depth.
BACKGROUND_DEPTH = 1e-3
# Squared pixels; below, the area of a face is rounding noise and its colour that of corner 0. The same holds for areas
# times 1 / w, which perspective makes smaller: by no more than a million, unless a face reaches almost to infinity.
_LEAST_AREA, _LEAST_PART = 1e-6, 1e-12
# Where the parts of a row of the table begin after the triangle table: 1 / w, depth.
_INVERSE_W, _DEPTH = 9, 12


class Settings(NamedTuple):
    """Static half of the arguments.

    Attributes:
        canvas: layout of the images.
        cutoff: smallest probability outside of a face.
        side: texels along a face, 0 for vertex colours.
    """

    canvas: Canvas
    cutoff: float
    side: int


class Softness(NamedTuple):
    """Numbers that a jitted function may change without being compiled anew; no gradients.

    Attributes:
        sigma: squared pixels.
        gamma: in normalised depth.
        near: depth at which the normalised depth is 1.
        far: depth at which it is 0.
    """

    sigma: jax.Array
    gamma: jax.Array
    near: jax.Array
    far: jax.Array


class BlendSums(NamedTuple):
    """Sums over faces, flat images.

    Attributes:
        transparency: product of 1 - p.
        nearest: m, the largest normalised depth; carries no gradient.
        weight: sum of w.
        colour: three arrays, sum of w times colour.
    """

    transparency: jax.Array
    nearest: jax.Array
    weight: jax.Array
    colour: tuple[jax.Array, jax.Array, jax.Array]


def blend_sums(
    settings: Settings, screen: ScreenFaces, coefficients: jax.Array, work: WorkList, softness: Softness
) -> BlendSums:
    """Sums of the softmax over faces, differentiable in corners, 1 / w, depths and coefficients.

    Args:
        settings: static arguments.
        screen: faces; only soft ones must be in the work list.
        coefficients: `[b * f, k, 3]` of the texture.
        work: windows of the faces, grown by the reach of the cut-off.
        softness: sigma, gamma, near, far.

    Returns:
        The sums.
    """
    return _blend(settings, screen.corners, screen.inverse_w, screen.depth, coefficients, work, softness)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _blend(settings: Settings, corners, inverse_w, depth, coefficients, work, softness):
    table = jnp.concatenate([triangle_table(corners), inverse_w, depth], axis=-1)
    transparency, nearest = _nearest_and_coverage(settings, table, work, softness)
    sums = _weighted_sums(settings, table, coefficients, work, softness, nearest)
    return BlendSums(transparency, nearest, sums[0], sums[1:])


def _nearest_and_coverage(settings: Settings, table, work, softness: Softness):
    canvas, reach = settings.canvas, reach_in_sigmas(settings.cutoff)

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, carry):
            transparency, nearest = carry
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            reached = distance < reach * softness.sigma
            clear = jnp.where(reached, probability(-distance, softness.sigma), 1.0)
            normal = _normalised_depth(rows, _barycentrics(rows, pixel).weights, softness)
            normal = jnp.where(reached, normal, -jnp.inf)
            return (
                transparency.at[pixel.index].multiply(clear, mode="promise_in_bounds"),
                nearest.at[pixel.index].max(normal, mode="promise_in_bounds"),
            )

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    start = jnp.ones(canvas.size, table.dtype), jnp.full(canvas.size, BACKGROUND_DEPTH, table.dtype)
    return worklist.walk(work, canvas, step, start)


def _weighted_sums(settings: Settings, table, coefficients, work, softness: Softness, nearest):
    canvas, texels = settings.canvas, coefficients.reshape(coefficients.shape[0], -1)

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)
        colours = worklist.take_rows(texels, pairs.face).reshape(-1, 3, len(pairs.face))

        def at_pixel(pixel: Pixel, carry):
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            weights = worklist.once(pairs, lambda: _barycentrics(rows, pixel).weights)
            p, normal = probability(distance, softness.sigma), _normalised_depth(rows, weights, softness)
            before = worklist.take(nearest, pixel)
            weight = worklist.once(pairs, lambda: _face_weight(p, normal, before, settings, softness))
            colour = colour_at(settings.side, colours, weights)
            terms = (weight, *(weight * channel for channel in colour))
            return tuple(total.at[pixel.index].add(term, mode="promise_in_bounds") for total, term in zip(carry, terms))

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    start = (jnp.zeros(canvas.size, table.dtype),) * 4
    return worklist.walk(work, canvas, step, start, numbers=32 + texels.shape[1])


def _blend_forward(settings, corners, inverse_w, depth, coefficients, work, softness):
    sums = _blend(settings, corners, inverse_w, depth, coefficients, work, softness)
    return sums, (corners, inverse_w, depth, coefficients, work, softness, sums.transparency, sums.nearest)


def _blend_backward(settings: Settings, saved, cotangent: BlendSums):
    corners, inverse_w, depth, coefficients, work, softness, transparency, nearest = saved
    table = jnp.concatenate([triangle_table(corners), inverse_w, depth], axis=-1)
    texels = coefficients.reshape(coefficients.shape[0], -1)
    images = _Incoming(
        cotangent.transparency * transparency / softness.sigma, nearest, cotangent.weight, cotangent.colour
    )

    def step(pairs: Pairs, gradients):
        rows = worklist.take_rows(table, pairs.face)
        colours = worklist.take_rows(texels, pairs.face).reshape(-1, 3, len(pairs.face))

        def at_pixel(pixel: Pixel, sums):
            incoming = jax.tree.map(lambda image: worklist.take(image, pixel), images)
            updates = _pixel_gradient(settings, pairs, (rows, colours), pixel, incoming, softness)
            return jax.tree.map(jnp.add, sums, updates)

        numbers = worklist.zeros(pairs, 12, table.dtype)
        start = numbers, jnp.broadcast_to(numbers[0], colours.shape)
        numbers, colours = worklist.each_pixel(pairs, settings.canvas, at_pixel, start, table.dtype)
        updates = jnp.stack(numbers), colours.reshape(-1, len(pairs.face))
        return tuple(worklist.add_rows(total, pairs, update) for total, update in zip(gradients, updates))

    start = jnp.zeros((table.shape[0], 12), table.dtype), jnp.zeros_like(texels)
    shape, texels = worklist.walk(work, settings.canvas, step, start, numbers=64 + 2 * texels.shape[1])
    return shape[:, :6], shape[:, 6:9], shape[:, 9:12], texels.reshape(coefficients.shape), None, None


_blend.defvjp(_blend_forward, _blend_backward)


class _Incoming(NamedTuple):
    """Per-pixel values that the backward pass reads."""

    transparency: jax.Array
    nearest: jax.Array
    weight: jax.Array
    colour: tuple[jax.Array, jax.Array, jax.Array]


def _pixel_gradient(settings: Settings, pairs: Pairs, faces, pixel: Pixel, incoming: _Incoming, softness: Softness):
    """Gradients of one pixel: 6 corner coordinates, 3 of 1 / w, 3 depths; and coefficients `[k, 3, pairs]`."""
    once, (rows, colours), at = functools.partial(worklist.once, pairs), faces, (pixel.x, pixel.y)
    position, place = once(lambda: (border_position(rows, *at), _barycentrics(rows, pixel)))
    p = once(lambda: probability(distance_at(rows, *at, position), softness.sigma))
    normal = _normalised_depth(rows, place.weights, softness)
    weight = once(lambda: _face_weight(p, normal, incoming.nearest, settings, softness))
    to_colour = tuple(weight * cotangent for cotangent in incoming.colour)
    # Channels first: then one scalar texture remains to be differentiated.
    values = once(lambda: sum(colours[:, channel] * to_colour[channel][None] for channel in range(3)))
    value, to_place = once(lambda: field_gradient(settings.side, values, place.weights))
    # The weight times its cotangent, which is its own and that of the colours it multiplies.
    pull = weight * incoming.weight + value
    to_depth = -pull / (softness.gamma * (softness.far - softness.near))
    to_place = tuple(g + to_depth * rows[_DEPTH + i] for i, g in enumerate(to_place))
    reached = jnp.where(p > 0.5, -1.0, jnp.where(p > settings.cutoff, 1.0, 0.0))
    to_distance = reached * (incoming.transparency * p - pull * (1.0 - p) / softness.sigma)
    to_distance, to_parts = once(lambda: (to_distance, _parts_gradient(place, to_place)))
    corners, to_inverse_w = _place_gradient(rows, pixel, place, to_parts)
    soft = distance_gradient(rows, *at, position, to_distance)
    to_depths = tuple(to_depth * w for w in place.weights)
    numbers = (*(a + b for a, b in zip(corners, soft)), *to_inverse_w, *to_depths)
    return numbers, coefficient_gradient(settings.side, place.weights, to_colour)


class _Place(NamedTuple):
    """Where on a face a pixel is, clamped to the face.

    Attributes:
        weights: perspective-correct barycentrics, three arrays that sum to one.
        areas: doubled areas that the barycentrics come from, >= 0.
        scale: 1 / sum of areas times 1 / w; zero for faces without area.
        winding: 1 or -1.
    """

    weights: tuple[jax.Array, jax.Array, jax.Array]
    areas: tuple[jax.Array, jax.Array, jax.Array]
    scale: jax.Array
    winding: jax.Array


def _barycentrics(rows, pixel: Pixel) -> _Place:
    crosses = doubled_areas(relative_corners(rows, pixel.x, pixel.y))
    winding = jnp.where(crosses[0] + crosses[1] + crosses[2] < 0, -1.0, 1.0).astype(rows.dtype)
    areas = tuple(jnp.maximum(winding * cross, 0.0) for cross in crosses)
    parts = [area * rows[_INVERSE_W + i] for i, area in enumerate(areas)]
    total = parts[0] + parts[1] + parts[2]
    solid = (areas[0] + areas[1] + areas[2] > _LEAST_AREA) & (total > _LEAST_PART)
    scale = jnp.where(solid, 1.0 / jnp.where(solid, total, 1.0), 0.0)
    weights = (jnp.where(solid, parts[0] * scale, 1.0), parts[1] * scale, parts[2] * scale)
    return _Place(weights, areas, scale, winding)


def _parts_gradient(place: _Place, cotangent) -> tuple[jax.Array, ...]:
    """Carries a gradient of the barycentrics to areas / w, before they are scaled to sum to one."""
    mean = sum(g * weight for g, weight in zip(cotangent, place.weights))
    return tuple((g - mean) * place.scale for g in cotangent)


def _place_gradient(rows, pixel: Pixel, place: _Place, to_parts):
    """Carries a gradient of areas / w to the corners (six arrays) and to 1 / w (three)."""
    to_inverse_w = tuple(g * area for g, area in zip(to_parts, place.areas))
    u, v, w = (
        jnp.where(area > 0, g * rows[_INVERSE_W + i] * place.winding, 0.0)
        for i, (g, area) in enumerate(zip(to_parts, place.areas))
    )
    (ax, ay), (bx, by), (cx, cy) = relative_corners(rows, pixel.x, pixel.y)
    corners = (
        w * by - v * cy,
        v * cx - w * bx,
        u * cy - w * ay,
        w * ax - u * cx,
        v * ay - u * by,
        u * bx - v * ax,
    )
    return corners, to_inverse_w


def _normalised_depth(rows, weights, softness: Softness) -> jax.Array:
    depth = sum(weight * rows[_DEPTH + i] for i, weight in enumerate(weights))
    return (softness.far - depth) / (softness.far - softness.near)


def _face_weight(p, normal, nearest, settings: Settings, softness: Softness) -> jax.Array:
    # At most zero where the face counts. e^-60 is nothing beside the weight of the nearest face, which is at least
    # the cut-off; smaller numbers would turn denormal, slow on many CPUs.
    exponent = jnp.clip((normal - nearest) / softness.gamma, -60.0, 0.0)
    return jnp.where(p > settings.cutoff, p * jnp.exp(exponent), 0.0)
