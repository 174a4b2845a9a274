"""What the blending rules share: a batch ready to be drawn, and the colours of its faces."""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from render.arrays import Array
from render.coverage import Falloff
from render.footprint import footprint_at
from render.fragments import Fragments, attach, pixel_grid
from render.interpolate import interpolate
from render.light import Light, shade, shade_texture
from render.mesh import Mesh, face_normals, gather_corners, vertex_normals
from render.screen import ScreenFaces
from render.texture import BasisTexture, Texture, UVImage, sample_texture
from render.worklist import Canvas, make_canvas

Shading = Literal["smooth", "flat"]


class Softness(NamedTuple):
    """How soft a picture is; sigma and gamma may change without a new compilation, the rest is static.

    Attributes:
        sigma: squared pixels.
        gamma: in normalised depth.
        cutoff: smallest probability of a face outside of it.
        falloff: of the soft coverage, see `soft_coverage`.
        layers: most layers to blend, None for all.
    """

    sigma: jax.Array
    gamma: jax.Array
    cutoff: float
    falloff: Falloff
    layers: int | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scene:
    """A batch of meshes in front of their cameras.

    Args:
        mesh: batch of meshes, world coordinates.
        face_mask: `[b, f]` faces that are there and have an area in space; the others draw nothing.
        vertices_clip: `[b, v, 4]`.
        vertex_depth: `[b, v]` distances along the viewing axis.
        screen: their faces on the screen.
        texture: colours of the surface.
        light: None: the texture is the colour.
        to_viewer: `[b, v, 3]` from vertices to the camera; only there with a light. Interpolated as they are and made
            unit afterwards: unit vectors, interpolated, point elsewhere.
        backdrop: `[b or 1, h or 1, w or 1, 3]` what is behind everything.
        image_size: height and width in pixels.
        near: depth where the normalised depth is 1.
        far: depth where it is 0.
        shading: normals of vertices, interpolated, or of faces.
        cull_backfaces: faces that are clockwise in the image are not there; on the screen they are gone already.
    """

    mesh: Mesh
    face_mask: jax.Array
    vertices_clip: jax.Array
    vertex_depth: jax.Array
    screen: ScreenFaces
    texture: Texture
    light: Light | None
    to_viewer: Array | None
    backdrop: jax.Array
    image_size: tuple[int, int] = dataclasses.field(metadata={"static": True})
    near: float = dataclasses.field(metadata={"static": True})
    far: float = dataclasses.field(metadata={"static": True})
    shading: Shading = dataclasses.field(metadata={"static": True})
    cull_backfaces: bool = dataclasses.field(metadata={"static": True})

    @property
    def batch(self) -> int:
        """Images."""
        return self.mesh.vertices.shape[0]

    @property
    def canvas(self) -> Canvas:
        """Layout of flat images."""
        return make_canvas(self.batch, self.image_size)

    @property
    def pixels(self) -> tuple[jax.Array, jax.Array]:
        """x and y of all pixel centres on the screen."""
        return pixel_grid(self.image_size, self.screen.corners.dtype, 3)


# How the faces near a pixel become its colour and coverage: `(scene, softness, face_id) -> (rgb, alpha)`.
Rule: TypeAlias = Callable[[Scene, Softness, Int[Array, "b h w"]], tuple[Array, Array]]


def surface_colour(
    scene: Scene, fragments: Fragments, pixels: tuple[jax.Array, jax.Array]
) -> Float[Array, "b *k h w 3"]:
    """Lit colours of the faces that pixels see; nothing in particular where they see none.

    Args:
        scene: the batch.
        fragments: what pixels see.
        pixels: x and y of their centres on the screen.

    Returns:
        Colours, differentiable in everything of the scene and in the barycentrics.
    """
    footprint = None
    if isinstance(scene.texture, UVImage) and scene.texture.max_level != 0:
        footprint = footprint_at(scene.screen, fragments, pixels)
    colour = sample_texture(scene.texture, scene.mesh.faces, fragments, footprint)
    if scene.light is None:
        return colour
    normal, to_viewer = (interpolate(fragments, corners) for corners in _corner_directions(scene))
    return shade(scene.light, colour, normal, to_viewer)


def surface_texture(scene: Scene) -> BasisTexture:
    """The texture with the light in it, for blending that needs basis functions on faces.

    Raises:
        ValueError: a UV image.
    """
    if isinstance(scene.texture, UVImage):
        raise ValueError(
            'blending="softmax" needs colours that belong to faces: give it bake_texels(texture, ...) instead of a'
            ' UVImage, or choose blending="layered"'
        )
    if scene.light is None:
        return scene.texture
    return shade_texture(scene.light, scene.texture, scene.mesh.faces, *_corner_directions(scene))


@jax.checkpoint
def paint(scene: Scene, face_id: Int[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Colours of the faces that pixels see, in front of the backdrop; the backward pass computes them anew."""
    fragments = attach(scene.screen, face_id, scene.pixels)
    return jnp.where((face_id >= 0)[..., None], surface_colour(scene, fragments, scene.pixels), scene.backdrop)


def _corner_directions(scene: Scene) -> tuple[jax.Array, jax.Array]:
    """Normals and directions to the viewer, `[b, f, 3, 3]`, at the corners of faces."""
    vertices, faces = scene.mesh.vertices, scene.mesh.faces
    if scene.shading == "flat":
        normals = face_normals(vertices, faces)[:, :, None]
        normals = jnp.broadcast_to(normals, (*normals.shape[:2], 3, 3))
    else:
        normals = gather_corners(vertex_normals(vertices, faces), faces)
    return normals, gather_corners(scene.to_viewer, faces)
