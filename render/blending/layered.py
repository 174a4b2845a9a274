"""Layers front to back: faces with soft borders, the nearest over those behind it.

The faces near a pixel are blended in the order of depth at clamped barycentrics, then index. With d the squared
distance to the border of a face, negative inside:

    alpha_i = exp(-max(d_i, 0) / sigma),  T_i = prod_(j < i) (1 - alpha_j),
    rgb = sum_i T_i alpha_i colour_i + T backdrop

and the coverage is 1 - T, where T is what all of them let through. Faces are opaque inside, so what is behind them gets
neither weight nor gradient: the picture is the hard one, and over it the soft borders of the faces in front of what it
shows. Those fragments are listed (`render.fragment_list`), all of them or the nearest `layers` of a pixel. The backward
pass lists them anew; of each pixel four numbers are kept besides the picture: T, the opaque face, its depth, and how
many fragments there are. With g the cotangent of rgb, what is behind fragment i has the value B_i, and

    B_i = alpha_(i + 1) g colour_(i + 1) + (1 - alpha_(i + 1)) B_(i + 1),  d / d(1 - alpha_i) = T_i (B_i - g colour_i).

Source: Monnier et al., Share With Thy Neighbors (Unicorn), ECCV 2022, which AST follows.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render import worklist
from render.arrays import Array, Structure, join_floats, positive_part, split_floats
from render.clamped import face_table, parts_gradient, place, place_gradient
from render.coverage import reach_in_sigmas
from render.distance import border_position, distance_at, distance_gradient, signed_squared_distance
from render.fragment_list import (
    FragmentList,
    Search,
    Surface,
    count_fragments,
    depth_to_compare,
    each_round,
    make_search,
    sorted_table,
)
from render.fragments import Fragments, attach, global_index
from render.linear import linear_map, without_second_derivatives
from render.scene import Scene, Softness, paint, surface_colour
from render.screen import ScreenFaces
from render.worklist import Canvas
from render.zbuffer import NO_FACE, comparable_depth, is_behind, nearest_crossing

# The fragments of an image are coloured in lots of its pixels divided by this number.
_LOTS = 4
# Lots are pictures of so many rows: on CPU, XLA's derivatives of lookups are four times slower along one axis alone.
_LOT_ROWS = 8


def blend(
    scene: Scene, softness: Softness, face_id: Int[Array, "b h w"]
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    """Colours and coverage, see the top.

    Args:
        scene: the batch.
        softness: how soft.
        face_id: nearest faces.

    Returns:
        rgb and alpha.
    """
    floats, others, structure = split_floats(scene)
    settings = _Settings(scene.canvas, softness.cutoff, softness.layers, structure)
    screen = jax.lax.stop_gradient(scene.screen)
    crossing = nearest_crossing(screen, scene.image_size, scene.batch)
    # Once: everything looks at these faces.
    opaque, depth = worklist.once(face_id + 1, lambda: _opaque(screen, face_id, crossing, scene.pixels))
    rgb, transparency = _composite(settings, floats, others, opaque, depth, softness.sigma)
    return rgb, 1.0 - transparency


class _Settings(NamedTuple):
    """Static half of the arguments."""

    canvas: Canvas
    cutoff: float
    layers: int | None
    structure: Structure

    @property
    def lot(self) -> tuple[int, int]:
        """Shape of the fragments of an image that are coloured together."""
        pixels = self.canvas.height * self.canvas.width
        return _LOT_ROWS, max(pixels // (_LOTS * _LOT_ROWS), 8)


class _Lot(NamedTuple):
    """Some fragments of each image, `[b, *lot]`.

    Attributes:
        place: in the list; its length where the lot is not full.
        face_id: index within the image, -1 where the lot is not full.
        x: columns of the pixels.
        y: rows of the pixels.
    """

    place: jax.Array
    face_id: jax.Array
    x: jax.Array
    y: jax.Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _composite(settings: _Settings, floats, others, opaque, depth, sigma):
    """rgb and transparency."""
    return _composite_and_save(settings, floats, others, opaque, depth, sigma)[0]


@_composite.defjvp
def _composite_jvp(settings: _Settings, primals, tangents):
    primals = without_second_derivatives(primals)
    results, saved = _composite_and_save(settings, *primals)
    rules = (functools.partial(rule, settings) for rule in (_composite_tangent, _composite_gradient))
    return results, linear_map(*rules, saved, tangents[0], results)


def _composite_and_save(settings: _Settings, floats, others, opaque, depth, sigma):
    scene = join_floats(settings.structure, floats, others)
    search = _search(settings, scene, opaque, depth, sigma)
    count = count_fragments(search)

    def add(fragments: FragmentList, carry):
        rgb, clear = carry
        through, colour = _colours(settings, scene, fragments, sigma)
        weight = _clear(fragments, through) * (1.0 - through)
        rgb = rgb.at[fragments.pixel].add(weight[:, None] * colour, mode="drop")
        return rgb, clear.at[fragments.pixel].multiply(through, mode="drop")

    dtype, pixels = scene.screen.corners.dtype, count.size
    rgb, clear = each_round(search, count, add, (jnp.zeros((pixels, 3), dtype), jnp.ones(pixels, dtype)))
    rgb, clear = rgb.reshape(*count.shape, 3), clear.reshape(count.shape)
    behind = _seen_behind(settings, opaque, count)
    rgb = rgb + clear[..., None] * paint(scene, behind)
    transparency = jnp.where(behind >= 0, 0.0, clear)
    return (rgb, transparency), (floats, others, opaque, depth, sigma, count, clear)


def _composite_tangent(settings: _Settings, saved, moves):
    """How rgb and transparency change as floats do."""
    floats, others, opaque, depth, sigma, count, clear = saved
    rebuild = functools.partial(join_floats, settings.structure, others=others)
    scene = rebuild(floats=floats)
    search = _search(settings, scene, opaque, depth, sigma)
    behind = _seen_behind(settings, opaque, count)
    painted, change = jax.jvp(lambda floats: paint(rebuild(floats=floats), behind), (floats,), (moves,))
    # Transparency is a fourth colour, of what is behind alone.
    behind_all = jnp.append(painted, jnp.where(behind >= 0, 0.0, 1.0)[..., None], axis=-1).reshape(-1, 4)

    def add(fragments: FragmentList, total):
        through, colour = _colours(settings, scene, fragments, sigma)
        moved = _colours(settings, scene, fragments, sigma, (others, floats, moves))
        colour = jnp.pad(colour, ((0, 0), (0, 1)))
        rest = [_rest(fragments, through, value, end) for value, end in zip(colour.T, behind_all.T)]
        first = _clear(fragments, through)[:, None] * (jnp.stack(rest, axis=-1) - colour) * moved[0][:, None]
        second = (_clear(fragments, through) * (1.0 - through))[:, None] * jnp.pad(moved[1], ((0, 0), (0, 1)))
        return total.at[fragments.pixel].add(first + second, mode="drop")

    total = each_round(search, count, add, jnp.zeros_like(behind_all)).reshape(*count.shape, 4)
    return total[..., :3] + clear[..., None] * change, total[..., 3]


def _composite_gradient(settings: _Settings, saved, cotangent):
    """The transpose of `_composite_tangent`."""
    floats, others, opaque, depth, sigma, count, clear = saved
    to_rgb, to_transparency = cotangent
    rebuild = functools.partial(join_floats, settings.structure, others=others)
    scene = rebuild(floats=floats)
    search = _search(settings, scene, opaque, depth, sigma)
    behind = _seen_behind(settings, opaque, count)
    painted, to_painted = jax.vjp(lambda floats: paint(rebuild(floats=floats), behind), floats)
    (gradient,) = to_painted(clear[..., None] * to_rgb)
    # The value of what the front lets through.
    value_behind = jnp.sum(to_rgb * painted, axis=-1) + jnp.where(behind >= 0, 0.0, to_transparency)

    def add(fragments: FragmentList, gradient):
        through, colour = _colours(settings, scene, fragments, sigma)
        to_colour = to_rgb.reshape(-1, 3).at[fragments.pixel].get(mode="clip")
        value, weight = jnp.sum(to_colour * colour, axis=-1), _clear(fragments, through)
        rest = _rest(fragments, through, value, value_behind.reshape(-1))
        cotangents = weight * (rest - value), (weight * (1.0 - through))[:, None] * to_colour

        def differentiate(lot: _Lot, gradient):
            to_lot = (part.at[lot.place].get(mode="fill", fill_value=0.0) for part in cotangents)
            return _add_gradient(settings, scene, lot, sigma, tuple(to_lot), gradient)

        return _each_lot(settings, scene, fragments, differentiate, gradient)

    to_corners = jnp.zeros((len(scene.screen.soft), 9), to_rgb.dtype)
    gradient, to_corners = each_round(search, count, add, (gradient, to_corners))
    (update,) = jax.vjp(lambda floats: _screen_corners(rebuild(floats=floats)), floats)[1](to_corners)
    return jax.tree.map(jnp.add, gradient, update)


def _search(settings: _Settings, scene: Scene, opaque, depth, sigma) -> Search:
    """The search for fragments in front of opaque faces."""
    surface = Surface(depth, jnp.where(opaque >= 0, global_index(opaque, scene.screen), NO_FACE))
    reach = reach_in_sigmas(settings.cutoff, "exponential") * sigma
    return make_search(settings.canvas, scene.screen, reach, surface)


def _opaque(screen: ScreenFaces, face_id, crossing, pixels) -> tuple[jax.Array, jax.Array]:
    """The nearest face of each pixel, where it is inside, or one that passes through the plane of the camera; -1 for
    none. And its depth, as it is compared."""
    index = global_index(face_id, screen)
    rows = jnp.moveaxis(sorted_table(screen)[index], -1, 0)
    # The test of the soft faces, which may differ from the z-buffer's by rounding.
    inside = (face_id >= 0) & screen.soft[index] & (signed_squared_distance(rows, *pixels) <= 0)
    depth = jnp.where(inside, depth_to_compare(rows, *pixels), jnp.inf)
    crossing_depth = comparable_depth(attach(screen, crossing, pixels).depth)
    behind = is_behind(depth, jnp.where(inside, face_id, NO_FACE), crossing_depth, crossing)
    nearer = (crossing >= 0) & behind
    return jnp.where(nearer, crossing, jnp.where(inside, face_id, -1)), jnp.where(nearer, crossing_depth, depth)


def _seen_behind(settings: _Settings, opaque: jax.Array, count: jax.Array) -> jax.Array:
    """Opaque faces that are among the first layers."""
    return opaque if settings.layers is None else jnp.where(count < settings.layers, opaque, -1)


def _each_lot(settings: _Settings, scene: Scene, fragments: FragmentList, visit: Callable, carry):
    """Calls `visit(lot, carry) -> carry` for the fragments of all images, some of each at a time."""
    canvas, room, lot = settings.canvas, len(fragments.pixel), math.prod(settings.lot)
    image = jnp.arange(canvas.batch, dtype=jnp.int32)[:, None, None]
    pixels = canvas.height * canvas.width
    start = jnp.searchsorted(fragments.pixel, jnp.arange(canvas.batch + 1, dtype=jnp.int32) * pixels).astype(jnp.int32)
    number_of_faces = len(scene.screen.soft) // canvas.batch

    def body(number, carry):
        nth = number * lot + jnp.arange(lot, dtype=jnp.int32).reshape(1, *settings.lot)
        place = start[:-1, None, None] + nth
        filled = place < start[1:, None, None]
        pixel, face, rank = (part.at[place].get(mode="clip") for part in fragments)
        if settings.layers is not None:
            filled &= rank < settings.layers
        row = (pixel - image * pixels) // canvas.width
        x, y = (
            part.astype(scene.screen.corners.dtype) - middle
            for part, middle in zip((pixel % canvas.width, row), canvas.centre)
        )
        face_id = jnp.where(filled, face - image * number_of_faces, -1)
        return visit(_Lot(jnp.where(filled, place, room), face_id, x, y), carry)

    lots = (jnp.max(start[1:] - start[:-1]) + (lot - 1)) // lot
    return jax.lax.fori_loop(0, lots, body, carry)


def _colours(
    settings: _Settings, scene: Scene, fragments: FragmentList, sigma, moves: tuple | None = None
) -> tuple[jax.Array, jax.Array]:
    """1 - alpha `[n]` and colour `[n, 3]` of all fragments; one and zero behind the last. With moves, that is others,
    floats and tangents of these, how they change; zero behind the last."""

    def visit(lot: _Lot, carry):
        if moves is None:
            parts = _fragment(scene, lot, sigma)
        else:
            others, floats, tangents = moves
            rebuild = functools.partial(join_floats, settings.structure, others=others)
            position = border_position(_rows(scene, lot), lot.x, lot.y)
            fragment = functools.partial(_fragment, lot=lot, sigma=sigma, position=position)
            parts = jax.jvp(lambda floats: fragment(rebuild(floats=floats)), (floats,), (tangents,))[1]
        return tuple(whole.at[lot.place].set(part, mode="drop") for whole, part in zip(carry, parts))

    zero = 0.0 * fragments.face.astype(scene.screen.corners.dtype)
    start = zero + (1.0 if moves is None else 0.0), jnp.stack([zero] * 3, axis=-1)
    return _each_lot(settings, scene, fragments, visit, start)


def _fragment(scene: Scene, lot: _Lot, sigma, position: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """1 - alpha `[b, *lot]` and colour `[b, *lot, 3]`; to be differentiated it needs the `border_position`."""
    rows = _rows(scene, lot)
    weights = place(rows, lot.x, lot.y).weights
    if position is None:
        outside = jnp.maximum(signed_squared_distance(rows, lot.x, lot.y), 0.0)
    else:
        outside = positive_part(distance_at(rows, lot.x, lot.y, position))
    return -jnp.expm1(-outside / sigma), _colour(scene, lot, weights)


def _add_gradient(settings: _Settings, scene: Scene, lot: _Lot, sigma, cotangent, gradient):
    """Adds the gradient of `_fragment`, by the floats of the scene and by `_screen_corners`, to a sum of those."""
    (to_through, to_colour), (to_floats, to_corners) = cotangent, gradient
    at, once, rows = (lot.x, lot.y), functools.partial(worklist.once, lot.place), _rows(scene, lot)
    where, position = once(lambda: (place(rows, *at), border_position(rows, *at)))
    floats, others, _ = split_floats(scene)
    _, pull = jax.vjp(
        lambda floats, weights: _colour(join_floats(settings.structure, floats, others), lot, weights),
        floats, where.weights,
    )  # fmt: skip
    update, to_weights = pull(to_colour)
    distance = distance_at(rows, *at, position)
    to_distance = jnp.where(distance > 0, to_through * jnp.exp(-distance / sigma) / sigma, 0.0)
    to_distance, to_parts = once(lambda: (to_distance, parts_gradient(where, to_weights)))
    corners, to_inverse_w = place_gradient(rows, *at, where, to_parts)
    soft = distance_gradient(rows, *at, position, to_distance)
    columns = jnp.stack([*(a + b for a, b in zip(corners, soft)), *to_inverse_w], axis=-1)
    index = global_index(lot.face_id, scene.screen)
    to_corners = to_corners.at[index].add(columns, mode="promise_in_bounds")
    return jax.tree.map(jnp.add, to_floats, update), to_corners


def _rows(scene: Scene, lot: _Lot) -> jax.Array:
    """Columns of `face_table`, `[15, b, *lot]`."""
    index, table = global_index(lot.face_id, scene.screen), face_table(scene.screen)
    return worklist.once(lot.place, lambda: jnp.moveaxis(table.at[index].get(mode="promise_in_bounds"), -1, 0))


def _screen_corners(scene: Scene) -> jax.Array:
    """`[m, 9]`: x, y of the corners of faces, then 1 / w."""
    return jnp.concatenate([scene.screen.corners, scene.screen.inverse_w], axis=-1)


def _colour(scene: Scene, lot: _Lot, weights: tuple[jax.Array, ...]) -> jax.Array:
    """Colours of faces at barycentrics; their depth is not looked at."""
    seen = Fragments(lot.face_id, jnp.stack(weights, axis=-1), 0.0 * weights[0])
    return surface_colour(scene, seen, (lot.x, lot.y))


def _clear(fragments: FragmentList, through: jax.Array) -> jax.Array:
    """T: what all fragments in front of each let through."""
    first = fragments.rank <= 0
    return _recurrence(fragments, jnp.where(first, 0.0, jnp.roll(through, 1)), first.astype(through.dtype), 1)


def _rest(fragments: FragmentList, through: jax.Array, value: jax.Array, value_behind: jax.Array) -> jax.Array:
    """B: the value of what is behind each fragment."""
    last = jnp.roll(fragments.rank, -1) <= 0
    end = value_behind.at[fragments.pixel].get(mode="clip")
    slope = jnp.where(last, 0.0, jnp.roll(through, -1))
    return _recurrence(fragments, slope, jnp.where(last, end, jnp.roll((1.0 - through) * value, -1)), -1)


def _recurrence(fragments: FragmentList, slope: jax.Array, offset: jax.Array, step: int) -> jax.Array:
    """`x_i = slope_i x_(i - step) + offset_i` with a step of 1 or -1; the slope is 0 at the first i of each pixel.

    Composed with itself the recurrence has steps of 2, 4, 8, ..., until they leave every pixel.
    """

    def compose(state):
        step, slope, offset = state
        return 2 * step, slope * jnp.roll(slope, step), offset + slope * jnp.roll(offset, step)

    longest = jnp.max(fragments.rank)
    state = step + 0 * longest, slope, offset
    return jax.lax.while_loop(lambda state: jnp.abs(state[0]) <= longest, compose, state)[2]
