"""Layers front to back: faces with soft borders, the nearest over those behind it.

The faces near a pixel are peeled in the order of depth at clamped barycentrics, then index. With d the squared distance
to the border of a face, negative inside:

    alpha_i = exp(-max(d_i, 0) / sigma),  T_i = prod_(j < i) (1 - alpha_j),
    rgb = sum_i T_i alpha_i colour_i + T backdrop

and the coverage is 1 - T, where T is what all of them let through. Faces are opaque inside, so what is behind them gets
neither weight nor gradient. Peeling goes on until no pixel lets light through, however many layers that takes, or for
`layers` of them. Each layer looks only at the pixels that are still open. The backward pass peels anew; of each pixel
only T is kept besides the picture.

Source: Monnier et al., Share With Thy Neighbors (Unicorn), ECCV 2022, which AST follows.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render import worklist
from render.arrays import Array, Structure, join_floats, positive_part, split_floats
from render.clamped import depth_of, face_table, place
from render.coverage import reach_in_sigmas
from render.distance import border_position, distance_at, signed_squared_distance
from render.rasterize import (
    NO_FACE,
    Fragments,
    attach,
    before_all,
    comparable_depth,
    global_index,
    is_behind,
    nearest_behind,
    sort_corners,
    within_image,
)
from render.scene import Scene, Softness, nearest_crossing, surface_colour
from render.screen import ScreenFaces, soft_box
from render.worklist import Canvas

# Transparency below which nothing behind is looked at. Far less than what can be seen: the gradient of an opacity
# close to one is a share of what is behind, however little of that gets through.
_OPAQUE = 1e-15
# The pixels of an image are looked at in at least this many lots, and the backward pass gathers as many before it
# differentiates their colours.
_LOTS = 16


def blend(
    scene: Scene, softness: Softness, face_id: Int[Array, "b h w"]
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    """Colours and coverage, see the top.

    Args:
        scene: the batch.
        softness: how soft.
        face_id: not needed, layers are peeled.

    Returns:
        rgb and alpha.
    """
    layers = jnp.iinfo(jnp.int32).max if softness.layers is None else softness.layers
    floats, others, structure = split_floats(scene)
    settings = _Settings(scene.canvas, softness.cutoff, layers, structure)
    rgb, transparency = _composite(settings, floats, others, nearest_crossing(scene), softness.sigma)
    return rgb, 1.0 - transparency


class _Settings(NamedTuple):
    """Static half of the arguments."""

    canvas: Canvas
    cutoff: float
    layers: int
    structure: Structure

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.canvas.height * self.canvas.width

    @property
    def lot(self) -> int:
        """Pixels of an image that are looked at together."""
        return min(max(self.pixels // _LOTS, 64), self.pixels)


class _Lot(NamedTuple):
    """Some pixels of a layer, `[b, 1, lot]` each.

    Attributes:
        pixel: number within the image.
        face_id: what they see, -1 where the lot is not full.
        clear: how much light gets through all that is in front.
    """

    pixel: jax.Array
    face_id: jax.Array
    clear: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _composite(settings: _Settings, floats, others, crossing, sigma):
    """rgb and transparency."""
    return _composite_forward(settings, floats, others, crossing, sigma)[0]


def _composite_forward(settings: _Settings, floats, others, crossing, sigma):
    scene = join_floats(settings.structure, floats, others)

    def visit(rgb, lot: _Lot):
        through, colour = _fragment(settings, scene, lot.pixel, lot.face_id, sigma)
        return _scatter_add(rgb, lot.pixel, (lot.clear * (1.0 - through))[..., None] * colour), through

    black = jnp.zeros((*crossing.shape[:1], settings.pixels, 3), scene.screen.corners.dtype)
    rgb, transparency = _visit_layers(settings, scene, crossing, sigma, visit, black + 0 * crossing[:, :1, :1])
    rgb = rgb.reshape(*crossing.shape, 3) + transparency[..., None] * scene.backdrop
    return (rgb, transparency), (floats, others, crossing, sigma, rgb, transparency)


class _Pending(NamedTuple):
    """What waits to be differentiated, `[b, 1, lots * lot]`, and how many lots there are.

    Attributes:
        pixel: number within the image.
        face_id: -1 for none.
        weight: of the colour in the picture.
        to_through: cotangent of 1 - alpha.
        lots: filled so far.
    """

    pixel: jax.Array
    face_id: jax.Array
    weight: jax.Array
    to_through: jax.Array
    lots: jax.Array


def _composite_backward(settings: _Settings, saved, cotangent):
    floats, others, crossing, sigma, rgb, transparency = saved
    batch, rebuild = crossing.shape[0], functools.partial(join_floats, settings.structure, others=others)
    scene = rebuild(floats=floats)
    to_rgb, to_transparency = cotangent
    # What a pixel's value, weighted with its cotangent, is made of: all layers, then the backdrop.
    whole = jnp.sum(to_rgb * rgb, axis=-1) + to_transparency * transparency
    to_colours = to_rgb.reshape(batch, -1, 3)

    def visit(carry, lot: _Lot):
        rest, pending, gradient = carry
        through, colour = _fragment(settings, scene, lot.pixel, lot.face_id, sigma)
        value = jnp.sum(_gather(to_colours, lot.pixel) * colour, axis=-1)
        weight = lot.clear * (1.0 - through)
        rest = _scatter_add(rest, lot.pixel, -weight * value)
        # What is behind is proportional to 1 - alpha; inside, that is 0 and does not move.
        soft = through > 0.0
        behind = jnp.where(soft, _gather(rest, lot.pixel) / jnp.where(soft, through, 1.0), 0.0)
        pending = _append(settings, pending, lot, weight, behind - lot.clear * value)
        pending, gradient = jax.lax.cond(pending.lots == _LOTS, differentiate, lambda *x: x, pending, gradient)
        return (rest, pending, gradient), through

    def differentiate(pending: _Pending, gradient):
        def colours(floats):
            return _fragment(settings, rebuild(floats=floats), pending.pixel, pending.face_id, sigma)

        to_colour = pending.weight[..., None] * _gather(to_colours, pending.pixel)
        (update,) = jax.vjp(colours, floats)[1]((pending.to_through, to_colour))
        empty = pending._replace(face_id=0 * pending.face_id - 1, lots=0 * pending.lots)
        return empty, jax.tree.map(jnp.add, gradient, update)

    _, to_backdrop = jax.vjp(lambda floats: transparency[..., None] * rebuild(floats=floats).backdrop, floats)
    # Zeros made from an argument: under `shard_map` they must differ between devices from the start.
    zero = jnp.zeros((batch, 1, _LOTS * settings.lot), whole.dtype) + 0 * whole[:, :1, :1]
    index = zero.astype(jnp.int32)
    pending = _Pending(index, index - 1, zero, zero, index[0, 0, 0])
    carry = whole.reshape(batch, -1), pending, to_backdrop(to_rgb)[0]
    (_, pending, gradient), _ = _visit_layers(settings, scene, crossing, sigma, visit, carry)
    return differentiate(pending, gradient)[1], None, None, None


_composite.defvjp(_composite_forward, _composite_backward)


def _append(settings: _Settings, pending: _Pending, lot: _Lot, weight, to_through) -> _Pending:
    new = (lot.pixel, lot.face_id, weight, to_through)
    start = pending.lots * settings.lot
    arrays = [jax.lax.dynamic_update_slice_in_dim(old, part, start, 2) for old, part in zip(pending, new)]
    return _Pending(*arrays, pending.lots + 1)


def _visit_layers(settings: _Settings, scene: Scene, crossing, sigma, visit: Callable, carry):
    """Calls `visit(carry, lot) -> (carry, 1 - alpha)` for all open pixels, layer by layer; gives the last carry and
    what all layers let through, `[b, h, w]`."""
    batch, height, width = crossing.shape
    front, peel = _peeling(settings, scene, crossing, sigma)

    def layer(state):
        count, _, front, clear, carry = state
        open_pixels = clear > _OPAQUE
        front, face_id = peel(front, open_pixels.reshape(crossing.shape))
        found = open_pixels & (face_id.reshape(batch, -1) >= 0)
        clear, carry = _visit_lots(settings, found, face_id.reshape(batch, -1), visit, clear, carry)
        return count + 1, jnp.any(found), front, clear, carry

    clear = jnp.ones((batch, height * width), scene.screen.corners.dtype) + 0 * crossing[:, :1, 0]
    count = jnp.zeros((), jnp.int32) + 0 * front[1][0]
    state = count, count == 0, front, clear, carry
    *_, clear, carry = jax.lax.while_loop(lambda state: state[1] & (state[0] < settings.layers), layer, state)
    return carry, clear.reshape(crossing.shape)


def _visit_lots(settings: _Settings, found, face_id, visit: Callable, clear, carry):
    """Visits the pixels `[b, h * w]` that found a face, `lot` of each image at a time."""
    batch, pixels = found.shape
    rank = jnp.cumsum(found, axis=1, dtype=jnp.int32)
    image = jnp.arange(batch, dtype=jnp.int32)[:, None]
    place = jnp.where(found, rank - 1, pixels + settings.lot)
    order = jnp.zeros((batch, pixels + settings.lot), jnp.int32)
    order = order.at[image, place].set(jnp.arange(pixels, dtype=jnp.int32)[None], mode="drop")

    def visit_lot(number, state):
        clear, carry = state
        pixel = jax.lax.dynamic_slice_in_dim(order, number * settings.lot, settings.lot, 1)[:, None]
        filled = (number * settings.lot + jnp.arange(settings.lot))[None, None] < rank[:, -1:, None]
        lot = _Lot(pixel, jnp.where(filled, _gather(face_id, pixel), -1), _gather(clear, pixel))
        carry, through = visit(carry, lot)
        return clear.at[image, pixel[:, 0]].multiply(through[:, 0], mode="promise_in_bounds"), carry

    lots = (jnp.max(rank[:, -1]) + (settings.lot - 1)) // settings.lot
    return jax.lax.fori_loop(0, lots, visit_lot, (clear, carry))


def _peeling(settings: _Settings, scene: Scene, crossing, sigma):
    """Where to start, and a function from the last layer and a mask `[b, h, w]` of pixels to the next layer: its depths
    and faces, flat, and its faces of the image, right where the mask is true."""
    canvas, screen = settings.canvas, jax.lax.stop_gradient(scene.screen)
    table = face_table(_sorted(screen))
    reach = reach_in_sigmas(settings.cutoff, "exponential") * sigma
    low, high = soft_box(screen, jnp.sqrt(reach))
    hard_depth = comparable_depth(attach(screen, crossing, scene.pixels).depth)
    hard_depth = jnp.where(crossing >= 0, hard_depth, jnp.inf)
    hard = canvas.flatten(hard_depth), canvas.flatten(jnp.where(crossing >= 0, global_index(crossing, screen), NO_FACE))

    def depth_at(rows, x, y):
        depth = depth_of(rows, place(rows, x, y).weights)
        return jnp.where(signed_squared_distance(rows, x, y) < reach, depth, jnp.inf)

    def peel(front, mask):
        work = worklist.build(low, high, screen.soft & worklist.touching(low, high, mask, canvas), canvas)
        soft = nearest_behind(canvas, work, table, depth_at, front)
        use_hard = is_behind(*hard, *front) & is_behind(*soft, *hard)
        layer = tuple(jnp.where(use_hard, a, b) for a, b in zip(hard, soft))
        return layer, within_image(layer[1], canvas, screen)

    return before_all(canvas, table), peel


def _sorted(screen: ScreenFaces) -> ScreenFaces:
    """Soft faces whose corners are in the order of `sort_corners`."""
    split = screen.corners.reshape(-1, 3, 2), screen.inverse_w[..., None], screen.depth[..., None]
    corners = sort_corners(jnp.concatenate(split, axis=-1))
    return screen._replace(corners=corners[..., :2].reshape(-1, 6), inverse_w=corners[..., 2], depth=corners[..., 3])


def _fragment(settings: _Settings, scene: Scene, pixel, face_id, sigma) -> tuple[jax.Array, jax.Array]:
    """1 - alpha and colour of one face at each of some pixels `[b, 1, n]`; one and zero where there is none."""
    screen, covered = scene.screen, face_id >= 0
    index = global_index(face_id, screen)
    soft = screen.soft[index]
    rows = jnp.moveaxis(face_table(screen)[index], -1, 0)
    row = pixel // settings.canvas.width
    pixels = (pixel - row * settings.canvas.width).astype(rows.dtype), row.astype(rows.dtype)
    position = jax.lax.stop_gradient(border_position(rows, *pixels))
    outside = positive_part(distance_at(rows, *pixels, position))
    through = jnp.where(soft, -jnp.expm1(-outside / sigma), 0.0)
    hard = attach(screen, jnp.where(soft, -1, face_id), pixels)
    barycentric = jnp.where(soft[..., None], jnp.stack(place(rows, *pixels).weights, axis=-1), hard.barycentric)
    colour = surface_colour(scene, Fragments(face_id, barycentric, hard.depth), pixels)
    return jnp.where(covered, through, 1.0), jnp.where(covered[..., None], colour, 0.0)


def _gather(values: jax.Array, pixel: jax.Array) -> jax.Array:
    """Values `[b, h * w, ...]` at pixels `[b, 1, n]`."""
    image = jnp.arange(pixel.shape[0], dtype=jnp.int32)[:, None, None]
    return values.at[image, pixel].get(mode="promise_in_bounds")


def _scatter_add(values: jax.Array, pixel: jax.Array, updates: jax.Array) -> jax.Array:
    image = jnp.arange(pixel.shape[0], dtype=jnp.int32)[:, None, None]
    return values.at[image, pixel].add(updates, mode="promise_in_bounds")
