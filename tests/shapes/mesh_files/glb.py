"""Tiny glTF files for tests, byte by byte: no library in between that could mend or lose anything."""

import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


class Glb:
    """One mesh of one primitive, a triangle in the plane z = 0 that looks towards +z; change ``tree`` as you like."""

    def __init__(self, positions=TRIANGLE, indices=None, **attributes):
        self.binary = bytearray()
        self.tree: dict = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
        self.tree |= {"accessors": [], "bufferViews": []}
        self.primitive: dict = {"attributes": {"POSITION": self.accessor(positions)}}
        for name, value in attributes.items():
            self.primitive["attributes"][name] = value if isinstance(value, int) else self.accessor(value)
        if indices is not None:
            self.primitive["indices"] = self.accessor(indices)
        self.tree["meshes"] = [{"primitives": [self.primitive]}]

    def view(self, content: bytes, **more) -> int:
        self.binary += bytes(-len(self.binary) % 4)
        self.tree["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content), **more}
        )
        self.binary += content
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, array, **more) -> int:
        array = np.asarray(array)
        width = 1 if array.ndim == 1 else array.shape[1]
        entry = {"bufferView": self.view(array.tobytes()), "componentType": CODES[array.dtype.name]}
        return self.add("accessors", {**entry, "count": len(array), "type": TYPES[width], **more})

    def add(self, kind: str, entry: dict) -> int:
        self.tree.setdefault(kind, []).append(entry)
        return len(self.tree[kind]) - 1

    def attribute(self, name: str, array, **more) -> "Glb":
        self.primitive["attributes"][name] = self.accessor(array, **more)
        return self

    def picture(self, pixels, kind: str = "PNG") -> dict:
        """An entry of ``images``."""
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, kind)
        return {"bufferView": self.view(buffer.getvalue()), "mimeType": f"image/{kind.lower()}"}

    def material(self, pixels=None, sampler=None, info=None, factor=(1, 1, 1, 1), **more) -> "Glb":
        """Of the primitive; ``info`` goes into its texture info."""
        base: dict = {"baseColorFactor": list(factor)}
        if pixels is not None:
            texture = {"source": self.add("images", self.picture(pixels))}
            if sampler is not None:
                texture["sampler"] = self.add("samplers", sampler)
            base["baseColorTexture"] = {"index": self.add("textures", texture), **(info or {})}
        self.primitive["material"] = self.add("materials", {"pbrMetallicRoughness": base, **more})
        return self

    def encode(self) -> bytes:
        self.tree["buffers"] = self.tree.get("buffers", [{"byteLength": len(self.binary)}])
        text = json.dumps(self.tree).encode()
        return join_chunks(text, bytes(self.binary))

    def write(self, path: Path) -> Path:
        path.write_bytes(self.encode())
        return path


def join_chunks(text: bytes, binary: bytes) -> bytes:
    """GLB of its two chunks (section 4.4)."""
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
