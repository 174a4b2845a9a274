"""Textured meshes as binary glTF 2.0, for viewers and Blender.

A mesh with texture coordinates is written as it is, and so are a picture with uv coordinates and colours of vertices. A
grid of texels per face becomes one cell of a texture atlas, so no seam and no distortion can appear: every viewer that
filters bilinearly shows exactly the colours that the renderer defines, which is what a report is for; modellers get the
other.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh
import trimesh.visual
from jaxtyping import Float, Int, UInt8
from PIL import Image
from trimesh.exchange.gltf import export_glb

from ast_jax.arrays import Array
from ast_jax.export.textured_mesh import TexturedMesh, smooth_normals
from ast_jax.files.writing import write_bytes
from render import CornerColours, FaceTexels, VertexColours
from render.texture import Texture, check_texture

# glTF 2.0 enumerants: no wrapping; linear without mip maps, which would mix neighbouring cells, and with them.
_SAMPLER = {"magFilter": 9729, "minFilter": 9729, "wrapS": 33071, "wrapT": 33071}
_MIP_SAMPLER = _SAMPLER | {"minFilter": 9987}
_REPEAT = {"wrapS": 10497, "wrapT": 10497}
_VERTICES, _INDICES = 34962, 34963  # what a part of the buffer is for
# Pixels repeated around each cell: graphics cards filter with 8-bit weights and may look one pixel too far.
_PADDING = 1
# trimesh writes custom attributes as floats when their name starts with an underscore; renamed afterwards.
_FLOAT_COLOUR = "_COLOUR"


def bake_atlas(
    texels: Float[Array, "f t t 3"],
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "f 3 2"]]:
    """Lay the texel grids of all faces out in one square picture.

    Texel (i, j) of a face, the point with barycentrics b1 = i / (t-1), b2 = j / (t-1), becomes the pixel in
    row ``i`` and column ``j`` of that face's cell; the corners of the face are the centres of the pixels
    (0, 0), (t-1, 0) and (0, t-1), so bilinear filtering of the picture is bilinear interpolation in (b1, b2).

    Args:
      texels: RGB in [0, 1]; values outside are clipped.

    Returns:
      the picture, row 0 at the top, and u (right), v (up) of the three corners of every face, in [0, 1].

    Raises:
      ValueError: there is no face or no texel.
    """
    texels = np.asarray(texels, np.float64)
    num_faces, side = texels.shape[:2]
    if num_faces == 0 or side == 0:
        raise ValueError(f"texels: an atlas needs at least one face and one texel, got shape {texels.shape}.")
    columns = int(np.ceil(np.sqrt(num_faces)))
    cell = side + 2 * _PADDING
    padded = np.pad(texels, ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0)), mode="edge")
    cells = np.zeros((columns * columns, cell, cell, 3))
    cells[:num_faces] = padded
    grid = cells.reshape(columns, columns, cell, cell, 3).transpose(0, 2, 1, 3, 4)
    size = columns * cell
    image = np.round(np.clip(grid.reshape(size, size, 3), 0, 1) * 255).astype(np.uint8)

    row, column = np.divmod(np.arange(num_faces), columns)
    first = np.stack([column, row], -1) * cell + _PADDING + 0.5
    offset = np.array([[0, 0], [0, side - 1], [side - 1, 0]])
    corner_px = first[:, None] + offset[None]
    corner_uv = np.stack([corner_px[..., 0] / size, 1 - corner_px[..., 1] / size], -1)
    return image, corner_uv


def encode_glb(
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    *,
    texture: Texture | None = None,
) -> bytes:
    """The mesh as the bytes of one binary glTF 2.0 file; see :func:`write_glb`."""
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    _check(vertices, faces, texture)
    look = _look(texture, faces)
    normals = smooth_normals(vertices, faces)
    if look.per_corner:
        vertices, normals, faces = vertices[faces.ravel()], normals[faces.ravel()], np.arange(faces.size).reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, faces, vertex_normals=normals, visual=look.visual, process=False, validate=False)
    if look.colours is not None:
        linear = _linear_from_srgb(np.clip(look.colours, 0, 1))
        mesh.vertex_attributes[_FLOAT_COLOUR] = linear.astype(np.float32)
    finish = functools.partial(_finish_tree, sampler=look.sampler)
    return export_glb(mesh.scene(), include_normals=True, tree_postprocessor=finish)


def write_glb(
    path: str | Path,
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    *,
    texture: Texture | None = None,
) -> None:
    """Write a mesh as binary glTF, which Blender, three.js and ``<model-viewer>`` open.

    The material is matt (metallic 0, roughness 1) and seen from both sides; normals are smooth. Colours are
    taken as sRGB, as image files store them.

    Args:
      path: ends in ``.glb``.
      vertices: world space, which has glTF's axes already.
      faces: counter-clockwise from outside.
      texture: colours in [0, 1], leading axis 1. Texels on faces are laid out by :func:`bake_atlas`. Colours of
        vertices and corners are blended by glTF linearly in light, not in sRGB, so the inside of a face can differ
        slightly from the renderer.

    Raises:
      ValueError: the texture does not fit the mesh, an index is out of range or a number is not finite.
    """
    write_bytes(path, encode_glb(vertices, faces, texture=texture))


def encode_textured_glb(mesh: TexturedMesh, *, name: str = "mesh", extras: dict | None = None) -> bytes:
    """A mesh with texture coordinates as the bytes of one GLB; vertices come twice on the seam only.

    Normals are smooth and agree across the seam. A watertight mesh is seen from outside alone.

    Args:
      mesh: to write.
      name: of the mesh and its material, as modelling programs show it.
      extras: what JSON can hold, stored as ``extras`` of the mesh; Blender shows it as custom properties.
    """
    normals = smooth_normals(mesh.vertices, mesh.faces)[mesh.source]
    material = _material(mesh.image, name=name, double_sided=not mesh.is_closed)
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    flat = trimesh.Trimesh(
        mesh.vertices[mesh.source], mesh.uv_faces, vertex_normals=normals, visual=visual, process=False, validate=False
    )

    def finish(tree: dict) -> None:
        _finish_tree(tree, _MIP_SAMPLER)
        tree["meshes"][0]["name"] = name
        if extras:
            tree["meshes"][0]["extras"] = extras

    scene = trimesh.Scene()
    scene.add_geometry(flat, node_name=name, geom_name=name)
    return export_glb(scene, include_normals=True, tree_postprocessor=finish)


class _Look(NamedTuple):
    """What a texture is in glTF.

    Args:
      visual: material and texture coordinates, or None for none.
      colours: of the vertices, sRGB, or None.
      per_corner: whether every corner of every face is a vertex of its own.
      sampler: how a picture is filtered.
    """

    visual: trimesh.visual.TextureVisuals | None = None
    colours: Float[np.ndarray, "n 3"] | None = None
    per_corner: bool = False
    sampler: dict[str, int] = _SAMPLER


def _look(texture: Texture | None, faces: Int[np.ndarray, "f 3"]) -> _Look:
    """Each kind of texture as glTF has it."""
    if texture is None:
        return _Look()
    plain = trimesh.visual.TextureVisuals(material=_material(None))
    if isinstance(texture, VertexColours):
        return _Look(plain, np.asarray(texture.values[0], np.float64))
    if isinstance(texture, CornerColours):
        return _Look(plain, np.asarray(texture.values[0], np.float64).reshape(-1, 3), per_corner=True)
    if isinstance(texture, FaceTexels):
        (image, uv), sampler = bake_atlas(texture.values[0]), _SAMPLER
    else:
        image = np.round(np.clip(np.asarray(texture.image[0], np.float64), 0, 1) * 255).astype(np.uint8)
        uv = np.asarray(texture.uv if np.ndim(texture.uv) == 3 else texture.uv[0], np.float64)
        sampler = _SAMPLER if texture.max_level == 0 else _MIP_SAMPLER
        sampler = sampler | _REPEAT if texture.wrap == "repeat" else sampler
    visual = trimesh.visual.TextureVisuals(uv=uv.reshape(-1, 2), material=_material(image))
    return _Look(visual, per_corner=True, sampler=sampler)


def _material(
    image: np.ndarray | None, *, name: str = "texels", double_sided: bool = True
) -> trimesh.visual.material.PBRMaterial:
    texture = None if image is None else Image.fromarray(image)
    if texture is not None:
        texture.format = "PNG"  # what trimesh is to encode it as
    return trimesh.visual.material.PBRMaterial(
        name=name, baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=double_sided
    )


def _finish_tree(tree: dict, sampler: dict[str, int] = _SAMPLER) -> None:
    """What trimesh leaves out: filters of the texture, vertex colours of more than eight bits, what buffers are for."""
    if "textures" in tree:
        tree["samplers"] = [dict(sampler)]
        for texture in tree["textures"]:
            texture["sampler"] = 0
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            if _FLOAT_COLOUR in primitive["attributes"]:
                primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop(_FLOAT_COLOUR)
            for accessor, target in [(primitive["indices"], _INDICES)] + [
                (accessor, _VERTICES) for accessor in primitive["attributes"].values()
            ]:
                tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]["target"] = target


def _linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, the transfer function of glTF's textures; its vertex colours are linear."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _check(vertices, faces, texture: Texture | None) -> None:
    if len(faces) == 0:
        raise ValueError("faces: the mesh is empty, nothing to write.")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices: some are not finite; did the optimisation diverge?")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces: indices must lie in [0, {len(vertices)}), got {faces.min()} to {faces.max()}.")
    if texture is not None:
        check_texture(texture, 1, len(vertices), len(faces))
