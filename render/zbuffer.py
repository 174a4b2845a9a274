"""The z-buffer: the nearest faces of each pixel, found by walking the work list; no gradients.

Depths are compared rounded (`comparable_depth`) and faces of equal depth are in the order of their index, so that the
order is total: every layer has one face, and no face is lost between two.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Int

from render import worklist
from render.arrays import Array
from render.fragments import CORNER_DEPTH, corner_table, edge_functions, is_solid
from render.screen import ScreenFaces, hard_box
from render.worklist import Canvas, Pairs, Pixel

# Face of the batch where there is none: higher than every face, so that the lowest wins.
NO_FACE = jnp.iinfo(jnp.int32).max
# Of depths that are compared: integers of the same length, and the units in the last place that they are multiples of.
_COMPARABLE = {"float32": (jnp.int32, 8), "float64": (jnp.int64, 4096)}

EdgeRule = Literal["inclusive", "strict"]


def nearest_faces(
    screen: ScreenFaces,
    visible: jax.Array,
    image_size: tuple[int, int],
    batch: int,
    edge_rule: EdgeRule = "inclusive",
) -> Int[Array, "b h w"]:
    """Nearest face of each pixel, -1 where there is none; no gradients.

    Args:
        screen: faces of the whole batch.
        visible: `[b * f]`, faces to look at.
        image_size: height and width in pixels.
        batch: images.
        edge_rule: see `render.rasterize`.

    Returns:
        Face index within its image.
    """
    canvas, work, table = _prepare(screen, visible, image_size, batch)
    return _within_image(_nearest_behind(canvas, work, table, edge_rule)[1], canvas, screen)


def nearest_crossing(screen: ScreenFaces, image_size: tuple[int, int], batch: int) -> Int[Array, "b h w"]:
    """The nearest of the faces that pass through the plane of the camera, -1 for none; no gradients.

    They have no soft border: where a pixel is inside they are opaque, and elsewhere they are not.
    """
    screen = jax.lax.stop_gradient(screen)

    def none() -> jax.Array:
        # Made from an argument: under `shard_map` both branches must differ between devices.
        return jnp.full((batch, *image_size), -1, jnp.int32) + 0 * screen.crossing[0]

    def some() -> jax.Array:
        return nearest_faces(screen, screen.crossing, image_size, batch)

    return jax.lax.cond(jnp.any(screen.crossing), some, none)


def peel_faces(
    screen: ScreenFaces,
    visible: jax.Array,
    image_size: tuple[int, int],
    batch: int,
    layers: int,
    edge_rule: EdgeRule = "inclusive",
) -> Int[Array, "b k h w"]:
    """The `layers` nearest faces of each pixel in the order of depth, then index; arguments as in `nearest_faces`."""
    canvas, work, table = _prepare(screen, visible, image_size, batch)

    def layer(front, _):
        # One compiled body for all layers, so that a depth has the same bits in each of them.
        front = _nearest_behind(canvas, work, table, edge_rule, front)
        return front, _within_image(front[1], canvas, screen)

    return jnp.moveaxis(jax.lax.scan(layer, _before_all(canvas, table), length=layers)[1], 0, 1)


def comparable_depth(depth: jax.Array) -> jax.Array:
    """Depths to compare exactly, rounded to the nearest multiple of a few units in the last place.

    Depths of faces in one plane differ by rounding. To call them equal within a tolerance would be no order: a may
    equal b and b equal c where a and c differ, and then a pixel that meets them one by one loses some of them. Rounded
    first, they are numbers, of which most are equal and the others merely different. Faces nearer to each other than
    that (in float32 a millionth of their depth) are in the order of their index, whichever is in front; the picture and
    its gradients are then those of that order, which may not be those that double precision gives.
    """
    bits, least = _COMPARABLE[depth.dtype.name]
    rounded = (jax.lax.bitcast_convert_type(depth, bits) + least // 2) & -least
    return jnp.where(jnp.isfinite(depth), jax.lax.bitcast_convert_type(rounded, depth.dtype), depth)


def is_behind(depth: jax.Array, face: jax.Array, front_depth: jax.Array, front_face: jax.Array) -> jax.Array:
    """Whether a face comes after a layer, in the order of `comparable_depth`, then index."""
    return (depth > front_depth) | ((depth == front_depth) & (face > front_face))


def sort_corners(screen: ScreenFaces) -> ScreenFaces:
    """Faces with their corners in an order that does not depend on where they start or on their winding, so that faces
    with the same corners have depths of the same bits."""
    split = screen.corners.reshape(-1, 3, 2), screen.inverse_w[..., None], screen.depth[..., None]
    columns = jnp.concatenate(split, axis=-1)
    corners = [columns[:, i] for i in range(3)]
    for i, j in ((0, 1), (1, 2), (0, 1)):
        (a, b), swap = (corners[i], corners[j]), jnp.zeros(columns.shape[:1], bool)
        for column in reversed(range(columns.shape[2])):
            swap = (a[:, column] > b[:, column]) | ((a[:, column] == b[:, column]) & swap)
        corners[i], corners[j] = jnp.where(swap[:, None], b, a), jnp.where(swap[:, None], a, b)
    columns = jnp.stack(corners, axis=1)
    return screen._replace(corners=columns[..., :2].reshape(-1, 6), inverse_w=columns[..., 2], depth=columns[..., 3])


def _prepare(screen: ScreenFaces, visible, image_size, batch) -> tuple[Canvas, worklist.WorkList, jax.Array]:
    canvas = worklist.make_canvas(batch, image_size)
    low, high = jax.lax.stop_gradient(hard_box(screen, image_size))
    table = jax.lax.stop_gradient(corner_table(sort_corners(screen)))
    return canvas, worklist.build(low, high, visible, canvas), table


def _before_all(canvas: Canvas, table: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The layer in front of the first: depth and face, flat."""
    # Made from an argument, so that it differs between devices under `shard_map`.
    zero = jnp.zeros(canvas.size, table.dtype) + 0 * jnp.sum(table[:1, 0])
    return zero + jnp.finfo(table.dtype).min, (zero - 1).astype(jnp.int32)


