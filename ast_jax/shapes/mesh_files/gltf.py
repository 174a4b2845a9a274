"""glTF 2.0 and GLB as ``SourceMesh``: the scene that a viewer shows when it opens the file.

Source: Khronos, glTF 2.0 specification; the sections named in this and the neighbouring files are its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ast_jax.shapes.mesh_files.gltf_document import MESHOPT, Document, field, integer
from ast_jax.shapes.mesh_files.gltf_materials import (
    BASIS,
    PICTURE_EXTENSIONS,
    SPECULAR,
    TRANSFORM,
    Appearance,
    Materials,
)
from ast_jax.shapes.mesh_files.gltf_primitives import DRACO, Primitive, Primitives
from ast_jax.shapes.mesh_files.gltf_scene import INSTANCING, VISIBILITY, Draw, Scene
from ast_jax.shapes.mesh_files.gltf_skin import is_skinned, posed
from ast_jax.shapes.source_mesh import Material, SourceMesh
from ast_jax.shapes.srgb import srgb_from_linear

# Copies counted. Far more than any object needs; reading so many takes some 1.2 GB.
MAX_FACES = 5_000_000
# Pieces that are read one by one; 100,000 take some 20 seconds.
MAX_PIECES = 200_000
READ = {INSTANCING, VISIBILITY, SPECULAR, TRANSFORM, *PICTURE_EXTENSIONS, "KHR_mesh_quantization"}
# They say how light is reflected, not what colour a surface has, or nothing about the surface at all.
NO_MATTER = {
    *(f"KHR_materials_{name}" for name in (
        "anisotropy", "clearcoat", "diffuse_transmission", "dispersion", "emissive_strength", "ior", "iridescence",
        "sheen", "specular", "transmission", "unlit", "variants", "volume")),
    "KHR_animation_pointer", "KHR_lights_punctual", "KHR_xmp", "KHR_xmp_json_ld", "EXT_lights_image_based",
    "EXT_lights_ies", "MSFT_lod",
}  # fmt: skip
# Compressed copies of what may be in the file uncompressed too.
COPIES = {DRACO, *MESHOPT, BASIS}


@dataclass(frozen=True)
class Part:
    """Faces of one material in the world; arrays as those of ``SourceMesh``, or None."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    material: Material
    corner_uv: Float[np.ndarray, "f 3 2"] | None
    corner_colours: Float[np.ndarray, "f 3 n"] | None


def load_gltf(path: str | Path, root: str | Path | None = None) -> SourceMesh:
    """Read one ``.glb`` or ``.gltf`` with all that its scene shows as one mesh.

    Base colours are factor x texture x vertex colour in linear light. Animations, cameras, lights and all that is
    no base colour make no difference; what is missing or left out is told in ``notices``.

    Args:
      path: the file.
      root: folder in which the buffers and pictures that it names must lie; by default its own.

    Returns:
      The mesh in glTF's axes, which are ours, and its unit; ``object_id`` is the stem of the file name.

    Raises:
      ValueError: malformed, more than can be read, without faces, or in need of an extension that cannot be read; the
        message names the file.
    """
    path = Path(path)
    try:
        with np.errstate(all="ignore"):  # what overflows is not finite afterwards, and that is looked at
            return _load(path, path.parent if root is None else Path(root))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # JSON can be wrong in more ways than can be listed
        raise ValueError(f"{path}: not valid glTF ({type(error).__name__}: {error}).") from error


def _load(path: Path, root: Path) -> SourceMesh:
    document = Document(path, root)
    _check_extensions(document)
    scene, primitives, materials = Scene(document), Primitives(document), Materials(document)
    draws = scene.drawn()
    solids = {mesh: primitives.solid(mesh) for mesh in dict.fromkeys(draw.mesh for draw in draws)}
    _check_size(draws, solids, primitives)
    parts = []
    for draw in draws:
        weights = list(draw.weights) or primitives.default_weights(draw.mesh)
        for entry in solids[draw.mesh]:
            primitive = primitives.read(entry, weights)
            vertices, faces = _placed(document, scene, primitives, primitive, draw)
            parts.append(_painted(document, primitives, materials, primitive, weights, vertices, faces))
    if not parts:
        raise ValueError("; ".join(["no faces in the scene that it shows", *document.notices]) + ".")
    mesh = _joined(path.stem, parts)
    if not np.isfinite(mesh.vertices).all():
        raise ValueError("a vertex has a coordinate that is not finite (NaN or infinity).")
    return mesh.replace(notices=document.notices)


def _check_extensions(document: Document) -> None:
    """An extension that a file requires cannot be passed over; of the others it is told."""
    required, used = (
        [str(name)[:80] for name in field(document.tree, key, list, [])]
        for key in ("extensionsRequired", "extensionsUsed")
    )
    unknown = [name for name in dict.fromkeys(required) if name not in READ | NO_MATTER]
    if unknown:
        advice = "Export it without compression." if COPIES & set(unknown) else "Export it without."
        raise ValueError(f"it requires {', '.join(unknown)}, which cannot be read. {advice}")
    for name in dict.fromkeys(used):
        if name not in READ | NO_MATTER | COPIES:
            document.notice(f"left out what the extension {name} says")


