"""Compiled meshes of 0 A.D., written here byte by byte."""

import struct

import numpy as np
import pytest

from ast_jax.shapes.pmd import read_pmd

CORNERS = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 2.0)]
FACES = [(0, 1, 2), (0, 3, 1)]


def write_pmd(num_uv: int = 2, version: int = 4, faces=FACES) -> bytes:
    rest = struct.pack("<2I", len(CORNERS), num_uv)
    for k, corner in enumerate(CORNERS):
        rest += struct.pack("<6f", *corner, 0.0, 0.0, 1.0)
        rest += b"".join(struct.pack("<2f", 0.25 * k + layer, 0.5) for layer in range(num_uv))
        rest += struct.pack("<4B4f", 255, 255, 255, 255, 1.0, 0.0, 0.0, 0.0)
    rest += struct.pack("<I", len(faces)) + b"".join(struct.pack("<3H", *face) for face in faces)
    rest += struct.pack("<2I", 0, 0)  # no bones, no props
    return b"PSMD" + struct.pack("<2I", version, len(rest)) + rest


def test_a_mesh_is_read_and_mirrored():
    mesh = read_pmd(write_pmd(), "hen.pmd")
    np.testing.assert_array_equal(mesh.vertices, np.array(CORNERS) * [-1, 1, 1])
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_allclose(mesh.corner_uv[1, :, 0], [0.0, 0.75, 0.25])  # of the first layer
    assert read_pmd(write_pmd(num_uv=0), "hen.pmd").corner_uv is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OBJ?" + bytes(40),
        write_pmd()[:60],
        write_pmd(version=3),
        write_pmd(faces=[]),
        write_pmd(faces=[(0, 1, 9)]),
    ],
)
def test_what_is_no_mesh_is_named(content):
    with pytest.raises(ValueError, match=r"hen\.pmd"):
        read_pmd(content, "hen.pmd")
