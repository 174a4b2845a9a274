"""Mesh files of the common formats as ``SourceMesh``."""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ast_jax.files.names import id_of_path, printable
from ast_jax.shapes.ac3d import load_ac3d
from ast_jax.shapes.mesh_files.dae import load_dae
from ast_jax.shapes.mesh_files.gltf import load_gltf
from ast_jax.shapes.mesh_files.obj import load_obj
from ast_jax.shapes.mesh_files.off import load_off
from ast_jax.shapes.mesh_files.ply import load_ply
from ast_jax.shapes.mesh_files.polygon_mesh import MAX_FACES, check_vertices
from ast_jax.shapes.mesh_files.stl import load_stl
from ast_jax.shapes.source_mesh import SourceMesh

# suffix -> reader of a file, given the folder in which all that it names must lie
_READERS: dict[str, Callable[[Path, Path], SourceMesh]] = {
    ".obj": load_obj,
    ".glb": load_gltf,
    ".gltf": load_gltf,
    ".ply": load_ply,
    ".off": lambda path, root: load_off(path),
    ".stl": lambda path, root: load_stl(path),
    ".dae": load_dae,
    ".ac": lambda path, root: load_ac3d(path),
    ".acc": lambda path, root: load_ac3d(path),
}
SUFFIXES = tuple(_READERS)
# Meshes, scenes, solids, point clouds and archives that no reader takes: told, where a folder has them.
UNREAD = frozenset(
    ".fbx .blend .3ds .3mf .3dm .max .ma .mb .c4d .lwo .lws .skp .abc .usd .usda .usdc .usdz .stp .step .igs .iges"
    " .brep .sldprt .sldasm .ipt .dwg .dxf .jt .x3d .wrl .vrml .x .ms3d .md2 .md3 .md5mesh .smd .nif .b3d .pmd .pmx"
    " .ctm .drc .vtk .vtp .vtu .msh .mesh .vox .binvox .pcd .xyz .las .laz .splat .spz .zae .sh3f"
    " .zip .7z .rar .tar .tgz .gz .bz2 .xz .zst".split()
)
MAX_FILE_SIZE = 2 << 30
_NAMED = 5
# How files begin whose suffix says something else: for one clear message.
_BEGINNINGS = (
    (rb"glTF", "GLB", (".glb", ".gltf")),
    (rb"ply\s", "PLY", (".ply",)),
    (rb"AC3D", "AC3D", (".ac", ".acc")),
    (rb"(\xef\xbb\xbf)?\s*<\?xml|<COLLADA", "XML", (".dae",)),
    (rb"Kaydara FBX|; FBX", "FBX", ()),
    (rb"BLENDER|\x28\xb5\x2f\xfd", "Blender's or compressed", ()),
    (rb"ISO-10303-21", "STEP", ()),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive or compressed", ()),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", "a picture", ()),
    (rb"%PDF|%!PS", "a document", ()),
    (rb"<!DOCTYPE html|<html", "a web page", ()),
    (rb"version https://git-lfs", "a pointer of Git LFS (run git lfs pull)", ()),
)


@dataclass(frozen=True)
class LazyMesh:
    """A mesh that is read only when it is needed.

    Args:
      object_id: unique name, usable as a file name.
      load: gives the mesh; raises ValueError, naming the file, where that fails.
    """

    object_id: str
    load: Callable[[], SourceMesh]


