"""Hard rasterization: the nearest face of each pixel, with perspective-correct barycentrics."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render import worklist
from render.arrays import Array
from render.screen import ScreenFaces, check_scene, hard_box, to_screen
from render.worklist import Canvas, Pairs, Pixel

_NO_FACE = jnp.iinfo(jnp.int32).max


class Fragments(NamedTuple):
    """What each pixel sees.

    Attributes:
        face_id: index of the nearest face within its image, -1 where there is none.
        barycentric: perspective-correct weights of the three corners; zero where there is no face.
        depth: view depth, zero where there is no face.
    """

    face_id: Int[Array, "b h w"]
    barycentric: Float[Array, "b h w 3"]
    depth: Float[Array, "b h w"]


def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    face_mask: Bool[Array, "b f"] | None = None,
    vertex_depth: Float[Array, "b v"] | None = None,
) -> Fragments:
    """Z-buffer by homogeneous edge functions, without clipping.

    With corners (x, y, w) and a pixel centre moved to the origin, `e_i = x_j y_k - x_k y_j` for (i, j, k)
    cyclic. The pixel sees the face where all `e_i det >= 0` with `det = sum_i e_i w_i != 0`; barycentrics
    are `e_i / sum e` and the depth is their mean of the depths of the corners, for perspective cameras `1 /
    interpolated(1 / w)`. This stays right for faces that pass through the plane of the camera, of which
    only the part in front is seen. There is no near and no far plane. A pixel centre on an edge belongs to
    the face; where depths are equal the face of the lower index wins. Barycentrics and depth carry
    gradients to the vertices, the choice of the face does not.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        face_mask: false takes a face away.
        vertex_depth: view depth of the vertices. By default w; in images whose w is 1 throughout (weak
            perspective) clip z, which orders faces the same way but is no distance.

    Returns:
        The fragments.

    Raises:
        ValueError: wrong shape, empty image, face index out of range.

    Source: Olano and Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, Graphics Hardware
    1997.
    """
    vertices_clip = jnp.asarray(vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    screen = to_screen(vertices_clip, faces, image_size, face_mask, vertex_depth)
    return resolve(screen, screen.soft | screen.crossing, image_size, vertices_clip.shape[0])


def resolve(screen: ScreenFaces, visible: jax.Array, image_size: tuple[int, int], batch: int) -> Fragments:
    """The work of `rasterize` on faces that are on the screen already.

    Args:
        screen: faces of the whole batch.
        visible: `[b * f]`, faces to look at.
        image_size: height and width in pixels.
        batch: images.

    Returns:
        The fragments.
    """
    num_faces = visible.shape[0] // batch
    canvas = worklist.make_canvas(batch, num_faces, image_size)
    face = canvas.unflatten(nearest_faces(screen, visible, image_size, canvas)[0])
    covered = face >= 0
    corners = jnp.concatenate([screen.clip, screen.depth], axis=-1)
    corners = jnp.where(covered[..., None], corners[jnp.maximum(face, 0)], 0.0)
    x = jnp.arange(canvas.width, dtype=corners.dtype)[None, None, :]
    y = jnp.arange(canvas.height, dtype=corners.dtype)[None, :, None]
    edges = _edge_functions(jnp.moveaxis(corners, -1, 0), x, y)
    # Not a division: its derivative squares a sum that may be tiny before it multiplies with what is tiny too.
    inverse = 1.0 / jnp.where(covered, edges[0] + edges[1] + edges[2], 1.0)
    barycentric = jnp.stack(edges, axis=-1) * inverse[..., None]
    depth = jnp.sum(barycentric * corners[..., 9:], axis=-1)
    first_face = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * num_faces
    return Fragments(jnp.where(covered, face - first_face, -1), barycentric, depth)


def nearest_faces(
    screen: ScreenFaces, visible: jax.Array, image_size: tuple[int, int], canvas: Canvas
) -> tuple[jax.Array, jax.Array]:
    """Nearest face of each pixel and its depth, flat and without gradients.

    Args:
        screen: all faces of the batch.
        visible: `[b * f]`, faces to look at.
        image_size: height and width in pixels.
        canvas: layout of the images.

    Returns:
        Face index within the whole batch (-1: none) and depth (infinite: none).
    """
    low, high = hard_box(screen, image_size)
    table = jnp.concatenate([screen.clip, screen.depth], axis=-1)
    low, high, table = jax.lax.stop_gradient((low, high, table))
    tie = 4 * float(jnp.finfo(table.dtype).eps)

    def step(pairs: Pairs, carry):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, carry):
            nearest, face_id = carry
            depth = _depth_of_pixels(rows, pixel.x, pixel.y)
            updated = nearest.at[pixel.index].min(depth, mode="promise_in_bounds")
            after = worklist.take(updated, pixel)
            # A pixel that came nearer forgets its face; then the lowest face at the new depth takes it.
            # Equal means up to rounding: a compiler may compute `depth` twice, not to the same bit.
            forget = jnp.where(after < worklist.take(nearest, pixel), _NO_FACE, -1)
            face_id = face_id.at[pixel.index].max(forget, mode="promise_in_bounds")
            winner = jnp.where((depth <= after + tie * jnp.abs(after)) & (depth < jnp.inf), pairs.face, _NO_FACE)
            return updated, face_id.at[pixel.index].min(winner, mode="promise_in_bounds")

        return worklist.each_pixel(pairs, canvas, at_pixel, carry, table.dtype)

    work = worklist.build(low, high, visible, canvas)
    carry = jnp.full(canvas.size, jnp.inf, table.dtype), jnp.full(canvas.size, _NO_FACE, jnp.int32)
    nearest, face_id = worklist.walk(work, canvas, step, carry)
    return jnp.where(face_id == _NO_FACE, -1, face_id), nearest


def _edge_functions(clip, x, y) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Edge functions of clip rows x0 y0 w0 x1 y1 w1 x2 y2 w2 at pixel centres."""
    xs = [clip[3 * i] - x * clip[3 * i + 2] for i in range(3)]
    ys = [clip[3 * i + 1] - y * clip[3 * i + 2] for i in range(3)]
    return tuple(xs[j] * ys[k] - xs[k] * ys[j] for j, k in ((1, 2), (2, 0), (0, 1)))


def _depth_of_pixels(corners: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Depth where a face covers a pixel, infinite elsewhere; arrays over pairs."""
    edges = _edge_functions(corners, x, y)
    det = sum(edge * corners[3 * i + 2] for i, edge in enumerate(edges))
    total = edges[0] + edges[1] + edges[2]
    low = jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2])
    high = jnp.maximum(jnp.maximum(edges[0], edges[1]), edges[2])
    # Below the squared rounding error of coordinates of size 1, area is noise.
    solid = jnp.abs(total) > jnp.finfo(total.dtype).eps ** 2
    seen = (((low >= 0) & (det > 0)) | ((high <= 0) & (det < 0))) & solid
    depth = sum(edge * corners[9 + i] for i, edge in enumerate(edges))
    return jnp.where(seen, depth / jnp.where(seen, total, 1.0), jnp.inf)
