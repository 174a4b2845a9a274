"""OFF files written by hand; what they should give is said by Geomview's manual."""

import numpy as np
import pytest

from ast_jax.shapes.meshes import load_mesh

SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


def load(folder, text: str):
    (folder / "thing.off").write_text(text)
    return load_mesh(folder / "thing.off")


@pytest.mark.parametrize(
    "head", ["OFF\n4 1 0\n", "OFF 4 1 0\n", "OFF4 1 0\n", "# hi\nOFF # ho\n\n4 1 0 # n\n", "4 1 0\n", "off\n4 1 0\n"]
)
def test_headers(tmp_path, head):
    np.testing.assert_array_equal(load(tmp_path, f"{head}{SQUARE}4 0 1 2 3\n").faces, [[0, 1, 2], [0, 2, 3]])


def rows(*columns: str) -> str:
    return "".join(" ".join((place, *columns)) + "\n" for place in SQUARE.splitlines())


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("COFF", ("255 0 0 255",)),
        ("COFF", ("255 0 0",)),
        ("COFF", ("1.0 0.0 0.0 1.0",)),
        ("CNOFF", ("0 0 1", "1.0 0 0 1")),
        ("STCNOFF", ("0 0 1", "255 0 0 255", "0.5 0.5")),
        ("NCSTOFF", ("255 0 0 255", "0 0 1", "0.5 0.5")),  # MeshLab's order of both
        ("CSTOFF", ("1.0 0.0 0.0 1.0", "0.5 0.5")),
        ("OFF", ("255 0 0",)),
        ("COFF", ("255.0 0.0 0.0 255.0",)),
    ],
)
def test_colours_of_vertices(tmp_path, head, columns):
    mesh = load(tmp_path, f"{head}\n4 1 0\n{rows(*columns)}4 0 1 2 3\n")
    np.testing.assert_array_equal(mesh.corner_colours.reshape(-1, 3), [(1, 0, 0)] * 6)


@pytest.mark.parametrize("head", ["NOFF", "STNOFF"])
def test_normals_and_texture_coordinates_are_no_colours(tmp_path, head):
    mesh = load(tmp_path, f"{head}\n4 1 0\n{rows('0 0 1', *(['0.5 0.5'] if 'ST' in head else []))}4 0 1 2 3\n")
    assert mesh.corner_colours is None


@pytest.mark.parametrize("colour", ["255 0 0", "1.0 0 0", "1.0 0.0 0.0 0.5", "255 0 0 128"])
def test_colours_of_faces_end_with_their_line(tmp_path, colour):
    mesh = load(tmp_path, f"OFF\n4 2 0\n{SQUARE}3 0 1 2 {colour}\n3 0 2 3\n")
    np.testing.assert_array_equal(mesh.corner_colours[:, 0], [(1, 0, 0), (1, 1, 1)])
    assert mesh.materials[mesh.face_material[1]].colour == (0.7, 0.7, 0.7)


@pytest.mark.parametrize("beside", [("255 0", ""), ("255", ""), ("", "255 0"), ("", "7")])
def test_what_is_no_colour_is_told(tmp_path, beside):
    of_vertex, of_face = beside
    mesh = load(tmp_path, f"{'C' * bool(of_vertex)}OFF\n4 1 0\n{rows(of_vertex)}4 0 1 2 3 {of_face}\n")
    kind = "4 vertices" if of_vertex else "1 faces"
    assert mesh.corner_colours is None and len(mesh.notices) == 1 and mesh.notices[0].startswith(kind)


def test_colours_of_some_vertices_are_told(tmp_path):
    mesh = load(tmp_path, "OFF\n3 1 0\n0 0 0 255 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert mesh.corner_colours is None and "some vertices have a colour" in mesh.notices[0]


def test_each_row_says_by_its_numbers_what_they_mean(tmp_path):
    # Geomview: three or four whole numbers go from 0 to 255, as many others from 0 to 1.
    colours = ("255 0 0", "0.0 0.5 0.0", "1 1 1 255")
    faces = "".join(f"3 0 1 2 {colour}\n" for colour in colours)
    found = load(tmp_path, f"OFF\n4 3 0\n{SQUARE}{faces}").corner_colours[:, 0]
    np.testing.assert_allclose(found, [(1, 0, 0), (0, 0.5, 0), (1 / 255,) * 3], atol=1e-6)


def test_homogeneous_coordinates_and_concave_faces(tmp_path):
    mesh = load(tmp_path, "4OFF\n4 1 0\n4 2 0 2\n0 2 0 1\n1.4 2 0 2\n0 0 0 5\n4 0 1 2 3\n")
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2, 1.3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("OFF BINARY\n", "binary OFF"),
        (f"nOFF\n3\n4 1 0\n{SQUARE}4 0 1 2 3\n", "nOFF"),
        ("hello\n", "must begin with OFF"),
        ("OFF\n", "no numbers of vertices"),
        (f"OFF\n4 1000000000 0\n{SQUARE}", "cut short"),
        (f"OFF\n4 1 0\n{SQUARE}4 0 1 2\n", "fewer corners"),
        (f"OFF\n4 1 0\n{SQUARE}3 0 1 9\n", "vertex 9"),
        (f"OFF\n4 1 0\n{SQUARE}3 0 1 99999999999999999999\n", "malformed"),
        (f"OFF\n4 1 0\n{SQUARE.replace('1', '1,0')}3 0 1 2\n", "malformed"),
        (f"OFF\n4 0 0\n{SQUARE}", "no faces"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, reason):
    with pytest.raises(ValueError, match=f"thing.off: .*{reason}"):
        load(tmp_path, text)
