"""Mesh files of the common formats as ``SourceMesh``."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float

from ast_jax.data.ac3d import load_ac3d
from ast_jax.data.images import image_to_array
from ast_jax.data.mesh_files.gltf import load_gltf
from ast_jax.data.source_mesh import WHITE, Material, SourceMesh

AC3D_SUFFIXES = (".ac", ".acc")
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".dae", *AC3D_SUFFIXES)


@dataclass(frozen=True)
class LazyMesh:
    """A mesh that is read only when it is needed.

    Args:
      object_id: unique name, usable as a file name.
      load: gives the mesh; raises ValueError, naming the file, where that fails.
    """

    object_id: str
    load: Callable[[], SourceMesh]


def load_mesh(path: str | Path) -> SourceMesh:
    """Read OBJ, GLB, glTF, PLY, OFF, STL, DAE or AC3D: all parts of the scene as one mesh.

    Textures, flat colours and vertex colours are kept.

    Returns:
      The mesh in the axes and the unit of the file; ``object_id`` is the stem of the file name.

    Raises:
      ValueError: missing, unreadable, no faces, or a coordinate not finite; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of mesh file, expected one of {', '.join(SUFFIXES)}.")
    suffix = path.suffix.lower()
    if suffix in (".glb", ".gltf"):
        mesh = load_gltf(path)
    else:
        mesh = load_ac3d(path) if suffix in AC3D_SUFFIXES else _load_with_trimesh(path)
    if not np.isfinite(mesh.vertices).all():
        raise ValueError(f"{path}: a vertex has a coordinate that is not finite (NaN or infinity).")
    return mesh.replace(object_id=safe_name(path.stem), provenance={"path": path.name})


def find_meshes(folder: str | Path) -> list[Path]:
    """All mesh files below a folder, sorted by path.

    Raises:
      ValueError: no such folder, or nothing in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise ValueError(f"{folder}: no mesh file in it; looked for {', '.join(SUFFIXES)}.")
    return paths


def scan_folder(folder: str | Path) -> list[LazyMesh]:
    """Every mesh file below a folder; the object id is the path below the folder with ``__`` for ``/``.

    Raises:
      ValueError: no such folder, nothing in it, or two files whose ids agree.
    """
    items = {}
    for path in find_meshes(folder):
        relative = path.relative_to(folder)
        object_id = safe_name("__".join(relative.with_suffix("").parts))
        if object_id in items:  # chair.obj beside chair.ply
            object_id = safe_name("__".join(relative.parts))
        if object_id in items:
            raise ValueError(f"{path}: another file gives the object id {object_id!r} too; rename one.")
        items[object_id] = LazyMesh(object_id, lambda path=path, name=object_id: _load_as(path, name))
    return list(items.values())


def safe_name(text: str) -> str:
    """The text as a file name: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "object"


def _load_as(path: Path, object_id: str) -> SourceMesh:
    return load_mesh(path).replace(object_id=object_id)


def _load_with_trimesh(path: Path) -> SourceMesh:
    try:
        scene = trimesh.load_scene(path, process=False)
        parts = [part for part in scene.dump(concatenate=False) if isinstance(part, trimesh.Trimesh)]
    except Exception as error:  # each of trimesh's readers raises what it likes
        raise ValueError(f"{path}: cannot be read as a mesh ({type(error).__name__}: {error}).") from error
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{path}: no faces in it.")
    return join_parts(path.stem, parts)


def join_parts(object_id: str, parts: list[trimesh.Trimesh]) -> SourceMesh:
    """Parts of a trimesh scene, each already in world space, as one mesh with one material per part."""
    materials = [_material(part) for part in parts]
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    has_image = any(material.image is not None for material in materials)
    any_coloured = any(_has_colours(part) for part in parts)
    return SourceMesh(
        object_id=object_id,
        vertices=np.concatenate([np.asarray(part.vertices, np.float64) for part in parts]),
        faces=np.concatenate([part.faces + s for part, s in zip(parts, starts)]).astype(np.int32),
        materials=tuple(materials),
        face_material=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.faces) for part in parts]),
        corner_uv=np.concatenate([_corner_uv(part) for part in parts]) if has_image else None,
        corner_colours=np.concatenate([_corner_colours(part) for part in parts]) if any_coloured else None,
    )


def _has_colours(part: trimesh.Trimesh) -> bool:
    return part.visual.kind in ("vertex", "face")


def _corner_colours(part: trimesh.Trimesh) -> Float[np.ndarray, "f 3 3"]:
    if not _has_colours(part):
        return np.ones((len(part.faces), 3, 3), np.float32)
    if part.visual.kind == "face":
        colours = np.repeat(np.asarray(part.visual.face_colors)[:, None], 3, axis=1)
    else:
        colours = np.asarray(part.visual.vertex_colors)[part.faces]
    return colours[..., :3].astype(np.float32) / np.float32(255)


def _corner_uv(part: trimesh.Trimesh) -> Float[np.ndarray, "f 3 2"]:
    uv = getattr(part.visual, "uv", None)
    if uv is None or len(uv) != len(part.vertices):
        return np.zeros((len(part.faces), 3, 2), np.float32)
    return np.asarray(uv, np.float32)[part.faces]


def _material(part: trimesh.Trimesh) -> Material:
    """Flat colour, image and opacity of one part."""
    if _has_colours(part):
        return Material(WHITE)
    source = getattr(part.visual, "material", None)
    if source is None:
        return Material()
    if isinstance(source, trimesh.visual.material.PBRMaterial):
        factor = _unit_rgba(source.baseColorFactor)
        opacity = factor[3] if source.alphaMode == "BLEND" else 1.0
        image = source.baseColorTexture
    else:
        factor = _unit_rgba(source.diffuse)
        opacity = _mtl_opacity(source.kwargs, factor[3])
        image = source.image
    if image is None or getattr(part.visual, "uv", None) is None:
        return Material(tuple(factor[:3]), None, opacity)
    array = image_to_array(image)
    if isinstance(source, trimesh.visual.material.PBRMaterial):  # glTF multiplies the two; MTL's image replaces Kd
        array = np.concatenate([(array[..., :3] * factor[:3]).round().astype(np.uint8), array[..., 3:]], axis=-1)
    return Material(WHITE, array, opacity)


def _unit_rgba(colour) -> list[float]:
    if colour is None:
        return [1.0, 1.0, 1.0, 1.0]
    colour = np.asarray(colour)
    values = colour / 255.0 if colour.dtype.kind in "iu" else colour
    return [float(v) for v in np.clip(values, 0, 1)] + [1.0] * (4 - len(colour))


def _mtl_opacity(entries: dict, default: float) -> float:
    """``d`` is opacity, ``Tr`` its complement; ``d`` wins."""
    for key, sign, offset in (("d", 1.0, 0.0), ("tr", -1.0, 1.0)):
        try:
            return offset + sign * float(entries[key][-1])
        except (KeyError, ValueError, IndexError, TypeError):
            continue
    return default
