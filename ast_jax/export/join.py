"""Several binary glTF files as one."""

import json
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_JSON, _BIN = 0x4E4F534A, 0x004E4942
# What each kind of thing refers to by number: key of the thing -> kind of what is meant. Texture infos are found by
# their key "index" wherever they stand in a material.
_REFERENCES = {
    "bufferViews": {"buffer": "buffers"},
    "accessors": {"bufferView": "bufferViews"},
    "images": {"bufferView": "bufferViews"},
    "textures": {"source": "images", "sampler": "samplers"},
    "nodes": {"mesh": "meshes"},
}
_KINDS = ("bufferViews", "accessors", "samplers", "images", "textures", "materials", "meshes", "nodes")


def join_glb(parts: Sequence[tuple[str, bytes, Float[np.ndarray, "4 4"]]]) -> bytes:
    """One scene with a node for every file.

    Args:
      parts: name of the node, a file as ``encode_glb`` makes it (one buffer, no animation, skin or camera), and where
        it stands: column vectors, so its last column is the shift.

    Returns:
      a GLB.

    Source: glTF 2.0, sections 3.6 (buffers) and 4.4 (GLB).
    """
    whole: dict = {"asset": {"version": "2.0", "generator": "AST-JAX"}, "scene": 0, **{kind: [] for kind in _KINDS}}
    binary, roots = b"", []
    for name, content, matrix in parts:
        tree, chunk = _split(content)
        start = {kind: len(whole[kind]) for kind in _KINDS} | {"buffers": 0}
        for kind in _KINDS:
            whole[kind] += [_renumbered(kind, thing, start, len(binary)) for thing in tree.get(kind, [])]
        children = [start["nodes"] + k for k in tree["scenes"][tree.get("scene", 0)]["nodes"]]
        roots.append({"name": name, "children": children, "matrix": np.asarray(matrix, float).T.ravel().tolist()})
        binary += chunk
    first = len(whole["nodes"])
    whole["nodes"] += roots
    whole["scenes"] = [{"nodes": list(range(first, first + len(roots)))}]
    whole["buffers"] = [{"byteLength": len(binary)}]
    return _packed({key: value for key, value in whole.items() if value != []}, binary)


def _renumbered(kind: str, thing: dict, start: dict[str, int], offset: int) -> dict:
    """A thing of one file with the numbers that its references have in the joint one."""
    new = dict(thing)
    for key, meant in _REFERENCES.get(kind, {}).items():
        if key in new:
            new[key] += start[meant]
    if kind == "bufferViews":
        new["byteOffset"] = new.get("byteOffset", 0) + offset
    if kind == "nodes" and "children" in new:
        new["children"] = [start["nodes"] + child for child in new["children"]]
    if kind == "materials":
        new = _moved_textures(new, start["textures"])
    if kind == "meshes":
        new["primitives"] = [_moved_primitive(primitive, start) for primitive in new["primitives"]]
    return new


def _moved_textures(value, by: int):
    if isinstance(value, dict):
        return {k: v + by if k == "index" else _moved_textures(v, by) for k, v in value.items()}
    return value


def _moved_primitive(primitive: dict, start: dict[str, int]) -> dict:
    new = dict(primitive)
    new["attributes"] = {name: index + start["accessors"] for name, index in primitive["attributes"].items()}
    for key, meant in (("indices", "accessors"), ("material", "materials")):
        if key in new:
            new[key] += start[meant]
    return new


def _split(content: bytes) -> tuple[dict, bytes]:
    length = struct.unpack_from("<I", content, 12)[0]
    tree, rest = json.loads(content[20 : 20 + length]), content[20 + length :]
    size = struct.unpack_from("<I", rest)[0] if rest else 0
    return tree, rest[8 : 8 + size]


def _packed(tree: dict, binary: bytes) -> bytes:
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
