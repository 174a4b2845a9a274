"""One call from mesh and camera to pictures."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import (
    Array,
    check_choice,
    check_cull_backfaces,
    check_faces,
    check_floats,
    check_image_size,
    check_layers,
    check_mask,
    check_positive,
    floats_of,
    static_size,
)
from render.backends import default_backend, find_backend, find_rule
from render.camera import Camera, check_camera
from render.coverage import Falloff, reach_in_sigmas, squared_pixels
from render.fragments import no_fragments
from render.light import Light, check_light
from render.mesh import Mesh, check_vertices
from render.scene import Rule, Scene, Shading, Softness
from render.screen import to_screen
from render.texture import Texture, check_texture
from render.topology import have_area

Background = tuple[float, float, float] | Float[Array, "3"] | Float[Array, "b h w 3"]


class Rendering(NamedTuple):
    """Pictures of a batch.

    Attributes:
        rgb: colours, background included.
        alpha: coverage in [0, 1].
        depth: view depth of the nearest face at the pixel centre, zero where there is none.
        face_id: that face, -1 where there is none.
    """

    rgb: Float[Array, "b h w 3"]
    alpha: Float[Array, "b h w"]
    depth: Float[Array, "b h w"]
    face_id: Int[Array, "b h w"]


def render(
    mesh: Mesh,
    camera: Camera,
    image_size: tuple[int, int],
    *,
    texture: Texture,
    blending: str | Rule = "softmax",
    light: Light | None = None,
    shading: Shading = "smooth",
    background: Background = (1.0, 1.0, 1.0),
    sigma: float | Float[Array, ""] = 1e-4,
    gamma: float | Float[Array, ""] = 1e-4,
    cutoff: float = 1e-4,
    falloff: Falloff = "sigmoid",
    layers: int | None = None,
    cull_backfaces: bool = False,
    backend: str | None = None,
) -> Rendering:
    """Renders a batch of meshes.

    Everything is differentiable in vertices, camera, texture, light and background. Under `jax.jit`, outputs that
    nobody uses cost nothing. To spread a batch over devices without any communication, call it inside
    `batch_parallel`. Arrays of bfloat16 or float16 are taken as float32.

    Args:
        mesh: batch of meshes.
        camera: leading axis b.
        image_size: height and width in pixels, static.
        texture: `VertexColours`, `CornerColours`, `FaceTexels` or, except for "softmax", `UVImage`.
        blending: how faces become pixels, see `render.blending`:
            "softmax" (SoftRas): depth-weighted mean over all faces near a pixel; hidden faces and depth get gradients.
            "layered" (Unicorn, AST): soft-edged layers, the nearest over those behind it.
            "hard" (DIB-R): colour of the nearest face; alpha is the soft coverage.
            "antialias" (nvdiffrast): the hard picture with analytic coverage at silhouettes.
            A function of your own `(scene, softness, face_id) -> (rgb, alpha)`; another function is another program.
        light: None shows the texture as it is.
        shading: with a light, "smooth" interpolates the normals of vertices, "flat" takes those of faces.
        background: one colour, or pictures.
        sigma: width of soft borders in squared NDC units, see `soft_coverage`; > 0.
        gamma: for "softmax", how fast the weight of faces falls off with normalised depth, 0 at the far and 1 at the
            near plane of the camera; > 0.
        cutoff: smallest probability of a face outside of it.
        falloff: for "hard", of the coverage, see `soft_coverage`.
        layers: for "layered", the most to blend; None: as many as there are.
        cull_backfaces: only faces that are counter-clockwise in the image are seen.
        backend: a name in `render.backends`: "xla", or "nvdiffrast" on CUDA for "hard" and "antialias"; None: that of
            `draw_with`, "xla" outside of it.

    Returns:
        The pictures.

    Raises:
        ValueError: wrong shape or type, sigma, gamma or cutoff out of range, unknown blending, falloff or backend,
            empty image, a texture that the blending cannot take, or what the backend cannot do.
        RuntimeError: something that the backend needs is not installed; the message says what.

    Source: `render.blending`.
    """
    backend = backend or default_backend()
    rule = find_rule(backend, blending)
    check_choice("shading", shading, ("smooth", "flat"))
    check_image_size(image_size)
    check_positive("sigma", sigma)
    check_positive("gamma", gamma)
    check_layers(layers)
    check_cull_backfaces(cull_backfaces)
    reach_in_sigmas(cutoff, falloff)
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh must be a Mesh, got {type(mesh).__name__}")
    check_vertices(mesh.vertices)
    batch, num_vertices, _ = mesh.vertices.shape
    check_faces(mesh.faces, num_vertices, batch)
    check_mask("face_mask", mesh.face_mask, (batch, mesh.faces.shape[-2]))
    check_camera(camera, batch)
    check_texture(texture, batch, num_vertices, mesh.faces.shape[-2])
    check_light(light, batch)
    mesh, camera, texture, light = floats_of(mesh), floats_of(camera), floats_of(texture), floats_of(light)
    size = static_size(image_size)
    backdrop = _backdrop(background, (batch, *size, 3), mesh.vertices.dtype)
    return _render(
        mesh, camera, texture, light, backdrop, sigma, gamma, image_size=size, rule=rule, shading=shading,
        cutoff=cutoff, falloff=falloff, layers=layers, cull_backfaces=cull_backfaces, backend=backend,
    )  # fmt: skip


# Compiled as a whole, see `render.backend_xla`.
@functools.partial(
    jax.jit,
    static_argnames=(
        "image_size", "rule", "shading", "cutoff", "falloff", "layers", "cull_backfaces", "backend",
    ),
)  # fmt: skip
def _render(
    mesh, camera, texture, light, backdrop, sigma, gamma, *, image_size, rule, shading, cutoff, falloff, layers,
    cull_backfaces, backend,
):  # fmt: skip
    scene = _scene(mesh, camera, image_size, texture, light, shading, backdrop, cull_backfaces)
    if scene.batch * mesh.faces.shape[-2] == 0:
        rgb = jnp.broadcast_to(scene.backdrop, (scene.batch, *image_size, 3))
        nothing = no_fragments(scene.batch, image_size, rgb.dtype)
        return Rendering(rgb, jnp.zeros_like(nothing.depth), nothing.depth, nothing.face_id)
    fragments = find_backend(backend).nearest(scene)
    dtype = fragments.depth.dtype
    softness = Softness(
        squared_pixels(sigma, image_size, dtype),
        jax.lax.stop_gradient(jnp.asarray(gamma, dtype)),
        cutoff,
        falloff,
        layers,
    )
    rgb, alpha = rule(scene, softness, fragments.face_id)
    return Rendering(rgb, alpha, fragments.depth, fragments.face_id)


def _backdrop(background: Background, pictures: tuple[int, ...], dtype) -> jax.Array:
    """`[b or 1, h or 1, w or 1, 3]` from one colour or pictures."""
    if not isinstance(background, (tuple, list)):
        check_floats("background", background)
    backdrop = jnp.asarray(background, dtype)
    if backdrop.shape not in ((3,), pictures):
        raise ValueError(f"background must have shape [3] or [b, h, w, 3] = {pictures}, got {backdrop.shape}")
    return backdrop[None, None, None] if backdrop.ndim == 1 else backdrop


def _scene(
    mesh: Mesh,
    camera: Camera,
    image_size: tuple[int, int],
    texture: Texture,
    light: Light | None,
    shading: Shading,
    backdrop: jax.Array,
    cull_backfaces: bool,
) -> Scene:
    clip, depth = camera.project(mesh.vertices), camera.depth(mesh.vertices)
    face_mask = have_area(mesh.vertices, mesh.faces)
    if mesh.face_mask is not None:
        face_mask &= mesh.face_mask
    return Scene(
        mesh=mesh,
        face_mask=face_mask,
        vertices_clip=clip,
        vertex_depth=depth,
        screen=to_screen(clip, mesh.faces, image_size, face_mask, depth, cull_backfaces),
        texture=texture,
        light=light,
        to_viewer=None if light is None else camera.eye_vectors(mesh.vertices),
        backdrop=backdrop,
        image_size=image_size,
        near=camera.near,
        far=camera.far,
        shading=shading,
        cull_backfaces=cull_backfaces,
    )
