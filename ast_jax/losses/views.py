"""From a batch of predicted meshes and ``s`` cameras each to ``b * s`` pictures."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from render import Camera, Mesh, render, soft_coverage
from render.coverage import Falloff
from render.texture import Texture


@dataclass(frozen=True)
class ViewSettings:
    """How the views are rendered.

    Args:
      image_size: (height, width), pixels.
      sigma: softness of the silhouette, squared NDC.
      gamma: sharpness of the depth softmax.
      blending: see ``render.render``.
      background: RGB behind the object.
      falloff: of soft borders, see ``render.soft_coverage``.
      mesh: device mesh, or None for one device.
      axes: of the mesh; the rendering runs on each device's share of the batch, without a collective.
    """

    image_size: tuple[int, int]
    sigma: float | Float[Array, ""]
    gamma: float | Float[Array, ""] = 1e-4
    blending: str = "softmax"
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    falloff: Falloff = "sigmoid"
    mesh: jax.sharding.Mesh | None = None
    axes: tuple[str, ...] = ()


def render_views(
    vertices: Float[Array, "b v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: Camera,
    settings: ViewSettings,
    *,
    texture: Texture | None = None,
    background: Float[Array, "b i j 3"] | None = None,
) -> tuple[Float[Array, "n h w 3"] | None, Float[Array, "n h w"]]:
    """Render each mesh from its own ``s`` cameras, ``n = b * s``.

    Args:
      vertices: world space.
      faces: shared by the batch.
      camera: leading axes ``[b, s]``.
      settings: see `ViewSettings`.
      texture: colours in [0, 1], leading axis b; without any only the silhouette is rendered.
      background: pictures behind the objects, of any size, the same in all views; None: the colour of ``settings``.

    Returns:
      colour over the background (None without a texture) and soft coverage in [0, 1].
    """

    def render_share(vertices, camera, texture, background, sigma, gamma):
        views = camera.translation.shape[1]
        flat_camera = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), camera)
        flat_vertices = jnp.repeat(vertices, views, axis=0)
        if texture is None:
            clip = flat_camera.project(flat_vertices)
            return None, soft_coverage(clip, faces, settings.image_size, sigma, falloff=settings.falloff)
        result = render(
            Mesh(flat_vertices, faces),
            flat_camera,
            settings.image_size,
            blending=settings.blending,
            texture=jax.tree.map(lambda x: jnp.repeat(x, views, axis=0), texture),
            background=settings.background if background is None else jnp.repeat(background, views, axis=0),
            sigma=sigma,
            gamma=gamma,
            falloff=settings.falloff,
        )
        return result.rgb, result.alpha

    if background is not None and background.shape[1:3] != settings.image_size:
        size = (len(background), *settings.image_size, 3)
        background = jax.image.resize(background, size, "bilinear", antialias=True)
    if settings.mesh is None or settings.mesh.size == 1:
        return render_share(vertices, camera, texture, background, settings.sigma, settings.gamma)
    batch, shared = jax.P(settings.axes), jax.P()
    return jax.shard_map(
        render_share,
        mesh=settings.mesh,
        in_specs=(batch, batch, batch, batch, shared, shared),
        out_specs=(batch, batch),
        check_vma=False,
    )(vertices, camera, texture, background, *(jnp.asarray(x, jnp.float32) for x in (settings.sigma, settings.gamma)))


def project_points(points_world: Float[Array, "b p 3"], camera: Camera) -> Float[Array, "n p 2"]:
    """NDC of each object's points in each of its ``s`` views, ``n = b * s``."""
    views = camera.translation.shape[1]
    flat_camera = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), camera)
    clip = flat_camera.project(jnp.repeat(points_world, views, axis=0))
    return clip[..., :2] / clip[..., 3:]
