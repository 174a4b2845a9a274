"""Hard colours whose silhouettes are antialiased by the analytic position of edges between pixel centres.

Take two neighbouring pixels, side by side or one above the other, that see different faces, and call a the one whose
face is nearer. If a silhouette edge of that face crosses the line from the centre of a to the centre of the other
pixel, o, at fraction s of the way, and is closer to perpendicular than to parallel to that line, then the coverage of
the two pixels changes linearly with s:

    s < 1/2:  colour_a += (1/2 - s) (colour_o - colour_a)        s > 1/2:  colour_o += (s - 1/2) (colour_a - colour_o)

An edge is a silhouette unless a face that has the same edge goes on beyond it: lies, in the image, on its other side.
Edges are the same if their ends are at the same places (`render.topology`), whichever vertices they name; a face that
is there twice, or any number of faces at one edge, make no silhouette where there is none.

The mask of the mesh is treated as a fourth colour and gives alpha. Where nothing is crossed the picture is the hard
one, so colours inside are sharp, and gradients of the shape come from what is seen of its silhouettes alone.

Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, SIGGRAPH Asia 2020, section 3.5.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array, positive_part
from render.fragments import attach, global_index, pixel_grid
from render.scene import Scene, Softness, paint
from render.screen import ScreenFaces
from render.topology import edges_of_faces


def blend(
    scene: Scene, softness: Softness, face_id: Int[Array, "b h w"]
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    """Colours and coverage, see the top.

    Args:
        scene: the batch.
        softness: not needed.
        face_id: nearest faces.

    Returns:
        rgb and alpha.
    """
    edges, forward = edges_of_faces(scene.mesh.vertices, scene.mesh.faces)
    image = _draw(scene, face_id, _silhouette_edges(jax.lax.stop_gradient(scene.screen), edges, forward))
    return image[..., :3], image[..., 3]


@jax.checkpoint
def _draw(scene: Scene, face_id: jax.Array, silhouette: jax.Array) -> jax.Array:
    """rgb and mask, `[b, h, w, 4]`; the backward pass computes everything but the faces anew."""
    colour = paint(scene, face_id)
    image = jnp.concatenate([colour, (face_id >= 0)[..., None].astype(colour.dtype)], axis=-1)
    depth = attach(jax.lax.stop_gradient(scene.screen), face_id, scene.pixels).depth
    depth = jnp.where(face_id >= 0, depth, jnp.inf)
    change = sum(_across(axis, image, face_id, depth, scene, silhouette) for axis in (2, 1))
    return image + change


def _across(axis: int, image, face_id, depth, scene: Scene, silhouette) -> jax.Array:
    """What antialiasing adds to the image by pairs of pixels along an axis: 2 side by side, 1 one above the other."""
    count = face_id.shape[axis]
    first, second = jnp.arange(count - 1), jnp.arange(1, count)
    faces, depths, colours = ([jnp.take(x, part, axis) for part in (first, second)] for x in (face_id, depth, image))
    first_nearer = depths[0] <= depths[1]
    face = jnp.where(first_nearer, *faces)
    x, y = (
        jnp.broadcast_to(centre, face_id.shape) for centre in pixel_grid(scene.image_size, image.dtype, face_id.ndim)
    )
    centre = [jnp.where(first_nearer, jnp.take(c, first, axis), jnp.take(c, second, axis)) for c in (x, y)]
    fraction = _crossing_fraction(axis, face, centre, jnp.where(first_nearer, 1.0, -1.0), scene, silhouette)
    fraction = jnp.where(faces[0] != faces[1], fraction, 0.5)
    # Towards the nearer pixel's colour, for the other one, or the other way round.
    towards = jnp.where(first_nearer, 1.0, -1.0)[..., None] * (colours[0] - colours[1])
    offset = (fraction - 0.5)[..., None]
    # a - o is `towards`; a receives it below one half (offset < 0), o above.
    on_nearer, on_other = -positive_part(-offset) * towards, positive_part(offset) * towards
    nearer = first_nearer[..., None]
    on_first, on_second = jnp.where(nearer, on_nearer, on_other), jnp.where(nearer, on_other, on_nearer)
    before, after = [(0, 0)] * 4, [(0, 0)] * 4
    before[axis], after[axis] = (1, 0), (0, 1)
    return jnp.pad(on_first, after) + jnp.pad(on_second, before)


def _crossing_fraction(axis: int, face, centre, direction, scene: Scene, silhouette) -> jax.Array:
    """Fraction of the way to the other pixel at which a silhouette edge of the face is crossed; 1/2 where none is."""
    index = global_index(face, scene.screen)
    corners = scene.screen.corners[index].reshape(*face.shape, 3, 2)
    usable = (silhouette & scene.screen.soft[:, None])[index] & (face >= 0)[..., None]
    along = corners[..., 2 - axis] - centre[2 - axis][..., None]
    across = corners[..., axis - 1] - centre[axis - 1][..., None]
    fraction = jnp.full(face.shape, 0.5, corners.dtype)
    for i in range(3):
        j = (i + 1) % 3
        rise, run = across[..., j] - across[..., i], along[..., j] - along[..., i]
        steep = jnp.abs(rise) >= jnp.abs(run)
        # A half-open rule: one of two edges that meet on the line is crossed.
        crossed = steep & ((across[..., i] > 0) != (across[..., j] > 0)) & usable[..., i]
        slope = run / jnp.where(crossed, rise, 1.0)
        place = direction * (along[..., i] - across[..., i] * slope)
        fraction = jnp.where(crossed & (place >= 0) & (place <= 1), place, fraction)
    return fraction


def _silhouette_edges(screen: ScreenFaces, edges: jax.Array, forward: jax.Array) -> jax.Array:
    """`[m, 3]` whether no face goes on beyond the edge from corner i to i + 1.

    Args:
        screen: the faces.
        edges: `[b, f, 3]` number of each edge within its image, see `edges_of_faces`.
        forward: `[b, f, 3]` whether the face walks it in its direction.
    """
    batch, num_faces, _ = edges.shape
    winding = _winding(screen)[:, None]
    left = forward.reshape(-1, 3) == (winding > 0)
    first = 3 * num_faces * jnp.arange(batch, dtype=jnp.int32)[:, None, None]
    # Twice the number of the edge, and one more for what is on the left of it.
    edge = 2 * (edges + first).reshape(-1, 3)
    taken = jnp.zeros(2 * edge.size, jnp.int32).at[edge + left].max((winding != 0).astype(jnp.int32))
    return taken[edge + ~left] == 0


def _winding(screen: ScreenFaces) -> jax.Array:
    """`[m]`: 1 and -1 for the two windings in the image, 0 for faces that are edge-on or not there."""
    x0, y0, x1, y1, x2, y2 = screen.corners.T
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    # A corner behind the camera is on the screen where its mirror image is, and turns the winding over.
    return jnp.where(screen.soft | screen.crossing, jnp.sign(area) * jnp.sign(jnp.prod(screen.inverse_w, axis=1)), 0.0)
