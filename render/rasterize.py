"""Hard rasterization: the nearest faces of each pixel, with perspective-correct barycentrics."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from render import worklist
from render.arrays import Array, Backend, check_backend, check_cull_backfaces, check_layers, static_size, to_float
from render.distance import doubled_areas, relative_corners
from render.screen import ScreenFaces, check_scene, hard_box, to_screen
from render.worklist import Canvas, Pairs, Pixel, centre

# Face of the batch where there is none: higher than every face, so that the lowest wins.
NO_FACE = jnp.iinfo(jnp.int32).max
# Of depths that are compared: integers of the same length, and the units in the last place that they are multiples of.
_COMPARABLE = {"float32": (jnp.int32, 8), "float64": (jnp.int64, 4096)}

# Where the parts of a row of `_table` begin after the corners.
_INVERSE_W, _DEPTH = 6, 9

EdgeRule = Literal["inclusive", "strict"]


class Fragments(NamedTuple):
    """What each pixel sees. With `layers=k` every array has an axis k after the batch, nearest first.

    Attributes:
        face_id: index of the face within its image, -1 where there is none.
        barycentric: perspective-correct weights of the three corners; zero where there is no face.
        depth: view depth, zero where there is no face.
    """

    face_id: Int[Array, "b *k h w"]
    barycentric: Float[Array, "b *k h w 3"]
    depth: Float[Array, "b *k h w"]


def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    layers: int | None = None,
    face_mask: Bool[Array, "b f"] | None = None,
    vertex_depth: Float[Array, "b v"] | None = None,
    edge_rule: EdgeRule = "inclusive",
    cull_backfaces: bool = False,
    backend: Backend = "xla",
) -> Fragments:
    """Z-buffer by edge functions, without clipping.

    With corners on the screen, also those behind the camera, and a pixel centre moved to the origin,
    `a_i = x_j y_k - x_k y_j` for (i, j, k) cyclic, and `e_i = a_i / w_i`. The pixel sees the face where all
    `e_i a >= 0` with `a = sum_i a_i != 0`; barycentrics are `e_i / sum e` and the depth is their mean of the
    depths of the corners, for perspective cameras `1 / interpolated(1 / w)`. This stays right for faces that
    pass through the plane of the camera, of which only the part in front is seen. There is no near and no far
    plane. Two faces that meet at an edge have opposite `a_i` there, bit for bit: a pixel centre between them is
    in one of them at least ("inclusive"), in one at most ("strict"). Where depths are equal the face of the
    lower index comes first. Barycentrics and depth carry gradients to the vertices, the choice of the face
    does not.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        layers: peel this many depths, every face of a pixel once; None: the nearest, without an axis for
            layers.
        face_mask: false takes a face away.
        vertex_depth: view depth of the vertices. By default w; in images whose w is 1 throughout (weak
            perspective) clip z, which orders faces the same way but is no distance.
        edge_rule: whether a pixel centre exactly on an edge belongs to the face ("inclusive") or not ("strict").
        cull_backfaces: only faces that are counter-clockwise in the image are seen.
        backend: "xla", or "nvdiffrast" on CUDA (`render.backend_nvdiffrast`: one layer, its own edge rule, no culling).

    Returns:
        The fragments.

    Raises:
        ValueError: wrong shape, empty image, layers < 1, unknown edge rule or backend, face index out of range, or
            what the backend cannot do.
        RuntimeError: something that the backend needs is not installed; the message says what.

    Source: Olano and Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, Graphics Hardware
    1997; Everitt, Interactive Order-Independent Transparency, 2001, for peeling.
    """
    vertices_clip = to_float("vertices_clip", vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    if edge_rule not in ("inclusive", "strict"):
        raise ValueError(f'edge_rule must be "inclusive" or "strict", got {edge_rule!r}')
    check_layers(layers)
    check_cull_backfaces(cull_backfaces)
    if vertex_depth is not None:
        vertex_depth = to_float("vertex_depth", vertex_depth)
        if vertex_depth.shape != vertices_clip.shape[:2]:
            raise ValueError(f"vertex_depth must have shape {vertices_clip.shape[:2]}, got {vertex_depth.shape}")
    if check_backend(backend) == "nvdiffrast":
        from render import backend_nvdiffrast  # It imports this module.

        if layers is not None or edge_rule != "inclusive" or cull_backfaces:
            raise ValueError('backend="nvdiffrast" has no layers, edge_rule or cull_backfaces; use backend="xla"')
        return backend_nvdiffrast.rasterize(
            vertices_clip, faces, image_size, face_mask=face_mask, vertex_depth=vertex_depth
        )
    if vertices_clip.shape[0] * faces.shape[-2] == 0:
        return no_fragments(vertices_clip.shape[0], image_size, vertices_clip.dtype, layers)
    layers = None if layers is None else int(layers)
    return _rasterize(
        vertices_clip, faces, face_mask, vertex_depth, static_size(image_size), layers, edge_rule, cull_backfaces
    )


# Compiled as a whole: outside of the caller's own `jax.jit`, a hundred small programs would be, one for each operation.
@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _rasterize(vertices_clip, faces, face_mask, vertex_depth, image_size, layers, edge_rule, cull_backfaces):
    screen = to_screen(vertices_clip, faces, image_size, face_mask, vertex_depth, cull_backfaces)
    batch, visible = vertices_clip.shape[0], screen.soft | screen.crossing
    if layers is None:
        face_id = nearest_faces(screen, visible, image_size, batch, edge_rule)
    else:
        face_id = peel_faces(screen, visible, image_size, batch, layers, edge_rule)
    return attach(screen, face_id, pixel_grid(image_size, screen.corners.dtype, face_id.ndim))


def check_fragments(fragments: Fragments) -> None:
    """Raises a ValueError when something is no result of `rasterize`."""
    if not isinstance(fragments, Fragments):
        raise ValueError(f"fragments must be Fragments as from rasterize, got {type(fragments).__name__}")
    shape = np.shape(fragments.face_id)
    for name, wanted in (("barycentric", (*shape, 3)), ("depth", shape)):
        found = np.shape(getattr(fragments, name))
        if len(shape) < 3 or found != wanted:
            raise ValueError(f"fragments must have {name} of shape {wanted} beside face_id {shape}, got {found}")
    if not jnp.issubdtype(fragments.face_id.dtype, jnp.integer):
        raise ValueError(f"fragments must have face_id of integers, got {fragments.face_id.dtype}")


@jax.checkpoint
def attach(screen: ScreenFaces, face_id: Int[Array, "b *k h w"], pixels: tuple[jax.Array, jax.Array]) -> Fragments:
    """Barycentrics and depth of the faces that pixels see; the backward pass computes them anew.

    Args:
        screen: faces of the whole batch.
        face_id: index within the image, -1 for none.
        pixels: x and y of the pixel centres, see `pixel_grid`.

    Returns:
        The fragments, differentiable in the faces.
    """
    covered = face_id >= 0
    columns = _columns_at(_table(screen), global_index(face_id, screen))
    corners = [jnp.where(covered, column, 0.0) for column in columns]
    edges = [area * corners[_INVERSE_W + i] for i, area in enumerate(doubled_areas(relative_corners(corners, *pixels)))]
    total = edges[0] + edges[1] + edges[2]
    solid = is_solid(total)
    # Not a division: its derivative squares a sum that may be tiny before it multiplies with what is tiny too.
    inverse = jnp.where(solid, 1.0 / jnp.where(solid, total, 1.0), 0.0)
    barycentric = jnp.stack(edges, axis=-1) * inverse[..., None]
    depth = sum(barycentric[..., i] * corners[_DEPTH + i] for i in range(3))
    return Fragments(face_id, barycentric, depth)


@jax.custom_jvp
def _columns_at(table: jax.Array, index: jax.Array) -> list[jax.Array]:
    """Columns of a table `[m, c]` at rows of any shape.

    XLA computes on them as it gathers and stores none of them, as it would an array of rows. The gradient is added in
    rows nevertheless: columns of gradients would cost a table each.
    """
    return [table[:, column].at[index].get(mode="promise_in_bounds") for column in range(table.shape[1])]


@_columns_at.defjvp
def _columns_tangent(primals, tangents):
    rows = tangents[0].at[primals[1]].get(mode="promise_in_bounds")
    return _columns_at(*primals), [rows[..., column] for column in range(rows.shape[-1])]


def no_fragments(batch: int, image_size: tuple[int, int], dtype, layers: int | None = None) -> Fragments:
    """What pixels see of meshes without faces."""
    shape = (batch, *(() if layers is None else (layers,)), *image_size)
    return Fragments(jnp.full(shape, -1, jnp.int32), jnp.zeros((*shape, 3), dtype), jnp.zeros(shape, dtype))


def global_index(face_id: jax.Array, screen: ScreenFaces) -> jax.Array:
    """Index into the faces of the whole batch; where there is no face, that of the image's first."""
    batch = face_id.shape[0]
    first = jnp.arange(batch, dtype=jnp.int32) * (screen.soft.shape[0] // max(batch, 1))
    return jnp.maximum(face_id, 0) + first.reshape(batch, *(1,) * (face_id.ndim - 1))


def pixel_grid(image_size: tuple[int, int], dtype, axes: int) -> tuple[jax.Array, jax.Array]:
    """x `[..., 1, w]` and y `[..., h, 1]` of pixel centres on the screen, arrays of that many axes."""
    x, y = (jnp.arange(n, dtype=dtype) - middle for n, middle in zip(reversed(image_size), centre(image_size)))
    return x.reshape(*(1,) * (axes - 1), -1), y.reshape(*(1,) * (axes - 2), -1, 1)


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
        edge_rule: see `rasterize`.

    Returns:
        Face index within its image.
    """
    canvas, work, table = _prepare(screen, visible, image_size, batch)
    depth_at = functools.partial(_depth_at, edge_rule)
    return within_image(nearest_behind(canvas, work, table, depth_at)[1], canvas, screen)


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
    depth_at = functools.partial(_depth_at, edge_rule)

    def layer(front, _):
        # One compiled body for all layers, so that a depth has the same bits in each of them.
        front = nearest_behind(canvas, work, table, depth_at, front)
        return front, within_image(front[1], canvas, screen)

    return jnp.moveaxis(jax.lax.scan(layer, before_all(canvas, table), length=layers)[1], 0, 1)


def _prepare(screen: ScreenFaces, visible, image_size, batch) -> tuple[Canvas, worklist.WorkList, jax.Array]:
    canvas = worklist.make_canvas(batch, image_size)
    low, high = jax.lax.stop_gradient(hard_box(screen, image_size))
    table = jax.lax.stop_gradient(_table(sort_corners(screen)))
    return canvas, worklist.build(low, high, visible, canvas), table


def before_all(canvas: Canvas, table: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The layer in front of the first: depth and face, flat."""
    # Made from an argument, so that it differs between devices under `shard_map`.
    zero = jnp.zeros(canvas.size, table.dtype) + 0 * jnp.sum(table[:1, 0])
    return zero + jnp.finfo(table.dtype).min, (zero - 1).astype(jnp.int32)


def within_image(face: jax.Array, canvas: Canvas, screen: ScreenFaces) -> Int[Array, "b h w"]:
    """Flat faces of the batch to faces of an image, -1 for none."""
    face = canvas.unflatten(face)
    first = jnp.arange(canvas.batch, dtype=jnp.int32) * (screen.soft.shape[0] // max(canvas.batch, 1))
    return jnp.where(face == NO_FACE, -1, face - first[:, None, None])


def nearest_behind(
    canvas: Canvas,
    work: worklist.WorkList,
    table: jax.Array,
    depth_at: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    front: tuple[jax.Array, jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The nearest face of each pixel among those that come after a layer in the order of depth, then index.

    Args:
        canvas: layout of the images.
        work: windows of the faces.
        table: `[m, columns]` of the faces.
        depth_at: columns of the table and pixel centres x, y to depths, infinite where a pixel does not see a face.
        front: depth and face of that layer, flat; None to look at all faces.

    Returns:
        Depth (infinite: none) and face of the batch (NO_FACE: none), flat.
    """

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, carry):
            nearest, face_id = carry
            # Once: a compiler that computed a depth twice might not find it equal to itself.
            depth = worklist.once(pairs.face, lambda: comparable_depth(depth_at(rows, pixel.x, pixel.y)))
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


def is_behind(depth: jax.Array, face: jax.Array, front_depth: jax.Array, front_face: jax.Array) -> jax.Array:
    """Whether a face comes after a layer, in the order of `comparable_depth`, then index."""
    return (depth > front_depth) | ((depth == front_depth) & (face > front_face))


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


def _table(screen: ScreenFaces) -> jax.Array:
    """`[m, 12]`: corners, 1 / w, depth."""
    return jnp.concatenate([screen.corners, screen.inverse_w, screen.depth], axis=-1)


def is_solid(total: jax.Array) -> jax.Array:
    """Whether a sum of edge functions is more than noise: the squared rounding error of coordinates of one pixel."""
    return jnp.abs(total) > jnp.finfo(total.dtype).eps ** 2


def _depth_at(edge_rule: EdgeRule, corners: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Depth where a face covers a pixel, infinite elsewhere; arrays over pairs."""
    areas = doubled_areas(relative_corners(corners, x, y))
    edges = [area * corners[_INVERSE_W + i] for i, area in enumerate(areas)]
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
    depth = sum(edge * corners[_DEPTH + i] for i, edge in enumerate(edges))
    return jnp.where(seen, depth / jnp.where(seen, total, 1.0), jnp.inf)