def load_mesh(path: str | Path, root: str | Path | None = None) -> SourceMesh:
    """Read OBJ, GLB, glTF, PLY, OFF, STL, DAE or AC3D: all parts of the scene as one mesh.

    Textures, flat colours, and colours of vertices and faces are kept; polygons are cut into triangles. What the file
    declares and the mesh lacks is told in its ``notices``.

    Args:
      path: the file.
      root: folder in which the textures and libraries that it names must lie; by default its own.

    Returns:
      The mesh in the axes and the unit of the file (of DAE: +Y up, metres); ``object_id`` comes from the file's name.

    Raises:
      ValueError: missing, unreadable, no faces, or too large; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{printable(path)}: no such file.")
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ValueError(f"{printable(path)}: unknown kind of mesh file, expected one of {', '.join(SUFFIXES)}.")
    try:
        _check_content(path, suffix)
        with np.errstate(all="ignore"):  # what overflows is not finite afterwards, and that is looked at
            mesh = _READERS[suffix](path, path.parent if root is None else Path(root))
        check_vertices(str(path), mesh.vertices)
        if len(mesh.faces) > MAX_FACES:
            raise ValueError(f"{path}: more than {MAX_FACES:,} triangles; reduce the mesh first.")
    except ValueError as error:
        raise ValueError(printable(error)) from error
    except Exception as error:  # malformed in a way that no reader thought of, or more than the memory holds
        raise ValueError(f"{printable(path)}: cannot be read as a mesh ({type(error).__name__}: {error}).") from error
    return mesh.replace(object_id=id_of_path(path.stem), provenance={"path": printable(path.name)})


def _check_content(path: Path, suffix: str) -> None:
    """Raises a ValueError where a file is too large, empty, or begins as one of another kind does."""
    size = path.stat().st_size
    if size > MAX_FILE_SIZE:
        raise ValueError(f"{path}: {size >> 20} MiB, at most {MAX_FILE_SIZE >> 20} MiB can be read.")
    with open(path, "rb") as file:
        begin = file.read(64)
    if not size:
        raise ValueError(f"{path}: the file is empty.")
    for pattern, kind, suffixes in _BEGINNINGS:
        if suffix not in suffixes and re.match(pattern, begin, re.DOTALL | re.IGNORECASE):
            advice = f"rename it to {suffixes[0]}" if suffixes else "export it again"
            raise ValueError(f"{path}: its content is {kind}, not what {suffix} says; {advice}.")


def find_meshes(folder: str | Path) -> list[Path]:
    """All mesh files below a folder, sorted by path.

    Raises:
      ValueError: no such folder, or nothing in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and not _is_shadow(p))
    if not paths:
        reasons = [f"{folder}: no mesh file in it; looked for {', '.join(SUFFIXES)}", *left_out(folder)]
        raise ValueError("; ".join(reasons) + ".")
    return paths


def left_out(folder: str | Path) -> list[str]:
    """What :func:`find_meshes` does not take though it may hold a mesh: a line for each kind, counted and named."""
    kinds = defaultdict(list)
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in UNREAD and path.is_file():
            kinds[f"{path.suffix.lower()} files"].append(path)
        elif path.suffix.lower() in SUFFIXES and path.is_file() and _is_shadow(path):
            kinds["macOS shadow files (._ or __MACOSX)"].append(path)
        elif path.suffix.lower() in SUFFIXES and not path.is_file() and not path.is_dir():
            kinds["broken links or other things that are no files"].append(path)
    lines = []
    for kind, paths in kinds.items():
        names = [printable(path.relative_to(folder)) for path in paths[:_NAMED]]
        more = ", .." if len(paths) > _NAMED else ""
        lines.append(f"{len(paths)} {kind} are left out ({', '.join(names)}{more})")
    return lines


def _is_shadow(path: Path) -> bool:
    """What macOS puts into archives beside each file."""
    return path.name.startswith("._") or "__MACOSX" in path.parts


def scan_folder(folder: str | Path) -> list[LazyMesh]:
    """Every mesh file below a folder; the object id is the path below the folder with ``__`` for ``/``.

    Letters of every script stay. Where two ids would be one file, in another letter case too, the later path (chair.ply
    after chair.obj) keeps its suffix, or else gets a number made of its name.

    Raises:
      ValueError: no such folder, or nothing in it.
    """
    folder = Path(folder)
    items, taken = [], set()
    for path in find_meshes(folder):
        relative = path.relative_to(folder)
        object_id = id_of_path("__".join(relative.with_suffix("").parts), "__".join(relative.parts), taken=taken)
        items.append(LazyMesh(object_id, lambda path=path, name=object_id: _load_as(path, name, folder)))
    return items


def _load_as(path: Path, object_id: str, root: Path) -> SourceMesh:
    return load_mesh(path, root).replace(object_id=object_id)
