"""Reader of PMD files, the compiled meshes of the game engine Pyrogenesis (0 A.D.)."""

import struct

import numpy as np

from ast_jax.shapes.source_mesh import SourceMesh

MAGIC = b"PSMD"
VERSION = 4
# Little-endian: magic, version, size of the rest, vertices, texture coordinates per vertex.
HEADER = struct.Struct("<4s4I")
# The engine is left-handed with y up: mirrored in x the mesh is right-handed, its faces counter-clockwise from outside.
TO_RIGHT_HANDED = np.diag([-1.0, 1.0, 1.0])


def read_pmd(content: bytes, name: str) -> SourceMesh:
    """One mesh in its bind pose, right-handed, +Y up; skeleton and props are left out.

    Args:
      content: the whole file.
      name: of the file, for messages.

    Returns:
      The mesh, its texture coordinates of the first layer, one grey material; ``object_id`` is the name.

    Raises:
      ValueError: not such a file, of another version, cut short, or no faces; the message names the file.
    """
    if content[:4] != MAGIC:
        raise ValueError(f"{name}: not a PMD file, it must begin with {MAGIC.decode()}.")
    try:
        _, version, _, num_vertices, num_uv = HEADER.unpack_from(content)
        if version != VERSION:
            raise ValueError(f"version {version}, only {VERSION} can be read")
        vertices = np.frombuffer(content, _vertex_type(num_uv), num_vertices, HEADER.size)
        place = HEADER.size + vertices.nbytes
        (num_faces,) = struct.unpack_from("<I", content, place)
        faces = np.frombuffer(content, "<u2", 3 * num_faces, place + 4).reshape(-1, 3).astype(np.int32)
        if not len(faces) or faces.max() >= num_vertices:
            raise ValueError(f"{len(faces)} faces over {num_vertices} vertices")
    except (ValueError, struct.error) as error:
        raise ValueError(f"{name}: malformed PMD ({error}).") from error
    return SourceMesh(
        object_id=name,
        vertices=vertices["position"].astype(np.float64) @ TO_RIGHT_HANDED,
        faces=faces,
        face_material=np.zeros(len(faces), np.int32),
        corner_uv=vertices["uv"][:, 0].astype(np.float32)[faces] if num_uv else None,
    )


def _vertex_type(num_uv: int) -> np.dtype:
    """Position, normal, texture coordinates, then four bones and their weights."""
    return np.dtype(
        [
            ("position", "<f4", 3),
            ("normal", "<f4", 3),
            ("uv", "<f4", (num_uv, 2)),
            ("bones", "u1", 4),
            ("weights", "<f4", 4),
        ]
    )
