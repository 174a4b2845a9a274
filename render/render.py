"""One call from mesh and camera to pictures."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render import worklist
from render.arrays import Array, check_image_size, check_positive
from render.blend import BACKGROUND_DEPTH, Settings, Softness, blend_sums
from render.camera import PerspectiveCamera, WeakPerspectiveCamera
from render.coverage import reach_in_sigmas, soft_coverage, squared_pixels
from render.mesh import Mesh
from render.rasterize import rasterize, resolve
from render.screen import ScreenFaces, check_scene, soft_box, to_screen
from render.texture import Texture, check_texture, face_coefficients, sample_texture, texel_side


class Rendering(NamedTuple):
    """Pictures of a batch.

    Attributes:
        rgb: colours, background included.
        alpha: soft coverage in [0, 1].
        depth: view depth of the nearest face at the pixel centre, zero where there is none.
        face_id: that face, -1 where there is none.
    """

    rgb: Float[Array, "b h w 3"]
    alpha: Float[Array, "b h w"]
    depth: Float[Array, "b h w"]
    face_id: Int[Array, "b h w"]


def render(
    mesh: Mesh,
    camera: PerspectiveCamera | WeakPerspectiveCamera,
    image_size: tuple[int, int],
    *,
    texture: Texture,
    blending: Literal["softmax", "hard"] = "softmax",
    background: tuple[float, float, float] | Float[Array, "3"] | Float[Array, "b h w 3"] = (1.0, 1.0, 1.0),
    sigma: float | Float[Array, ""] = 1e-4,
    gamma: float | Float[Array, ""] = 1e-4,
    cutoff: float = 1e-4,
) -> Rendering:
    """Renders a batch of meshes.

    Everything is differentiable in vertices, camera and texture. Under `jax.jit`, outputs that nobody uses
    cost nothing. To spread a batch over devices without any communication, call it inside `batch_parallel`.

    Args:
        mesh: batch of meshes.
        camera: leading axis b.
        image_size: height and width in pixels, static.
        texture: `VertexColours` or `FaceTexels`.
        blending: "softmax": colours by SoftRas's softmax over all faces (`render.blend`), so hidden faces
            and depth get gradients; "hard": colour of the nearest face (DIB-R), gradients through its
            barycentrics and to its texture. Both have the soft coverage as alpha.
        background: one colour, or pictures.
        sigma: width of soft borders in squared NDC units, see `soft_coverage`; > 0.
        gamma: how fast the weight of faces falls off with normalised depth, 0 at the far and 1 at the near
            plane of the camera; > 0.
        cutoff: smallest probability of a face outside of it.

    Returns:
        The pictures.

    Raises:
        ValueError: wrong shape, sigma or gamma not > 0, unknown blending, empty image.

    Source: Liu et al., Soft Rasterizer, ICCV 2019; Chen et al., DIB-R, NeurIPS 2019.
    """
    check_image_size(image_size)
    check_positive("sigma", sigma)
    check_positive("gamma", gamma)
    check_texture(texture, mesh.vertices, mesh.faces)
    clip, depth = camera.project(mesh.vertices), camera.depth(mesh.vertices)
    check_scene(clip, mesh.faces, image_size, mesh.face_mask)
    backdrop = jnp.asarray(background, clip.dtype)
    if backdrop.ndim == 1:
        backdrop = backdrop[None, None, None]
    fragments = rasterize(clip, mesh.faces, image_size, face_mask=mesh.face_mask, vertex_depth=depth)
    if blending == "softmax":
        screen = to_screen(clip, mesh.faces, image_size, mesh.face_mask, depth)
        rgb, alpha = _softmax(screen, mesh, camera, image_size, texture, backdrop, sigma, gamma, cutoff)
    elif blending == "hard":
        covered = (fragments.face_id >= 0)[..., None]
        rgb = jnp.where(covered, sample_texture(texture, mesh.faces, fragments), backdrop)
        alpha = soft_coverage(clip, mesh.faces, image_size, sigma, face_mask=mesh.face_mask, cutoff=cutoff)
    else:
        raise ValueError(f'blending must be "softmax" or "hard", got {blending!r}')
    return Rendering(rgb, alpha, fragments.depth, fragments.face_id)


def _softmax(
    screen: ScreenFaces,
    mesh: Mesh,
    camera: PerspectiveCamera | WeakPerspectiveCamera,
    image_size: tuple[int, int],
    texture: Texture,
    backdrop: jax.Array,
    sigma,
    gamma,
    cutoff: float,
) -> tuple[jax.Array, jax.Array]:
    """Colours and coverage of the softmax, see `render.blend`."""
    dtype = screen.corners.dtype
    canvas = worklist.make_canvas(mesh.vertices.shape[0], mesh.faces.shape[-2], image_size)
    numbers = [jnp.asarray(value, dtype) for value in (gamma, camera.near, camera.far)]
    softness = Softness(squared_pixels(sigma, image_size, dtype), *jax.lax.stop_gradient(numbers))
    reach = jnp.sqrt(softness.sigma * reach_in_sigmas(cutoff))
    work = worklist.build(*jax.lax.stop_gradient(soft_box(screen, reach)), screen.soft, canvas)
    settings = Settings(canvas, cutoff, texel_side(texture))
    sums = blend_sums(settings, screen, face_coefficients(texture, mesh.faces), work, softness)
    sums = jax.tree.map(canvas.unflatten, sums)
    hard = _crossing_layer(screen, mesh, image_size, texture)
    nearness = (softness.far - hard.depth) / (softness.far - softness.near)
    covered = hard.face_id >= 0
    # A face that passes through the plane of the camera has no soft border; the nearest one joins the mean
    # with p = 1.
    before = jax.lax.stop_gradient(sums.nearest)
    nearest = jnp.where(covered, jnp.maximum(before, jax.lax.stop_gradient(nearness)), before)
    fade = jnp.exp((before - nearest) / softness.gamma)
    extra = jnp.where(covered, jnp.exp(jnp.where(covered, nearness - nearest, 0.0) / softness.gamma), 0.0)
    rest = jnp.exp((BACKGROUND_DEPTH - nearest) / softness.gamma)
    colour = jnp.stack(sums.colour, axis=-1) * fade[..., None] + extra[..., None] * hard.rgb
    total = sums.weight * fade + extra + rest
    rgb = (colour + rest[..., None] * backdrop) / total[..., None]
    return rgb, jnp.where(covered, 1.0, 1.0 - sums.transparency)


def _crossing_layer(screen: ScreenFaces, mesh: Mesh, image_size: tuple[int, int], texture: Texture) -> Rendering:
    """The nearest of the faces that pass through the plane of the camera; nothing is computed where there
    are none."""

    some = jnp.any(screen.crossing)

    def draw(screen: ScreenFaces, texture: Texture) -> Rendering:
        fragments = resolve(screen, screen.crossing, image_size, mesh.vertices.shape[0])
        rgb = sample_texture(texture, mesh.faces, fragments)
        return Rendering(rgb, fragments.depth, fragments.depth, fragments.face_id)

    def blank(screen: ScreenFaces, texture: Texture) -> Rendering:
        # Zeros made from an argument: under `shard_map` both branches must differ between devices.
        zero = jnp.broadcast_to(0 * some.astype(jnp.int32), (mesh.vertices.shape[0], *image_size))
        depth = zero.astype(screen.depth.dtype)
        rgb = jnp.broadcast_to(depth[..., None], (*depth.shape, 3)).astype(texture.values.dtype)
        return Rendering(rgb, depth, depth, zero - 1)

    return jax.lax.cond(some, draw, blank, screen, texture)
