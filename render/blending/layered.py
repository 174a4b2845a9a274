"""Layers front to back: faces with soft borders, the nearest over those behind it.

The faces near a pixel are peeled in the order of depth at clamped barycentrics, then index. With d the squared distance
to the border of a face, negative inside:

    alpha_i = exp(-max(d_i, 0) / sigma),  T_i = prod_(j < i) (1 - alpha_j),
    rgb = sum_i T_i alpha_i colour_i + T backdrop

and the coverage is 1 - T, where T is what all of them let through. Faces are opaque inside, so what is behind them gets
neither weight nor gradient. Peeling goes on until no pixel lets light through, however many layers that takes, or for
`layers` of them. The backward pass peels anew; of each pixel only T is kept besides the picture.

Source: Monnier et al., Share With Thy Neighbors (Unicorn), ECCV 2022, which AST follows.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array, Structure, join_floats, split_floats
from render.clamped import depth_of, face_table, place
from render.coverage import reach_in_sigmas, soft_work
from render.distance import signed_squared_distance
from render.rasterize import (
    NO_FACE,
    Fragments,
    attach,
    before_all,
    global_index,
    is_behind,
    nearest_behind,
    pixel_grid,
    within_image,
)
from render.scene import Scene, Softness, nearest_crossing, surface_colour
from render.worklist import Canvas

# Transparency below which nothing behind can be seen in single precision.
_OPAQUE = 1e-6


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
    work = soft_work(scene.screen, scene.canvas, softness.sigma, softness.cutoff, "exponential")
    rgb, transparency = _composite(settings, floats, others, nearest_crossing(scene), work, softness.sigma)
    return rgb, 1.0 - transparency


class _Settings(NamedTuple):
    """Static half of the arguments."""

    canvas: Canvas
    cutoff: float
    layers: int
    structure: Structure


class _Peeled(NamedTuple):
    """Where peeling stands: layers so far, whether there may be more, and the last layer's depth and face, flat."""

    count: jax.Array
    more: jax.Array
    front: tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _composite(settings: _Settings, floats, others, crossing, work, sigma):
    """rgb and transparency."""
    return _composite_forward(settings, floats, others, crossing, work, sigma)[0]


def _composite_forward(settings: _Settings, floats, others, crossing, work, sigma):
    scene = join_floats(settings.structure, floats, others)
    start, peel = _peeling(settings, scene, crossing, work, sigma)

    def body(carry):
        peeled, rgb, transparency = carry
        front, face_id = peel(peeled.front)
        alpha, colour = _layer(scene, face_id, sigma)
        rgb = rgb + (transparency * alpha)[..., None] * colour
        transparency = transparency * (1.0 - alpha)
        more = jnp.any((face_id >= 0) & (transparency > _OPAQUE))
        return _Peeled(peeled.count + 1, more, front), rgb, transparency

    def proceed(carry):
        return carry[0].more & (carry[0].count < settings.layers)

    clear = jnp.ones(crossing.shape, scene.screen.corners.dtype) + 0 * crossing
    rgb = jnp.broadcast_to(0 * clear[..., None], (*clear.shape, 3))
    peeled, rgb, transparency = jax.lax.while_loop(proceed, body, (start, rgb, clear))
    rgb = rgb + transparency[..., None] * scene.backdrop
    return (rgb, transparency), (floats, others, crossing, work, sigma, rgb, transparency, peeled.count)


