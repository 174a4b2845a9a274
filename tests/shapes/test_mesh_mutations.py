"""Every reader of meshes gets mutations of a good file: it answers with a mesh or a ValueError, within bounds."""

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ast_jax.shapes.meshes import load_mesh
from ast_jax.shapes.pmd import read_pmd
from tests.files.mutations import feed, memory_folder

AC3D = """AC3Db
MATERIAL "m" rgb 1 0 0 amb 1 1 1 emis 0 0 0 spec 0 0 0 shi 1 trans 0
OBJECT world
kids 1
OBJECT poly
name "box"
loc 1 2 3
numvert 4
0 0 0
1 0 0
1 1 0
0 1 1
numsurf 1
SURF 0x20
mat 0
refs 4
0 0 0
1 1 0
2 1 1
3 0 1
kids 0
"""
OBJ = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 1\nvt 0 0\nvt 1 1\nvn 0 0 1\nusemtl m\n"
OBJ += "f 1/1/1 2/2/1 3 4\nf -4 -3 -2\n"
OFF = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 1\n3 0 1 2 255 0 0\n4 0 1 2 3\n"


def pmd() -> bytes:
    """Three vertices without texture coordinates, one face, no bones."""
    vertex = struct.pack("<6f4B4f", *[0.5] * 6, *[255] * 4, *[0.0] * 4)
    body = struct.pack("<II", 3, 0) + vertex * 3 + struct.pack("<I3H", 1, 0, 1, 2) + struct.pack("<II", 0, 0)
    return b"PSMD" + struct.pack("<II", 4, len(body)) + body


def write(folder: Path, suffix: str) -> Path:
    path, box = folder / f"a{suffix}", trimesh.creation.box()
    texts = {".ac": AC3D, ".obj": OBJ, ".off": OFF}
    (folder / "a.mtl").write_text("newmtl m\nKd 1 0 0\n")
    if suffix in texts:
        path.write_text(texts[suffix])
    elif suffix == ".pmd":
        path.write_bytes(pmd())
    elif suffix == ".ascii.ply":
        path = folder / "a.ply"
        path.write_bytes(trimesh.exchange.ply.export_ply(box, encoding="ascii"))
    elif suffix == ".ascii.stl":
        path = folder / "a.stl"
        path.write_text(trimesh.exchange.stl.export_stl_ascii(box))
    else:
        box.visual.vertex_colors = np.arange(32).reshape(8, 4).astype(np.uint8)
        box.export(path)
    return path


SUFFIXES = [".obj", ".ply", ".ascii.ply", ".off", ".stl", ".ascii.stl", ".dae", ".ac", ".pmd"]


@pytest.mark.parametrize(
    "examples", [pytest.param(300, id="300"), pytest.param(20_000, marks=pytest.mark.slow, id="20000")]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mutated_meshes_are_read_or_refused(suffix, examples):
    if suffix == ".dae":
        pytest.importorskip("collada")
    with memory_folder() as folder:
        path = write(folder, suffix)
        read = (lambda: read_pmd(path.read_bytes(), str(path))) if suffix == ".pmd" else (lambda: load_mesh(path))
        assert feed([path], read, examples) > examples // 20
