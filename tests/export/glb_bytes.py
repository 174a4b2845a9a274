"""GLB files straight from their bytes, with no reader in between that could mend them."""

import json
import struct

import numpy as np


def read_glb_json(data: bytes) -> dict:
    """The JSON chunk."""
    magic, version, length = struct.unpack("<III", data[:12])
    assert (magic, version, length) == (0x46546C67, 2, len(data))
    size, kind = struct.unpack("<II", data[12:20])
    assert kind == 0x4E4F534A
    return json.loads(data[20 : 20 + size])


def read_attribute(data: bytes, name: str) -> np.ndarray:
    """An attribute of three floats of the first mesh."""
    tree = read_glb_json(data)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]
    assert (accessor["componentType"], accessor["type"]) == (5126, "VEC3")
    view = tree["bufferViews"][accessor["bufferView"]]
    start = 20 + struct.unpack("<I", data[12:16])[0] + 8 + view["byteOffset"]
    return np.frombuffer(data[start : start + view["byteLength"]], "<f4").reshape(accessor["count"], 3)