def _composite_backward(settings: _Settings, saved, cotangent):
    floats, others, crossing, work, sigma, rgb, transparency, count = saved
    to_rgb, to_transparency = cotangent

    def rebuild(floats):
        return join_floats(settings.structure, floats, others)

    start, peel = _peeling(settings, rebuild(floats), crossing, work, sigma)
    # What a pixel's value, weighted with its cotangent, is made of: all layers, then the backdrop.
    whole = jnp.sum(to_rgb * rgb, axis=-1) + to_transparency * transparency

    def body(carry):
        peeled, clear, rest, gradient = carry
        front, face_id = peel(peeled.front)
        (alpha, colour), pull = jax.vjp(lambda floats: _layer(rebuild(floats), face_id, sigma), floats)
        value = jnp.sum(to_rgb * colour, axis=-1)
        rest = rest - clear * alpha * value
        # d(all behind) / d(alpha) = -all behind / (1 - alpha); inside, alpha is 1 and does not move.
        soft = alpha < 1.0
        to_alpha = clear * value - jnp.where(soft, rest / jnp.where(soft, 1.0 - alpha, 1.0), 0.0)
        (update,) = pull((to_alpha, (clear * alpha)[..., None] * to_rgb))
        peeled = _Peeled(peeled.count + 1, peeled.more, front)
        return peeled, clear * (1.0 - alpha), rest, jax.tree.map(jnp.add, gradient, update)

    _, to_backdrop = jax.vjp(lambda floats: transparency[..., None] * rebuild(floats).backdrop, floats)
    # Zero times a cotangent: under `shard_map` the carry must differ between devices from the start.
    clear = jnp.ones_like(transparency) + 0 * whole
    carry = start, clear, whole, to_backdrop(to_rgb)[0]
    *_, gradient = jax.lax.while_loop(lambda carry: carry[0].count < count, body, carry)
    return gradient, None, None, None, None


_composite.defvjp(_composite_forward, _composite_backward)


def _peeling(settings: _Settings, scene: Scene, crossing, work, sigma):
    """Where to start, and a function from the last layer to the next: its depths and faces, flat, and faces of the
    image."""
    canvas, screen = settings.canvas, jax.lax.stop_gradient(scene.screen)
    table = face_table(screen)
    reach = reach_in_sigmas(settings.cutoff, "exponential") * sigma
    hard_depth = jnp.where(crossing >= 0, attach(screen, crossing, scene.image_size).depth, jnp.inf)
    hard = canvas.flatten(hard_depth), canvas.flatten(jnp.where(crossing >= 0, global_index(crossing, screen), NO_FACE))

    def depth_at(rows, x, y):
        depth = depth_of(rows, place(rows, x, y).weights)
        return jnp.where(signed_squared_distance(rows, x, y) < reach, depth, jnp.inf)

    def peel(front):
        soft = nearest_behind(canvas, work, table, depth_at, front)
        use_hard = is_behind(*hard, *front) & is_behind(*soft, *hard)
        layer = tuple(jnp.where(use_hard, a, b) for a, b in zip(hard, soft))
        return layer, within_image(layer[1], canvas, screen)

    front = before_all(canvas, table)
    count = jnp.zeros((), jnp.int32) + 0 * front[1][0]
    return _Peeled(count, count == 0, front), peel


def _layer(scene: Scene, face_id: jax.Array, sigma) -> tuple[jax.Array, jax.Array]:
    """Opacity and colour of one face for each pixel; opacity 0 where there is none."""
    screen, covered = scene.screen, face_id >= 0
    index = global_index(face_id, screen)
    soft = screen.soft[index]
    rows = jnp.moveaxis(face_table(screen)[index], -1, 0)
    x, y = pixel_grid(scene.image_size, rows.dtype, face_id.ndim)
    distance = signed_squared_distance(rows, x, y)
    alpha = jnp.where(soft, jnp.exp(-jnp.maximum(distance, 0.0) / sigma), 1.0)
    hard = attach(screen, jnp.where(soft, -1, face_id), scene.image_size)
    barycentric = jnp.where(soft[..., None], jnp.stack(place(rows, x, y).weights, axis=-1), hard.barycentric)
    colour = surface_colour(scene, Fragments(face_id, barycentric, hard.depth))
    return jnp.where(covered, alpha, 0.0), jnp.where(covered[..., None], colour, 0.0)
