"""The backend "xla": plain JAX, on every device. It is the definition; other backends have to agree with it."""

import functools

import jax
from jaxtyping import Bool, Float, Int

from render.arrays import Array
from render.fragments import Fragments, attach, no_fragments, pixel_grid
from render.scene import Scene
from render.screen import to_screen
from render.zbuffer import EdgeRule, nearest_faces, peel_faces


# Compiled as a whole: outside of the caller's own `jax.jit`, a hundred small programs would be, one for each operation.
@functools.partial(jax.jit, static_argnames=("image_size", "layers", "edge_rule", "cull_backfaces"))
def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    layers: int | None,
    face_mask: Bool[Array, "b f"] | None,
    vertex_depth: Float[Array, "b v"] | None,
    edge_rule: EdgeRule,
    cull_backfaces: bool,
) -> Fragments:
    """The work of `render.rasterize`, of arguments that it has checked."""
    batch = vertices_clip.shape[0]
    if batch * faces.shape[-2] == 0:
        return no_fragments(batch, image_size, vertices_clip.dtype, layers)
    screen = to_screen(vertices_clip, faces, image_size, face_mask, vertex_depth, cull_backfaces)
    visible = screen.soft | screen.crossing
    if layers is None:
        face_id = nearest_faces(screen, visible, image_size, batch, edge_rule)
    else:
        face_id = peel_faces(screen, visible, image_size, batch, layers, edge_rule)
    return attach(screen, face_id, pixel_grid(image_size, screen.corners.dtype, face_id.ndim))


def nearest(scene: Scene) -> Fragments:
    """The nearest faces of a scene."""
    visible = scene.screen.soft | scene.screen.crossing
    face_id = nearest_faces(scene.screen, visible, scene.image_size, scene.batch)
    return attach(scene.screen, face_id, scene.pixels)
