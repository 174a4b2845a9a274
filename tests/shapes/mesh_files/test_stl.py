"""STL files written by hand: the text form, the binary one, and what is mistaken for the other."""

import numpy as np
import pytest

from ast_jax.shapes.meshes import load_mesh

FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"


def binary(header: bytes, colours: list[int]) -> bytes:
    facet = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], "<f4").tobytes()
    facets = b"".join(facet + np.uint16(colour).tobytes() for colour in colours)
    return header.ljust(80) + np.uint32(len(colours)).tobytes() + facets


def load(folder, content: bytes):
    (folder / "thing.stl").write_bytes(content)
    return load_mesh(folder / "thing.stl")


@pytest.mark.parametrize(
    "content",
    [
        f"solid a\n{FACET}endsolid a\n".encode(),
        f"\ufeffsolid a\n{FACET}endsolid a\n".encode(),
        f"  SOLID\n{FACET.upper()}ENDSOLID\n".encode().replace(b"\n", b"\r\n"),
        binary(b"made by hand", [0]),
        binary(b"solid made by hand", [0]),
        binary(b"made by hand", [0]) + b"rest",
    ],
)
def test_both_forms(tmp_path, content):
    mesh = load(tmp_path, content)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], [[(0, 0, 0), (1, 0, 0), (0, 1, 0)]])
    assert mesh.corner_colours is None


def test_several_solids_are_one_mesh(tmp_path):
    assert len(load(tmp_path, f"solid a\n{FACET}endsolid a\nsolid b\n{FACET}endsolid b\n".encode()).faces) == 2


def test_colours_of_facets(tmp_path):
    # VisCAM: bit 15 says that there is a colour, blue is lowest. Magics: it says that there is none, red is lowest.
    viscam = load(tmp_path, binary(b"", [0x8000 | 31 << 10, 0x8000 | 31]))
    np.testing.assert_array_equal(viscam.corner_colours[:, 0], [(1, 0, 0), (0, 0, 1)])
    magics = load(tmp_path, binary(b"COLOR=" + bytes((0, 255, 0, 255)), [31, 31 << 10, 0x8000]))
    np.testing.assert_array_equal(magics.corner_colours[:, 0], [(1, 0, 0), (0, 0, 1), (0, 1, 0)])
    some = load(tmp_path, binary(b"", [0x8000 | 31 << 10, 0]))
    np.testing.assert_allclose(some.corner_colours[:, 0], [(1, 0, 0), (0.7, 0.7, 0.7)])
    black = load(tmp_path, binary(b"COLOR=" + bytes((0, 255, 0, 255)), [31, 0]))
    np.testing.assert_array_equal(black.corner_colours[:, 0], [(1, 0, 0), (0, 0, 0)])
    whole = load(tmp_path, binary(b"COLOR=" + bytes((0, 255, 0, 255)), [0, 0]))
    np.testing.assert_array_equal(whole.corner_colours[:, 0], [(0, 1, 0), (0, 1, 0)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"solid a\nendsolid a\n",
        f"solid a\n{FACET.replace('vertex 0 1 0', '')}endsolid\n".encode(),
        f"solid a\n{FACET.replace('0 1 0', '0,5 1 0')}endsolid\n".encode(),
        binary(b"", [0, 0])[:-7],
        binary(b"", [])[:80] + b"\xff\xff\xff\xff",
        binary(b"", []),
        binary(b"", [0]).replace(np.float32(1).tobytes(), np.float32(np.nan).tobytes()),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content):
    with pytest.raises(ValueError, match="thing.stl: "):
        load(tmp_path, content)
