"""Soft colours: the depth-weighted mean of SoftRas over all faces near a pixel, with its analytic gradient.

For pixel and face, with p the sigmoid coverage of `render.coverage` and depth z interpolated perspective-correctly at
barycentrics clamped to the face:

    w_f = p_f exp((n_f - m) / gamma),  n_f = (far - z_f) / (far - near),  m = max(n_b, max_f n_f)
    rgb = (sum_f w_f colour_f + w_b backdrop) / (sum_f w_f + w_b),  w_b = exp((n_b - m) / gamma)

The backdrop is at n_b = 1e-3 as in SoftRas, just in front of the far plane, where it would hide what is behind. So it
gives way to what is farther: n_b = min(1e-3, 2 n_min - 0.02) with n_min that of the farthest corner of the image.

The forward pass walks the work list twice, once for m and the coverage, once for the sums. It keeps three numbers for
each pixel besides the picture: 1 - coverage, m and the sum of weights. The backward pass walks the list once more and
computes everything else anew.

Source: Liu et al., Soft Rasterizer, ICCV 2019, equations 3 to 8.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render import worklist
from render.arrays import Array, Structure, join_floats, positive_part, split_floats
from render.clamped import DEPTH, depth_of, face_table, parts_gradient, place, place_gradient
from render.coverage import reach_in_sigmas, soft_work
from render.distance import border_position, distance_at, distance_gradient, probability, signed_squared_distance
from render.fragments import attach
from render.linear import linear_map, without_second_derivatives
from render.scene import Scene, Softness, surface_colour, surface_texture
from render.texture import coefficient_gradient, colour_at, face_coefficients, field_gradient, texel_side
from render.worklist import Canvas, Pairs, Pixel
from render.zbuffer import nearest_crossing

# The background of SoftRas, as a normalised depth. From faces that come as near to it as _GIVES_WAY it moves away twice
# as fast as they come, so that soon it is far behind them.
_BACKGROUND, _GIVES_WAY = 1e-3, 1.05e-2


def blend(
    scene: Scene, softness: Softness, face_id: Int[Array, "b h w"]
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    """Colours and coverage, see the top.

    Args:
        scene: the batch.
        softness: how soft; the falloff of the colours is a sigmoid always.
        face_id: not needed, everything near a pixel counts.

    Returns:
        rgb and alpha.

    Raises:
        ValueError: a texture without basis functions.
    """
    texture = surface_texture(scene)
    floats, others, structure = split_floats(scene)
    settings = _Settings(scene.canvas, softness.cutoff, texel_side(texture), structure)
    screen = scene.screen
    work = soft_work(screen, settings.canvas, softness.sigma, softness.cutoff, "sigmoid")
    near, far = (jnp.asarray(depth, screen.depth.dtype) for depth in (scene.near, scene.far))
    numbers = _Numbers(softness.sigma, softness.gamma, near, far)
    faces = _Faces(face_table(screen), face_coefficients(texture, scene.mesh.faces))
    crossing = nearest_crossing(screen, scene.image_size, scene.batch)
    rgb, transparency = _blend(settings, faces, floats, others, crossing, work, numbers)
    return rgb, 1.0 - transparency


class _Settings(NamedTuple):
    """Static half of the arguments.

    Attributes:
        canvas: layout of the images.
        cutoff: smallest probability outside of a face.
        side: texels along a face, 0 for vertex colours.
        structure: of the scene.
    """

    canvas: Canvas
    cutoff: float
    side: int
    structure: Structure


class _Numbers(NamedTuple):
    """Numbers without gradients: sigma in squared pixels, gamma, and the depths where n is 1 and 0."""

    sigma: jax.Array
    gamma: jax.Array
    near: jax.Array
    far: jax.Array


class _Faces(NamedTuple):
    """What the walks read of the faces: `[m, 15]` of `face_table` and `[m, k, 3]` texture coefficients."""

    table: jax.Array
    coefficients: jax.Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _blend(settings: _Settings, faces: _Faces, floats, others, crossing, work, numbers: _Numbers):
    """rgb and 1 - coverage."""
    return _blend_and_save(settings, faces, floats, others, crossing, work, numbers)[0]


@_blend.defjvp
def _blend_jvp(settings: _Settings, primals, tangents):
    primals = without_second_derivatives(primals)
    results, saved = _blend_and_save(settings, *primals)
    rules = (functools.partial(rule, settings) for rule in (_blend_tangent, _blend_gradient))
    return results, linear_map(*rules, saved, tangents[:2], results)


def _blend_and_save(settings: _Settings, faces: _Faces, floats, others, crossing, work, numbers: _Numbers):
    canvas, table = settings.canvas, faces.table
    behind = _behind(join_floats(settings.structure, floats, others), crossing, numbers)
    transparency, nearest = _nearest_and_coverage(settings, table, work, numbers, canvas.flatten(behind.nearness))
    weight, *colour = _weighted_sums(settings, table, faces.coefficients, work, numbers, nearest)
    weight, depth = canvas.unflatten(weight), canvas.unflatten(nearest)
    rest = _rest(behind, depth, numbers)
    total = weight + rest
    colour = jnp.stack([canvas.unflatten(channel) for channel in colour], axis=-1)
    rgb = (colour + rest[..., None] * behind.rgb) / total[..., None]
    transparency = jnp.where(crossing >= 0, 0.0, canvas.unflatten(transparency))
    saved = faces, floats, others, crossing, work, numbers, rgb, transparency, depth, total
    return (rgb, transparency), saved


class _Behind(NamedTuple):
    """What the soft faces are blended with.

    Attributes:
        rgb: `[b, h, w, 3]`.
        nearness: `[b, h, w]` its normalised depth.
    """

    rgb: jax.Array
    nearness: jax.Array


def _behind(scene: Scene, crossing: jax.Array, numbers: _Numbers) -> _Behind:
    """The backdrop; where a face passes through the plane of the camera, the softmax of it, with p = 1, and the
    backdrop."""
    shape = (*crossing.shape, 3)
    # Made from an argument: under `shard_map` both branches must differ between devices.
    far_away = _background(scene, numbers)[:, None, None] + 0.0 * crossing
    backdrop = jnp.broadcast_to(scene.backdrop, shape) + 0.0 * far_away[..., None]

    def with_faces(scene: Scene, backdrop: jax.Array, far_away: jax.Array) -> _Behind:
        fragments = attach(scene.screen, crossing, scene.pixels)
        covered = crossing >= 0
        nearness = jnp.where(covered, (numbers.far - fragments.depth) / (numbers.far - numbers.near), _BACKGROUND)
        far_away = jnp.where(covered, _give_way(far_away, nearness), far_away)
        share = jnp.where(covered, jax.nn.sigmoid((nearness - far_away) / numbers.gamma), 0.0)[..., None]
        both = numbers.gamma * jnp.logaddexp(nearness / numbers.gamma, far_away / numbers.gamma)
        rgb = share * surface_colour(scene, fragments, scene.pixels) + (1.0 - share) * backdrop
        return _Behind(rgb, jnp.where(covered, both, far_away))

    def without(scene: Scene, backdrop: jax.Array, far_away: jax.Array) -> _Behind:
        return _Behind(backdrop, far_away)

    return jax.lax.cond(jnp.any(crossing >= 0), with_faces, without, scene, backdrop, far_away)


def _background(scene: Scene, numbers: _Numbers) -> jax.Array:
    """n_b of each image, `[b]`."""
    depth = jnp.where(scene.screen.soft[:, None], scene.screen.depth, -jnp.inf).reshape(scene.batch, -1)
    farthest = jnp.max(depth, axis=1)
    farthest = jnp.where(jnp.isfinite(farthest), farthest, numbers.near)
    start = jnp.full(scene.batch, _BACKGROUND, depth.dtype)
    return _give_way(start, (numbers.far - farthest) / (numbers.far - numbers.near))


def _give_way(background: jax.Array, nearness: jax.Array) -> jax.Array:
    """The normalised depth of the backdrop beside faces of another one."""
    wanted = 2.0 * (nearness - _GIVES_WAY) + _BACKGROUND
    return background - positive_part(background - wanted)


def _nearest_and_coverage(settings: _Settings, table, work, numbers: _Numbers, nearest):
    canvas, reach = settings.canvas, reach_in_sigmas(settings.cutoff)

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, carry):
            transparency, nearest = carry
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            reached = distance < reach * numbers.sigma
            clear = jnp.where(reached, probability(-distance, numbers.sigma), 1.0)
            nearness = _nearness(rows, place(rows, pixel.x, pixel.y).weights, numbers)
            nearness = jnp.where(reached, nearness, -jnp.inf)
            return (
                transparency.at[pixel.index].multiply(clear, mode="promise_in_bounds"),
                nearest.at[pixel.index].max(nearness, mode="promise_in_bounds"),
            )

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    return worklist.walk(work, canvas, step, (jnp.ones(canvas.size, table.dtype), nearest))


def _weighted_sums(settings: _Settings, table, coefficients, work, numbers: _Numbers, nearest):
    """Flat sums of weights, and of weights times red, green and blue."""
    canvas, texels = settings.canvas, coefficients.reshape(coefficients.shape[0], -1)

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)
        colours = worklist.take_rows(texels, pairs.face).reshape(-1, 3, len(pairs.face))

        def at_pixel(pixel: Pixel, carry):
            distance = signed_squared_distance(rows, pixel.x, pixel.y)
            weights = worklist.once(pairs.face, lambda: place(rows, pixel.x, pixel.y).weights)
            p, nearness = probability(distance, numbers.sigma), _nearness(rows, weights, numbers)
            before = worklist.take(nearest, pixel)
            weight = worklist.once(pairs.face, lambda: _face_weight(p, nearness, before, settings, numbers))
            colour = colour_at(settings.side, colours, weights)
            terms = (weight, *(weight * channel for channel in colour))
            return tuple(total.at[pixel.index].add(term, mode="promise_in_bounds") for total, term in zip(carry, terms))

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    start = (jnp.zeros(canvas.size, table.dtype),) * 4
    return worklist.walk(work, canvas, step, start, numbers=32 + texels.shape[1])


def _blend_tangent(settings: _Settings, saved, tangent):
    """How rgb and transparency change as faces and floats do."""
    faces, floats, others, crossing, work, numbers, rgb, transparency, nearest, total = saved
    behind, behind_moves = jax.jvp(
        lambda floats: _behind(join_floats(settings.structure, floats, others), crossing, numbers),
        (floats,), (tangent[1],),
    )  # fmt: skip
    images = jax.tree.map(settings.canvas.flatten, (nearest, total))
    sums = _moving_sums(settings, faces, tangent[0], work, numbers, *images)
    clear, weight, *colour = (settings.canvas.unflatten(part) for part in sums)
    rest = _part(_rest(behind, nearest, numbers), total)
    to_rest = rest * behind_moves.nearness / numbers.gamma
    change = jnp.stack(colour, axis=-1) + rest[..., None] * behind_moves.rgb + to_rest[..., None] * behind.rgb
    return (change - (weight + to_rest)[..., None] * rgb) / total[..., None], transparency * clear / numbers.sigma


def _moving_sums(settings: _Settings, faces: _Faces, moves: _Faces, work, numbers: _Numbers, nearest, sums):
    """Flat sums of the changes of sigma log(1 - p), weights, and weights times red, green and blue."""
    canvas, side, count = settings.canvas, settings.side, faces.table.shape[0]
    tables = [part.reshape(count, -1) for part in (*faces, *moves)]

    def step(pairs: Pairs, carry):
        rows, colours, row_moves, colour_moves = (worklist.take_rows(part, pairs.face) for part in tables)
        colours, colour_moves = (part.reshape(-1, 3, len(pairs.face)) for part in (colours, colour_moves))

        def at_pixel(pixel: Pixel, carry):
            at = pixel.x, pixel.y
            position = worklist.once(pairs.face, lambda: border_position(rows, *at))

            def geometry(rows):
                weights = place(rows, *at).weights
                return distance_at(rows, *at, position), weights, _nearness(rows, weights, numbers)

            (distance, weights, near), moved = worklist.once(
                pairs.face, lambda: jax.jvp(geometry, (rows,), (row_moves,))
            )
            to_distance, to_weights, to_near = moved
            p = probability(distance, numbers.sigma)
            to_distance = jnp.where(p > settings.cutoff, to_distance, 0.0)
            weight = _face_weight(p, near, worklist.take(nearest, pixel), settings, numbers)
            weight = _part(weight, worklist.take(sums, pixel))
            change = weight * (to_near / numbers.gamma - (1.0 - p) / numbers.sigma * to_distance)
            terms = [p * to_distance, change]
            for channel, moved in enumerate(colour_at(side, colour_moves, weights)):
                value, slopes = field_gradient(side, colours[:, channel], weights)
                moved += sum(slope * move for slope, move in zip(slopes, to_weights))
                terms.append(change * value + weight * moved)
            return tuple(total.at[pixel.index].add(term, mode="promise_in_bounds") for total, term in zip(carry, terms))

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, faces.table.dtype)

    start = (jnp.zeros(canvas.size, faces.table.dtype),) * 5
    return worklist.walk(work, canvas, step, start, numbers=64 + 2 * tables[1].shape[1])


def _blend_gradient(settings: _Settings, saved, cotangent):
    """The transpose of `_blend_tangent`."""
    faces, floats, others, crossing, work, numbers, rgb, transparency, nearest, total = saved
    to_rgb, to_transparency = cotangent
    to_colour = to_rgb / total[..., None]
    to_weight = -jnp.sum(to_colour * rgb, axis=-1)
    behind, to_scene = jax.vjp(
        lambda floats: _behind(join_floats(settings.structure, floats, others), crossing, numbers), floats
    )
    rest = _part(_rest(behind, nearest, numbers), total)
    to_rest = jnp.sum(to_colour * behind.rgb, axis=-1) + to_weight
    (scene_gradient,) = to_scene(_Behind(to_colour * rest[..., None], to_rest * rest / numbers.gamma))
    to_clear = to_transparency * transparency / numbers.sigma
    incoming = _Incoming(to_clear, nearest, total, to_weight, _channels(to_colour))
    face_gradient = _faces_gradient(settings, faces, work, numbers, jax.tree.map(settings.canvas.flatten, incoming))
    return face_gradient, scene_gradient


class _Incoming(NamedTuple):
    """Per-pixel values that the backward pass reads."""

    transparency: jax.Array
    nearest: jax.Array
    total: jax.Array
    weight: jax.Array
    colour: tuple[jax.Array, jax.Array, jax.Array]


def _faces_gradient(settings: _Settings, faces: _Faces, work, numbers: _Numbers, images: _Incoming) -> _Faces:
    table, coefficients = faces
    texels = coefficients.reshape(coefficients.shape[0], -1)

    def step(pairs: Pairs, gradients):
        rows = worklist.take_rows(table, pairs.face)
        colours = worklist.take_rows(texels, pairs.face).reshape(-1, 3, len(pairs.face))

        def at_pixel(pixel: Pixel, sums):
            incoming = jax.tree.map(lambda image: worklist.take(image, pixel), images)
            updates = _pixel_gradient(settings, pairs, (rows, colours), pixel, incoming, numbers)
            return jax.tree.map(jnp.add, sums, updates)

        shape = worklist.zeros(pairs, 12, table.dtype)
        start = shape, jnp.broadcast_to(shape[0], colours.shape)
        shape, colours = worklist.each_pixel(pairs, settings.canvas, at_pixel, start, table.dtype)
        updates = jnp.stack(shape), colours.reshape(-1, len(pairs.face))
        return tuple(worklist.add_rows(total, pairs, update) for total, update in zip(gradients, updates))

    start = jnp.zeros((table.shape[0], 12), table.dtype), jnp.zeros_like(texels)
    shape, texels = worklist.walk(work, settings.canvas, step, start, numbers=64 + 2 * texels.shape[1])
    # Nothing for the inverse lengths of edges: the nearest point of an edge is a minimum.
    shape = jnp.concatenate([shape[:, :6], jnp.zeros_like(shape[:, :3]), shape[:, 6:]], axis=1)
    return _Faces(shape, texels.reshape(coefficients.shape))


def _pixel_gradient(settings: _Settings, pairs: Pairs, faces, pixel: Pixel, incoming: _Incoming, numbers: _Numbers):
    """Gradients of one pixel: 6 corner coordinates, 3 of 1 / w, 3 depths; and coefficients `[k, 3, pairs]`."""
    once, (rows, colours), at = functools.partial(worklist.once, pairs.face), faces, (pixel.x, pixel.y)
    position, where = once(lambda: (border_position(rows, *at), place(rows, *at)))
    p = once(lambda: probability(distance_at(rows, *at, position), numbers.sigma))
    nearness = _nearness(rows, where.weights, numbers)
    weight = once(lambda: _part(_face_weight(p, nearness, incoming.nearest, settings, numbers), incoming.total))
    to_colour = tuple(weight * cotangent for cotangent in incoming.colour)
    # Channels first: then one scalar texture remains to be differentiated.
    values = once(lambda: sum(colours[:, channel] * to_colour[channel][None] for channel in range(3)))
    value, to_place = once(lambda: field_gradient(settings.side, values, where.weights))
    # The weight times its cotangent, which is its own and that of the colours it multiplies.
    pull = weight * incoming.weight + value
    to_depth = -pull / (numbers.gamma * (numbers.far - numbers.near))
    to_place = tuple(g + to_depth * rows[DEPTH + i] for i, g in enumerate(to_place))
    reached = jnp.where(p > 0.5, -1.0, jnp.where(p > settings.cutoff, 1.0, 0.0))
    to_distance = reached * (incoming.transparency * p - pull * (1.0 - p) / numbers.sigma)
    to_distance, to_parts = once(lambda: (to_distance, parts_gradient(where, to_place)))
    corners, to_inverse_w = place_gradient(rows, *at, where, to_parts)
    soft = distance_gradient(rows, *at, position, to_distance)
    to_depths = tuple(to_depth * w for w in where.weights)
    gradients = (*(a + b for a, b in zip(corners, soft)), *to_inverse_w, *to_depths)
    return gradients, coefficient_gradient(settings.side, where.weights, to_colour)


def _nearness(rows, weights, numbers: _Numbers) -> jax.Array:
    return (numbers.far - depth_of(rows, weights)) / (numbers.far - numbers.near)


def _face_weight(p, nearness, nearest, settings: _Settings, numbers: _Numbers) -> jax.Array:
    # At most zero where the face counts. e^-60 is nothing beside the weight of the nearest face, which is at least
    # the cut-off; smaller numbers would turn denormal, slow on many CPUs.
    exponent = jnp.clip((nearness - nearest) / numbers.gamma, -60.0, 0.0)
    return jnp.where(p > settings.cutoff, p * jnp.exp(exponent), 0.0)


def _rest(behind: _Behind, nearest: jax.Array, numbers: _Numbers) -> jax.Array:
    """The weight of what soft faces are blended with; at most one, for it is among what is compared for the nearest.

    Never zero: a face just at the cut-off may be reached where the nearest is sought and, by a rounding, not where
    weights are added; then nothing else is left.
    """
    return jnp.exp(jnp.clip((behind.nearness - nearest) / numbers.gamma, -60.0, 0.0))


def _part(weight: jax.Array, total: jax.Array) -> jax.Array:
    """A weight that is computed anew, not above the sum of weights that it was part of.

    Depths are interpolated anew, too, and may differ by a rounding from those that were compared: far beyond `far` that
    is many gammas, so that a weight which was e^-60 of the nearest one is one, divided by a sum that knows nothing of
    it.
    """
    return jnp.minimum(weight, total)


def _channels(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return image[..., 0], image[..., 1], image[..., 2]