def _check_size(draws: list[Draw], solids: dict[int, list[dict]], primitives: Primitives) -> None:
    """Before any memory is taken."""
    faces = {mesh: sum(primitives.num_faces(entry) for entry in entries) for mesh, entries in solids.items()}
    total = sum(faces[draw.mesh] * len(draw.matrices_world) for draw in draws)
    if total > MAX_FACES:
        raise ValueError(f"its scene shows {total:,} faces, copies counted; at most {MAX_FACES:,} can be read.")
    pieces = sum(len(solids[draw.mesh]) for draw in draws)
    if pieces > MAX_PIECES:
        raise ValueError(f"its scene shows {pieces:,} primitives; at most {MAX_PIECES:,} can be read. Join them.")


def _placed(
    document: Document, scene: Scene, primitives: Primitives, primitive: Primitive, draw: Draw
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Vertices in the world and faces whose front looks outside, one copy after the other."""
    count = len(draw.matrices_world)
    if draw.skin is not None and is_skinned(primitive):
        vertices, mirrored = posed(document, scene, primitives, primitive, draw.skin)
        turned = _turned(primitive.faces, mirrored[primitive.faces[:, 0]])
        return np.tile(vertices, (count, 1)), _copied(np.tile(turned, (count, 1, 1)), len(vertices))
    if draw.skin is not None:
        document.notice("left where its node is what has a skin and no joints")
    matrices = draw.matrices_world
    vertices = np.einsum("nij,vj->nvi", matrices[:, :3, :3], primitive.vertices) + matrices[:, None, :3, 3]
    mirrored = np.linalg.det(matrices[:, :3, :3]) < 0  # section 3.7.4
    turned = [_turned(primitive.faces, np.full(len(primitive.faces), flag)) for flag in (False, True)]
    faces = np.stack(turned)[mirrored.astype(int)]
    return vertices.reshape(-1, 3), _copied(faces, len(primitive.vertices))


def _turned(faces: Int[np.ndarray, "f 3"], mirrored: np.ndarray) -> Int[np.ndarray, "f 3"]:
    """Mirrored faces the other way round, so that they are counter-clockwise from outside again."""
    return np.where(mirrored[:, None], faces[:, [0, 2, 1]], faces)


def _copied(faces: Int[np.ndarray, "n f 3"], num_vertices: int) -> Int[np.ndarray, "m 3"]:
    """Faces of n copies whose vertices stand one after the other."""
    return (faces + num_vertices * np.arange(len(faces))[:, None, None]).reshape(-1, 3)


def _painted(
    document: Document,
    primitives: Primitives,
    materials: Materials,
    primitive: Primitive,
    weights: list[float],
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
) -> Part:
    appearance = materials.appearance(integer(primitive.entry, "material", None))
    own = faces % len(primitive.used)  # vertices of the one copy that the file has
    corner_uv = None
    if appearance.material.image is not None:
        name = f"TEXCOORD_{appearance.uv_set}"
        uv = primitives.attribute(primitive.entry, name, primitive.used, weights, "VEC2")
        if uv is None:
            document.notice(f"left out a texture where the surface lacks its coordinates {name}")
            appearance = appearance.without_image
        else:
            corner_uv = _in_picture(uv, appearance)[own]
    colours = primitives.attribute(primitive.entry, "COLOR_0", primitive.used, weights, "VEC3", "VEC4")
    if colours is not None:
        colours = np.clip(colours, 0, 1)
        colours[:, :3] = srgb_from_linear(colours[:, :3])
        colours = colours.astype(np.float32)[own]
    return Part(vertices, faces, appearance.material, corner_uv, colours)


def _in_picture(uv: Float[np.ndarray, "v 2"], appearance: Appearance) -> Float[np.ndarray, "v 2"]:
    """Ours have v up."""
    if appearance.uv_matrix is not None:
        uv = uv @ appearance.uv_matrix[:, :2].T + appearance.uv_matrix[:, 2]
    uv = np.clip(uv, -1e9, 1e9)  # float32 holds it
    return np.stack([uv[:, 0], 1 - uv[:, 1]], axis=-1).astype(np.float32)


def _joined(object_id: str, parts: list[Part]) -> SourceMesh:
    """All parts as one mesh: zeros where a part has no texture coordinates, white where it has no colours."""
    materials = {id(part.material): part.material for part in parts}
    place = {key: k for k, key in enumerate(materials)}
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    counts = [len(part.faces) for part in parts]
    channels = max((part.corner_colours.shape[-1] for part in parts if part.corner_colours is not None), default=0)
    return SourceMesh(
        object_id=object_id,
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts)]).astype(np.int32),
        materials=tuple(materials.values()),
        face_material=np.repeat(np.array([place[id(part.material)] for part in parts], np.int32), counts),
        corner_uv=_filled([part.corner_uv for part in parts], counts, 2, 0.0),
        corner_colours=_filled([part.corner_colours for part in parts], counts, channels, 1.0),
        mix_linear=True,
    )


def _filled(arrays: list[np.ndarray | None], counts: list[int], channels: int, value: float) -> np.ndarray | None:
    """Corner values of all faces, ``value`` where a part or a channel has none; None where none has any."""
    if all(array is None for array in arrays):
        return None
    filled = np.full((sum(counts), 3, channels), value, np.float32)
    for array, stop, count in zip(arrays, np.cumsum(counts), counts):
        if array is not None:
            filled[stop - count : stop, :, : array.shape[-1]] = array
    return filled