def _within_image(face: jax.Array, canvas: Canvas, screen: ScreenFaces) -> Int[Array, "b h w"]:
    """Flat faces of the batch to faces of an image, -1 for none."""
    face = canvas.unflatten(face)
    first = jnp.arange(canvas.batch, dtype=jnp.int32) * (screen.soft.shape[0] // max(canvas.batch, 1))
    return jnp.where(face == NO_FACE, -1, face - first[:, None, None])


def _nearest_behind(
    canvas: Canvas,
    work: worklist.WorkList,
    table: jax.Array,
    edge_rule: EdgeRule,
    front: tuple[jax.Array, jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The nearest face of each pixel among those that come after a layer in the order of depth, then index.

    Args:
        canvas: layout of the images.
        work: windows of the faces.
        table: `corner_table`.
        edge_rule: see `render.rasterize`.
        front: depth and face of that layer, flat; None to look at all faces.

    Returns:
        Depth (infinite: none) and face of the batch (NO_FACE: none), flat.
    """

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, carry):
            nearest, face_id = carry
            # Once: a compiler that computed a depth twice might not find it equal to itself.
            depth = worklist.once(pairs.face, lambda: comparable_depth(_depth_at(edge_rule, rows, pixel.x, pixel.y)))
            if front is not None:
                behind = is_behind(depth, pairs.face, *(worklist.take(image, pixel) for image in front))
                depth = jnp.where(behind, depth, jnp.inf)
            # Read before the image is written, and needed to write it: XLA would keep the old image for a later look
            # by copying all of it, for every pixel of a window.
            depth, before = worklist.once(pairs.face, lambda: (depth, worklist.take(nearest, pixel)))
            nearest = nearest.at[pixel.index].min(jnp.minimum(depth, before), mode="promise_in_bounds")
            after = worklist.take(nearest, pixel)
            # A pixel that came nearer forgets its face; then the lowest face at the new depth takes it.
            face_id = face_id.at[pixel.index].max(jnp.where(after < before, NO_FACE, -1), mode="promise_in_bounds")
            winner = jnp.where((depth == after) & (depth < jnp.inf), pairs.face, NO_FACE)
            return nearest, face_id.at[pixel.index].min(winner, mode="promise_in_bounds")

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    start = jnp.full(canvas.size, jnp.inf, table.dtype), jnp.full(canvas.size, NO_FACE, jnp.int32)
    return worklist.walk(work, canvas, step, start)


def _depth_at(edge_rule: EdgeRule, corners: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Depth where a face covers a pixel, infinite elsewhere; arrays over pairs."""
    areas, edges = edge_functions(corners, x, y)
    area = areas[0] + areas[1] + areas[2]
    total = edges[0] + edges[1] + edges[2]
    low = jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2])
    high = jnp.maximum(jnp.maximum(edges[0], edges[1]), edges[2])
    solid = is_solid(total)
    if edge_rule == "strict":
        inside = ((low > 0) & (area > 0)) | ((high < 0) & (area < 0))
    else:
        inside = ((low >= 0) & (area > 0)) | ((high <= 0) & (area < 0))
    seen = inside & solid
    depth = sum(edge * corners[CORNER_DEPTH + i] for i, edge in enumerate(edges))
    return jnp.where(seen, depth / jnp.where(seen, total, 1.0), jnp.inf)
