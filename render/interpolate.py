"""Values of vertices and faces at the pixels that see them."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array, check_faces, to_float
from render.fragments import Fragments, check_fragments
from render.mesh import gather_corners


def interpolate(
    fragments: Fragments,
    attributes: Float[Array, "b v c"] | Float[Array, "b f 3 c"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"] | None = None,
) -> Float[Array, "b *layers h w c"]:
    """Interpolates attributes over the nearest face of each pixel: `sum_i b_i attribute_i`.

    Perspective-correct, differentiable in the attributes and, through the barycentrics, in the vertices.

    Args:
        fragments: from `rasterize`.
        attributes: of vertices, `[b, v, c]`, then `faces` must be given; or of the corners of faces, `[b,
            f, 3, c]`.
        faces: triangle indices.

    Returns:
        Values, zero where there is no face.

    Raises:
        ValueError: wrong shape or type, or vertex attributes without faces.
    """
    check_fragments(fragments)
    attributes, face_id = to_float("attributes", attributes), fragments.face_id
    if attributes.ndim == 3:
        if faces is None:
            raise ValueError("vertex attributes [b, v, c] need faces; or pass corner attributes [b, f, 3, c]")
        check_faces(faces, attributes.shape[1], attributes.shape[0])
        attributes = gather_corners(attributes, faces)
    if attributes.ndim != 4 or attributes.shape[0] != face_id.shape[0] or attributes.shape[2] != 3:
        shapes = f"[b, v, c] or [b, f, 3, c] with b = {face_id.shape[0]}"
        raise ValueError(f"attributes must have shape {shapes} as the fragments, got {attributes.shape}")
    return _interpolate(fragments, attributes)


@jax.checkpoint
def _interpolate(fragments: Fragments, corners: jax.Array) -> jax.Array:
    """The work of `interpolate`; the backward pass gathers anew."""
    weights = fragments.barycentric
    return sum(
        weights[..., i, None] * take_faces(corners, fragments.face_id, jnp.full_like(fragments.face_id, i))
        for i in range(3)
    )


def take_faces(values: jax.Array, face_id: jax.Array, entry: jax.Array | None = None) -> jax.Array:
    """Values `[b, f, c]`, or entries of `[b, f, k, c]`, of the faces that pixels see; zero without face.

    Args:
        values: per face.
        face_id: `[b, ...]`, usually `[b, h, w]` or `[b, layers, h, w]`; -1 for none.
        entry: `[b, ...]` index into k.

    Returns:
        `[b, ..., c]`.
    """
    if values.shape[1] == 0:
        return jnp.zeros((*face_id.shape, values.shape[-1]), values.dtype)
    image = jnp.arange(face_id.shape[0], dtype=face_id.dtype).reshape(-1, *(1,) * (face_id.ndim - 1))
    index = (image, jnp.maximum(face_id, 0)) if entry is None else (image, jnp.maximum(face_id, 0), entry)
    return jnp.where((face_id >= 0)[..., None], values[index], 0.0)
