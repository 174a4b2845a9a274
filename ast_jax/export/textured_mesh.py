"""A closed mesh with texture coordinates: what the writers of all formats share."""

import functools
import io
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

from ast_jax.arrays import Array
from ast_jax.export.unwrap import unwrap
from ast_jax.model.template import sphere

# From our axes, +Y up and the front towards +Z, to those of a file: with +Z up, the front is towards -Y.
UP_AXES = {"y": np.eye(3), "z": np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])}


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """Positions welded, texture coordinates with a copy on each side of the seam.

    Args:
      vertices: world space, +Y up, front towards +Z.
      faces: counter-clockwise from outside.
      uv: u right, v up, in [0, 1].
      uv_faces: corners of the same faces among ``uv``.
      image: sRGB, row 0 at the top (v = 1).

    Raises:
      ValueError: the mesh is empty, a number is not finite, or a texture vertex belongs to two vertices.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "n 2"]
    uv_faces: Int[np.ndarray, "f 3"]
    image: UInt8[np.ndarray, "h w 3"]

    def __post_init__(self):
        if len(self.faces) == 0:
            raise ValueError("faces: the mesh is empty, nothing to write.")
        if not np.isfinite(self.vertices).all():
            raise ValueError("vertices: some are not finite; did the optimisation diverge?")
        if not np.array_equal(self.source[self.uv_faces], self.faces):
            raise ValueError("uv_faces: a texture vertex is used for two vertices of the mesh.")

    @functools.cached_property
    def source(self) -> Int[np.ndarray, " n"]:
        """The vertex that each texture vertex is a copy of."""
        source = np.zeros(len(self.uv), np.int64)
        source[self.uv_faces.ravel()] = self.faces.ravel()
        return source

    @functools.cached_property
    def is_closed(self) -> bool:
        """Whether the mesh is watertight, with its faces turned outside."""
        mesh = trimesh.Trimesh(self.vertices, self.faces, process=False)
        return bool(mesh.is_volume)


def textured_mesh(vertices: Float[Array, "v 3"], level: int, image: UInt8[np.ndarray, "h w 3"]) -> TexturedMesh:
    """A reconstruction with its baked texture.

    Args:
      vertices: of the template deformed, world space.
      level: of the template.
      image: see ``bake_texture``.

    Raises:
      ValueError: the vertices are not finite, or not as many as the template has.
    """
    ball, flat = sphere(level), unwrap(level)
    if len(vertices) != len(ball.vertices):
        raise ValueError(f"vertices: the template of level {level} has {len(ball.vertices)}, got {len(vertices)}.")
    return TexturedMesh(np.asarray(vertices, np.float64), ball.faces, flat.uv, flat.faces, image)


def smooth_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Unit normals of vertices; one without any proper face gets +Y, because glTF allows no zero normal."""
    normals = np.array(trimesh.Trimesh(vertices, faces, process=False).vertex_normals)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 0.5, normals, np.array([[0.0, 1.0, 0.0]]))


def vertex_colours(mesh: TexturedMesh) -> UInt8[np.ndarray, "v 3"]:
    """The texture around each vertex, averaged over about half an edge, for formats without textures."""
    side = min(len(mesh.image), int(2 * np.sqrt(len(mesh.faces))))
    small = np.asarray(Image.fromarray(mesh.image).resize((side, side), Image.Resampling.BOX), np.float64)
    column, row = (np.clip((at * side).astype(int), 0, side - 1) for at in (mesh.uv[:, 0], 1 - mesh.uv[:, 1]))
    total = np.zeros((len(mesh.vertices), 3))
    np.add.at(total, mesh.source, small[row, column])
    copies = np.bincount(mesh.source, minlength=len(mesh.vertices))
    return np.round(total / np.maximum(copies, 1)[:, None]).astype(np.uint8)


def encode_png(image: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
