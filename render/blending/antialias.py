"""Hard colours whose silhouettes are antialiased by the analytic position of edges between pixel centres.

Take two neighbouring pixels, side by side or one above the other, that see different faces, and call a the one whose
face is nearer. If a silhouette edge of that face (nothing beyond it, or its neighbour folded back) crosses the line
from the centre of a to the centre of the other pixel, o, at fraction s of the way, and is closer to perpendicular than
to parallel to that line, then the coverage of the two pixels changes linearly with s:

    s < 1/2:  colour_a += (1/2 - s) (colour_o - colour_a)        s > 1/2:  colour_o += (s - 1/2) (colour_a - colour_o)

The mask of the mesh is treated as a fourth colour and gives alpha. Where nothing is crossed the picture is the hard
one, so colours inside are sharp, and gradients of the shape come from what is seen of its silhouettes alone.

Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, SIGGRAPH Asia 2020, section 3.5.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from render.arrays import Array, positive_part
from render.mesh import Mesh, opposite_corners
from render.rasterize import attach, global_index, pixel_grid
from render.scene import Scene, Softness, paint
from render.screen import ScreenFaces


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
    image = _draw(scene, face_id, _opposite(scene.mesh))
    return image[..., :3], image[..., 3]


@jax.checkpoint
def _draw(scene: Scene, face_id: jax.Array, opposite: jax.Array) -> jax.Array:
    """rgb and mask, `[b, h, w, 4]`; the backward pass computes everything but the faces anew."""
    colour = paint(scene, face_id)
    image = jnp.concatenate([colour, (face_id >= 0)[..., None].astype(colour.dtype)], axis=-1)
    depth = attach(jax.lax.stop_gradient(scene.screen), face_id, scene.pixels).depth
    depth = jnp.where(face_id >= 0, depth, jnp.inf)
    silhouette = _silhouette_edges(scene.screen, opposite)
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


def _silhouette_edges(screen: ScreenFaces, opposite: jax.Array) -> jax.Array:
    """`[m, 3]` whether the edge from corner i to i + 1 has nothing beyond it, or a neighbour on its own side."""
    screen = jax.lax.stop_gradient(screen)
    corners = screen.corners.reshape(-1, 3, 2)
    start, end, own = corners, jnp.roll(corners, -1, axis=1), jnp.roll(corners, -2, axis=1)
    beyond = jnp.maximum(opposite, 0)
    other = corners.reshape(-1, 2)[beyond]

    def side(point):
        edge, offset = end - start, point - start
        return edge[..., 0] * offset[..., 1] - edge[..., 1] * offset[..., 0]

    visible = screen.soft[beyond // 3] & (opposite >= 0)
    return ~visible | (side(own) * side(other) > 0)


def _opposite(mesh: Mesh) -> jax.Array:
    """`[b * f, 3]` corner of the batch across each edge, -1 for none."""
    batch, num_faces = mesh.vertices.shape[0], mesh.faces.shape[-2]
    if mesh.faces.ndim == 2:
        # Static faces: found while tracing, not in every call.
        with jax.ensure_compile_time_eval():
            local = np.asarray(opposite_corners(jnp.asarray(mesh.faces)))[None]
    else:
        faces = jnp.asarray(mesh.faces)
        if mesh.face_mask is not None:
            faces = jnp.where(jnp.asarray(mesh.face_mask)[..., None], faces, -1)
        local = jax.vmap(opposite_corners)(faces)
    first = 3 * num_faces * jnp.arange(batch, dtype=jnp.int32)[:, None, None]
    return jnp.where(local >= 0, local + first, -1).reshape(-1, 3)
