"""One textured mesh as a file of any format that modellers open."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import trimesh
import trimesh.exchange.ply
import trimesh.exchange.stl

from ast_jax.export.gltf import encode_textured_glb
from ast_jax.export.textured_mesh import UP_AXES, TexturedMesh, encode_png, smooth_normals, vertex_colours
from ast_jax.export.usdz import encode_usdz
from ast_jax.near_match import choose


def encode_mesh(
    mesh: TexturedMesh, suffix: str, *, name: str = "mesh", extras: dict | None = None, up: str = "y"
) -> dict[str, bytes]:
    """The files of one mesh in one format: GLB, OBJ with ``NAME.mtl`` and ``NAME_texture.png``, PLY, STL or USDZ.

    All but GLB keep the positions welded, so that the mesh in the file is as watertight as it is here; GLB has one
    index for everything and repeats the vertices on the seam. PLY has colours of vertices, STL none.

    Args:
      mesh: to write.
      suffix: one of ``MESH_FORMATS``, with or without a dot.
      name: of the files, without suffix, and of the mesh within them.
      extras: what JSON can hold; goes into the GLB, the other formats have no place for it.
      up: ``y`` or ``z``, the axis that points up in the file. GLB knows +Y alone and keeps it.

    Returns:
      names of files and their contents, the mesh itself first; they belong into one folder.

    Raises:
      ValueError: an unknown suffix or axis; names the near match.
    """
    axes = UP_AXES[choose("up", up, UP_AXES)]
    suffix = choose("format", suffix.lower().removeprefix("."), MESH_FORMATS)
    if suffix == "glb":
        return {f"{name}.glb": encode_textured_glb(mesh, name=_inside(name), extras=extras)}
    mesh = replace(mesh, vertices=mesh.vertices @ axes.T)
    if suffix == "usdz":
        return {f"{name}.usdz": encode_usdz(mesh, up=up)}
    return _ENCODERS[suffix](mesh, name)


def _inside(name: str) -> str:
    """The name within the file, for which not all programs take blanks, and none bytes that are not UTF-8."""
    return "".join(letter if letter.isprintable() and not letter.isspace() else "_" for letter in name)


def _encode_obj(mesh: TexturedMesh, name: str) -> dict[str, bytes]:
    # The files beside it are named in text, which has to be UTF-8.
    label, beside = _inside(name), "".join("_" if "\ud800" <= letter <= "\udfff" else letter for letter in name)
    text = io.StringIO()
    text.write(f"mtllib {beside}.mtl\no {label}\n")
    for letter, rows in (("v", mesh.vertices), ("vt", mesh.uv), ("vn", smooth_normals(mesh.vertices, mesh.faces))):
        np.savetxt(text, rows, fmt=f"{letter}{' %.7g' * rows.shape[1]}")
    text.write(f"usemtl {label}\ns 1\n")
    corners = np.stack([mesh.faces, mesh.uv_faces, mesh.faces], -1) + 1
    np.savetxt(text, corners.reshape(-1, 9), fmt="f %d/%d/%d %d/%d/%d %d/%d/%d")
    material = f"newmtl {label}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {beside}_texture.png\n"
    return {
        f"{name}.obj": text.getvalue().encode(),
        f"{beside}.mtl": material.encode(),
        f"{beside}_texture.png": encode_png(mesh.image),
    }


def _encode_ply(mesh: TexturedMesh, name: str) -> dict[str, bytes]:
    solid = trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=smooth_normals(mesh.vertices, mesh.faces),
        vertex_colors=vertex_colours(mesh),
        process=False,
    )
    return {f"{name}.ply": trimesh.exchange.ply.export_ply(solid, vertex_normal=True)}


def _encode_stl(mesh: TexturedMesh, name: str) -> dict[str, bytes]:
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    return {f"{name}.stl": trimesh.exchange.stl.export_stl(solid)}


_ENCODERS: dict[str, Callable[[TexturedMesh, str], dict[str, bytes]]] = {
    "obj": _encode_obj,
    "stl": _encode_stl,
    "ply": _encode_ply,
}
MESH_FORMATS = ("glb", *_ENCODERS, "usdz")
