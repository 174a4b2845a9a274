"""Soft silhouettes: how much of each pixel the mesh covers, differentiable in the vertices."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render.arrays import Array, check_cull_backfaces, check_positive, static_size, to_float
from render.backends import find_soft_coverage
from render.coverage import Falloff, reach_in_sigmas, squared_pixels
from render.screen import check_scene, to_screen


def soft_coverage(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    sigma: float | Float[Array, ""],
    *,
    face_mask: Bool[Array, "b f"] | None = None,
    cutoff: float = 1e-4,
    falloff: Falloff = "sigmoid",
    cull_backfaces: bool = False,
    backend: str | None = None,
) -> Float[Array, "b h w"]:
    """Soft coverage over all faces, in front or behind.

    `alpha = 1 - prod_f (1 - p_f)` with d_f the squared distance of the pixel centre to the border of face f,
    negative inside, and `p_f = sigmoid(-d_f / sigma)` (SoftRas) or `p_f = exp(-max(d_f, 0) / sigma)` (DIB-R:
    alpha is 1 on the mesh, and only what is beside it gets gradients). Faces with `p_f < cutoff` outside do not count,
    all others do: there is no limit on faces per pixel. Faces with a part behind the camera, or with a
    corner more than 1e4 half-images off the screen, cover their inside fully, without soft border and
    gradient.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        sigma: > 0, squared NDC units in which the shorter image side spans [-1, 1]. Gets no gradient.
        face_mask: false takes a face away.
        cutoff: smallest probability outside of a face, in (0, 0.5).
        falloff: "sigmoid" or "exponential".
        cull_backfaces: only faces that are counter-clockwise in the image count.
        backend: a name in `render.backends`; None: that of `draw_with`, "xla" outside of it.

    Returns:
        Coverage in [0, 1].

    Raises:
        ValueError: wrong shape, sigma or cutoff out of range, unknown falloff or backend, empty image, face index out
            of range, or what the backend cannot do.

    Source: Liu et al., Soft Rasterizer, ICCV 2019, equations 3 and 7; Chen et al., DIB-R, NeurIPS 2019,
    equations 4 and 5.
    """
    vertices_clip = to_float("vertices_clip", vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    check_positive("sigma", sigma)
    check_cull_backfaces(cull_backfaces)
    reach_in_sigmas(cutoff, falloff)
    if vertices_clip.shape[0] * faces.shape[-2] == 0:
        return jnp.zeros((vertices_clip.shape[0], *image_size), vertices_clip.dtype)
    cover, size = find_soft_coverage(backend), static_size(image_size)
    return _draw(vertices_clip, faces, size, sigma, face_mask, cover, cutoff, falloff, cull_backfaces)


# Compiled as a whole, see `render.backend_xla`; for each backend by itself.
@functools.partial(jax.jit, static_argnames=("image_size", "cover", "cutoff", "falloff", "cull_backfaces"))
def _draw(vertices_clip, faces, image_size, sigma, face_mask, cover, cutoff, falloff, cull_backfaces):
    screen = to_screen(vertices_clip, faces, image_size, face_mask, None, cull_backfaces)
    sigma_px = squared_pixels(sigma, image_size, vertices_clip.dtype)
    return cover(screen, image_size, vertices_clip.shape[0], sigma_px, cutoff, falloff)
