"""Whatever is done to a file, its reader gives a mesh of sense or one clear error, soon and in little memory."""

import re
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ast_jax.shapes.meshes import load_mesh
from ast_jax.shapes.pmd import read_pmd
from tests.files.mutations import memory_folder, try_each

OBJ = b"""mtllib m.mtl
v 0 0 0 1 0 0
v 1 0 0 1 0 0
v 1 1 0 1 0 0
v 0.2 0.3 0 1 0 0
vt 0 0
vt 1 0
vn 0 0 1
usemtl a
f 1/1/1 2/2/1 3/1/1 4/2/1
f -4//1 -3//1 \\
 -2//1
l 1 2
usemtl b
f 1 2 3
"""
MTL = b"newmtl a\nKd 0.5 0.5 1\nmap_Kd -s 1 2 -o 0.5 -clamp on gone.png\nd 0.5\nnewmtl b\nKd 128 0 0\nTr 0.5\n"
PLY = b"""ply
format FORMAT 1.0
comment TextureFile gone.png
element vertex 4
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 2
property list uchar int vertex_indices
property list uchar float texcoord
property int texnumber
element tristrips 1
property list int int vertex_indices
end_header
"""
PLY_ROWS = b"0 0 0 1 2 3\n1 0 0 1 2 3\n1 1 0 1 2 3\n0.2 0.3 0 1 2 3\n"
PLY_ROWS += b"4 0 1 2 3 8 0 0 1 0 1 1 0 1 0\n3 0 1 2 0 0\n5 0 1 2 -1 3\n"
OFF_POINTS = (b"0 0 0", b"1 0 0", b"1 1 0", b".2 .3 0")
OFF = b"STCNOFF # all\n4 2 0\n" + b"".join(b"%s 0 0 1 255 0 0 255 0.5 0.5\n" % point for point in OFF_POINTS)
OFF += b"4 0 1 2 3 255 0 0\n3 0 1 2 1\n"
STL = b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
AC3D = b"""AC3Db
MATERIAL "m" rgb 1 0.5 1 amb 1 1 1 emis 0 0 0 spec 0 0 0 shi 0 trans 0
OBJECT world
kids 1
OBJECT poly
name "p"
texture "gone.png"
texrep 2 2
loc 1 2 3
rot 1 0 0 0 1 0 0 0 1
numvert 4
0 0 0
1 0 0
1 1 0
0.2 0.3 0
numsurf 2
SURF 0x20
mat 0
refs 4
0 0 0
1 0 1
2 1 0
3 0 0
SURF 0x4
mat 0
refs 3
0 0 0
1 0 1
2 1 0
kids 0
"""
DAE = b"""<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="0.01"/><up_axis>Z_UP</up_axis></asset>
<library_effects><effect id="e"><profile_COMMON><technique><phong><diffuse><color>1 0 0 1</color></diffuse>
<transparency><float>0.5</float></transparency></phong></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh><source id="p"><float_array>0 0 0 1 0 0 1 1 0 0.2 0.3 0</float_array>
<technique_common><accessor source="#pa" count="4" stride="3"/></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<polylist material="M"><input semantic="VERTEX" source="#v" offset="0"/><input semantic="COLOR" source="#p" offset="1"/>
<vcount>4 3</vcount><p>0 0 1 1 2 2 3 3 0 0 1 1 2 2</p></polylist>
<polygons material="M"><input semantic="VERTEX" source="#v" offset="0"/><ph><p>0 1 2 3</p><h>0 1 2</h></ph></polygons>
<tristrips material="M"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2 3</p></tristrips>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="S"><node id="n"><translate>1 2 3</translate><rotate>0 0 1 90</rotate>
<scale>-1 1 1</scale><instance_geometry url="#g"><bind_material><technique_common><instance_material symbol="M"
target="#m"/></technique_common></bind_material></instance_geometry></node>
<node><instance_node url="#n"/></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#S"/></scene></COLLADA>
"""


def binary_ply() -> bytes:
    """What ``PLY_ROWS`` says, little-endian."""
    lines = [line.split() for line in PLY_ROWS.splitlines()]
    body = b"".join(np.array(row[:3], "<f4").tobytes() + bytes(map(int, row[3:])) for row in lines[:4])
    for row, places in ((lines[4], 8), (lines[5], 0)):
        size = int(row[0])
        body += bytes([size]) + np.array(row[1 : size + 1], "<i4").tobytes() + bytes([places])
        body += np.array(row[size + 2 : size + 2 + places], "<f4").tobytes() + np.array(row[-1:], "<i4").tobytes()
    return PLY.replace(b"FORMAT", b"binary_little_endian") + body + np.array(lines[6], "<i4").tobytes()


