"""What the camera of the picture shows of a mesh: where each face is, whether it is seen, and its colours there."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import each_share
from ast_jax.model.template import sphere
from render import PerspectiveCamera, face_normals, rasterize, sample_uv
from render.texture import texel_points

# A point that lies no deeper than this behind what the z-buffer shows there is seen, world units.
_BEHIND = 0.02
# From this cosine between normal and line of sight on, a face is seen as well as from straight in front.
_STEEPEST = 0.3
# What is seen better than this tells the colour by itself.
_ENOUGH = 0.1


class View(NamedTuple):
    """What the camera shows of the faces of a mesh; no gradients.

    Args:
      places: NDC of the middle of each face, and how far it is before the origin, world units.
      normals: unit, in the frame of the view.
      seen: how well each face is seen: 0 where it is hidden or turned away, 1 where all of it shows its front.
      colours: of the picture, where each texel is.
      trust: in each such colour, in [0, 1]: 0 where the texel is not seen or the picture does not show the object.
    """

    places: Float[Array, "b f 3"]
    normals: Float[Array, "b f 3"]
    seen: Float[Array, "b f"]
    colours: Float[Array, "b f t t 3"]
    trust: Float[Array, "b f t t"]

    def of_faces(self, faces: np.ndarray) -> "View":
        """Of some faces, in that order."""
        return View(*(part[:, faces] for part in self))

    def of_mirrored(self, level: int) -> "View":
        """Of the mirror image of each face, with its texels where they are on the face."""
        mirrored = self.of_faces(sphere(level).mirror_face)
        # A mirrored face exchanges its second and third corner, hence the two texel axes.
        return mirrored._replace(colours=mirrored.colours.swapaxes(2, 3), trust=mirrored.trust.swapaxes(2, 3))


def look(
    image: Float[Array, "b h w c"], vertices: Float[Array, "b v 3"], camera: PerspectiveCamera, level: int, texels: int
) -> View:
    """Find the faces of a mesh in the picture.

    Args:
      image: RGB; a fourth channel is the coverage of the object.
      vertices: world space, of an icosphere of that level.
      camera: of the picture.
      level: of the mesh.
      texels: t, along a face.
    """
    scene = jax.lax.stop_gradient((image, vertices, camera))
    # Each device looks at its own pictures: rows of a batch that is one long array would have to be gathered.
    return each_share(functools.partial(_look, level, texels))(*scene)


def _look(level: int, texels: int, image, vertices, camera) -> View:
    faces = sphere(level).faces
    corners = vertices[:, faces]
    middle, normals = corners.mean(2), face_normals(vertices, faces)
    cosine = (normals * camera.to_viewer(middle)).sum(-1)
    facing = jnp.clip(cosine / _STEEPEST, 0, 1)[..., None]
    points = jnp.einsum("kc,bfcx->bfkx", jnp.asarray(texel_points(texels), corners.dtype), corners)
    b, f = facing.shape[:2]
    points = points.reshape(b, -1, 3)
    shown = facing * ~_are_hidden(points, vertices, camera, faces, image.shape[1:3]).reshape(b, f, -1)
    found = sample_uv(image, (_ndc(camera, points) + 1) / 2, wrap="clamp").reshape(b, f, texels, texels, -1)
    trust = shown.reshape(found.shape[:-1])
    if image.shape[-1] == 4:
        # Half covered is the border, where the colour is half of what lies behind.
        trust = trust * jnp.square(jax.nn.relu(2 * found[..., 3] - 1))
    depth = jnp.einsum("bj,bfj->bf", camera.rotation[:, 2], middle)
    return View(
        places=jnp.concatenate([_ndc(camera, middle), depth[..., None]], axis=-1),
        normals=jnp.einsum("bij,bfj->bfi", camera.rotation, normals),
        seen=shown.mean(-1),
        colours=found[..., :3],
        trust=trust,
    )


def projected_texels(view: View, vertices: Float[Array, "b v 3"], level: int) -> Float[Array, "b f t t 3"]:
    """The picture on the faces that it shows, and on the others the mean colour of the nearest of those.

    Args:
      view: what the camera shows.
      vertices: the mesh, whose distances count.
      level: of the mesh.
    Source: the ablation of the paper that replaces the Texture Transformer.
    """
    return each_share(functools.partial(_fill, level))(view, vertices)


def _fill(level: int, view: View, vertices) -> Array:
    middle, weight = vertices[:, sphere(level).faces].mean(2), view.trust.mean((2, 3))
    mean = (view.colours * view.trust[..., None]).mean((2, 3)) / jnp.maximum(weight, 1e-6)[..., None]

    def nearest(scene):
        middle, weight, mean = scene
        apart = jnp.square(middle[:, None] - middle[None]).sum(-1)
        return mean[jnp.argmin(apart + jnp.where(weight > _ENOUGH, 0.0, jnp.inf)[None], axis=1)]

    elsewhere = jax.lax.map(nearest, (middle, weight, mean))
    return jnp.where((view.trust > _ENOUGH)[..., None], view.colours, elsewhere[:, :, None, None])


def _are_hidden(points, vertices, camera, faces, size) -> Array:
    """Whether the z-buffer of a mesh shows something before each point, `[b, m]`."""

    drawn = rasterize(camera.project(vertices), faces, size, vertex_depth=camera.depth(vertices))
    depth, places = jnp.where(drawn.face_id >= 0, drawn.depth, jnp.inf), _ndc(camera, points)
    column, row = (
        jnp.clip(jnp.floor((1 + way * places[..., axis]) / 2 * side), 0, side - 1).astype(jnp.int32)
        for axis, way, side in ((0, 1, size[1]), (1, -1, size[0]))
    )
    nearest = jnp.take_along_axis(depth.reshape(len(depth), -1), row * size[1] + column, axis=1)
    return camera.depth(points) > nearest + _BEHIND


def _ndc(camera: PerspectiveCamera, points: Float[Array, "b m 3"]) -> Float[Array, "b m 2"]:
    clip = camera.project(points)
    return clip[..., :2] / clip[..., 3:]
