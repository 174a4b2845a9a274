"""The rule "antialias" by nvdiffrast itself, with its own gradients; see `render.backend_nvdiffrast.antialias`.

Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, SIGGRAPH Asia 2020.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array
from render.backend_nvdiffrast import antialias
from render.fragments import attach
from render.scene import Scene, Softness, paint
from render.topology import coincident_vertices


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
    colour = paint(scene, face_id)
    image = jnp.concatenate([colour, (face_id >= 0)[..., None].astype(colour.dtype)], axis=-1)
    fragments = attach(scene.screen, face_id, scene.pixels)
    # nvdiffrast knows edges by the numbers of their vertices: one number for all vertices at one place.
    place = coincident_vertices(scene.mesh.vertices)
    faces = jnp.broadcast_to(jnp.asarray(scene.mesh.faces), (scene.batch, *scene.mesh.faces.shape[-2:]))
    faces = jax.vmap(lambda place, faces: place[faces])(place, faces)
    image = antialias(image, fragments, scene.vertices_clip, faces, face_mask=scene.face_mask)
    return image[..., :3], image[..., 3]