FACET = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], "<f4").tobytes() + b"\x00\x80"
VERTEX = np.zeros(8, "<f4").tobytes() + bytes(4) + np.zeros(4, "<f4").tobytes()
PMD = b"PSMD" + np.array([4, 200, 3, 1], "<u4").tobytes() + 3 * VERTEX
PMD += np.array([1, 0], "<u2").tobytes() + np.array([0, 1, 2], "<u2").tobytes()
FILES = {
    "a.obj": OBJ,
    "m.mtl": MTL,
    "text.ply": PLY.replace(b"FORMAT", b"ascii") + PLY_ROWS,
    "binary.ply": binary_ply(),
    "a.off": OFF,
    "text.stl": STL,
    "binary.stl": b"COLOR=\1\2\3\4".ljust(80) + b"\2\0\0\0" + 2 * FACET,
    "a.dae": DAE,
    "a.ac": AC3D,
    "a.pmd": PMD,
}
WORDS = [b"-1", b"0", b"4", b"255", b"999999999", b"4294967295", b"12345678901", b"1" * 30, b"1e300", b"nan", b"-inf"]
WORDS += [b"", b"-", b"/", b"//", b"1/", b"1,5", b"\\\n", b"\n", b"\x00", b"\xff", b'"', b"<p>", b"#", b"\xef\xbb\xbf"]
SECONDS, BYTES = 5.0, 50e6


def mutated(content: bytes, seed: int) -> bytes:
    """A few numbers or words replaced, bytes changed, pieces left out or doubled, or the end cut off."""
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(content) + 1))
        kind = rng.integers(5)
        words = list(re.finditer(rb"[-+.\w]+", content))
        if kind < 2 and words:
            word = words[rng.integers(len(words))]
            content = content[: word.start()] + WORDS[rng.integers(len(WORDS))] + content[word.end() :]
        elif kind == 2:
            content = content[:place] + bytes([rng.integers(256)]) + content[place + 1 :]
        elif kind == 3:
            piece = content[place : place + int(rng.integers(1, 60))]
            content = content[:place] + piece * int(rng.integers(0, 3)) + content[place + len(piece) :]
        elif rng.random() < 0.3:
            content = content[:place]
    return content


def check(folder: Path, name: str, content: bytes) -> None:
    for other in ("a.obj", "m.mtl", name):
        (folder / other).write_bytes(content if other == name else FILES[other])
    path = folder / ("a.obj" if name == "m.mtl" else name)
    tracemalloc.start()
    start = time.process_time()
    try:
        mesh = read_pmd(content, str(path)) if path.suffix == ".pmd" else load_mesh(path)
        assert len(mesh.faces) and 0 <= mesh.faces.min() and mesh.faces.max() < len(mesh.vertices)
        assert path.suffix == ".pmd" or np.isfinite(mesh.vertices).all()
        assert len(mesh.face_material) == len(mesh.faces) and mesh.face_material.max() < len(mesh.materials)
        for corners in (mesh.corner_uv, mesh.corner_colours):
            assert corners is None or corners.shape[:2] == mesh.faces.shape
        assert mesh.corner_colours is None or 0 <= mesh.corner_colours.min() <= mesh.corner_colours.max() <= 1
    except ValueError as error:
        # "cannot be read as a mesh" is the net below the readers: what falls into it is a check that lacks.
        assert str(error).startswith(f"{path}: ") and "cannot be read as a mesh" not in str(error), error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - start < SECONDS and peak < BYTES


@pytest.mark.parametrize("name", FILES)
def test_the_files_themselves_are_right(tmp_path, name):
    (tmp_path / "a.obj").write_bytes(OBJ)
    (tmp_path / name).write_bytes(FILES[name])
    if name == "a.pmd":
        assert len(read_pmd(PMD, name).faces) == 1
    elif name != "m.mtl":
        assert len(load_mesh(tmp_path / name).faces) >= 1


@pytest.mark.parametrize(
    "examples", [pytest.param(300, id="300"), pytest.param(20_000, marks=pytest.mark.slow, id="20000")]
)
@pytest.mark.parametrize("name", FILES)
def test_mutations(name, examples):
    with memory_folder() as folder:
        try_each(lambda seed: check(folder, name, mutated(FILES[name], seed)), examples)
