"""AC3D files written by hand, read back."""

import numpy as np
import pytest
from PIL import Image

from ast_jax.shapes.ac3d import load_ac3d

HEADER = """AC3Db
MATERIAL "paint, dull" rgb 0.25 0.5 0.75  amb 1 1 1  emis 0 0 0  spec 0.5 0.5 0.5  shi 10  trans 0
MATERIAL "glass" rgb 1 1 1  amb 1 1 1  emis 0 0 0  spec 0.5 0.5 0.5  shi 10  trans 0.75
OBJECT world
"""
QUAD = "numvert 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
CORNERS = "0 0 0\n1 1 0\n2 1 1\n3 0 1\n"


def surface(flags: str, corners: str, material: int = 0) -> str:
    return f"SURF {flags}\nmat {material}\nrefs {corners.count(chr(10))}\n{corners}"


def poly(body: str, surfaces: list[str], kids: str = "kids 0\n") -> str:
    return f"OBJECT poly\n{body}{QUAD}numsurf {len(surfaces)}\n{''.join(surfaces)}{kids}"


def write(tmp_path, text: str, name: str = "thing.ac"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_convex_polygon_is_cut_into_a_fan_with_flat_colours(tmp_path):
    mesh = load_ac3d(write(tmp_path, HEADER + "kids 1\n" + poly("", [surface("0x20", CORNERS, 1)])))
    assert mesh.object_id == "thing"
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert mesh.materials[0].colour == (1.0, 1.0, 1.0) and mesh.materials[0].opacity == 0.25
    assert mesh.corner_uv is None


def test_blank_lines_among_rows_are_no_rows(tmp_path):
    """FlightGear's M18B_Dromader.ac has one before the first corner of a surface."""
    plain = HEADER + "kids 1\n" + poly("", [surface("0x20", CORNERS, 1)])
    blank = plain.replace("refs 4\n", "refs 4\n\n").replace("1 1 0\n0 1 0", "1 1 0\n  \n0 1 0")
    assert blank.count("\n") == plain.count("\n") + 2
    expected, mesh = load_ac3d(write(tmp_path, plain)), load_ac3d(write(tmp_path, blank, "blank.ac"))
    np.testing.assert_array_equal(mesh.faces, expected.faces)
    np.testing.assert_array_equal(mesh.vertices, expected.vertices)


def test_concave_polygon_has_its_own_area(tmp_path):
    arrow = "numvert 4\n2 1 0\n0 2 0\n0.7 1 0\n0 0 0\n"
    text = HEADER + "kids 1\n" + poly("", [surface("0x20", CORNERS)]).replace(QUAD, arrow)
    mesh = load_ac3d(write(tmp_path, text))
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2, 1.3)  # shoelace


def test_materials_as_blocks(tmp_path):
    block = 'MAT "paint"\nrgb 1 0 0\namb 1 1 1\ntrans 0.5\nENDMAT\n'
    path = write(tmp_path, "AC3Dc\n" + block + "OBJECT world\nkids 1\n" + poly("", [surface("0x0", CORNERS)]))
    material = load_ac3d(path).materials[0]
    assert material.colour == (1, 0, 0) and material.opacity == 0.5


def test_textures_that_are_missing_or_broken_are_told(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"%!PS-Adobe-3.0 EPSF\n")
    path = write(tmp_path, HEADER + "kids 1\n" + poly('texture "bad.png"\n', [surface("0x0", CORNERS)]))
    mesh = load_ac3d(path)
    assert mesh.materials[0].colour == (0.25, 0.5, 0.75) and "bad.png" in mesh.notices[0]
    path = write(tmp_path, HEADER + "kids 1\n" + poly('texture "gone.png"\n', [surface("0x0", CORNERS)]))
    assert "gone.png" in load_ac3d(path).notices[0]


def test_strip_keeps_one_winding_and_lines_give_no_face(tmp_path):
    strip = "0 0 0\n1 0 0\n3 0 0\n2 0 0\n"
    surfaces = [surface("0x14", strip), surface("0x2", CORNERS), surface("0x11", CORNERS)]
    surfaces.append(surface("0x20", "0 0 0\n1 0 0\n0 0 0\n"))
    mesh = load_ac3d(write(tmp_path, HEADER + "kids 1\n" + poly("", surfaces), "strip.acc"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [3, 1, 2]])
    assert mesh.notices == ("2 lines are left out", "1 polygons without area are left out")
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_array_equal(normals, [[0, 0, 1], [0, 0, 1]])


def test_what_ac3d_shows_otherwise_is_told(tmp_path):
    """The guide to the format of 2017: ``subdiv`` is the level of subdivision, ``hidden`` takes an object from view."""
    body = [surface("0x20", CORNERS)]
    plain = load_ac3d(write(tmp_path, HEADER + "kids 1\n" + poly("subdiv 0\n", body)))
    assert plain.notices == ()
    mesh = load_ac3d(write(tmp_path, HEADER + "kids 2\n" + poly("subdiv 2\nhidden\n", body) + poly("subdiv 1\n", body)))
    np.testing.assert_array_equal(mesh.vertices[:4], plain.vertices)
    smooth, hidden = mesh.notices
    assert smooth.startswith("2 objects are to be subdivided") and hidden.startswith("1 objects are marked as hidden")


def test_frames_accumulate_down_the_tree(tmp_path):
    turn = "rot 0 0 -1 0 1 0 1 0 0\n"  # row vectors: +x becomes -z
    child = poly("loc 0 0 5\n", [surface("0x0", CORNERS)])
    group = f"OBJECT group\nloc 10 0 0\n{turn}kids 1\n{child}"
    mesh = load_ac3d(write(tmp_path, HEADER + "kids 1\n" + group))
    # (x, y, 5) turns to (5, y, -x), then moves by 10 along x.
    np.testing.assert_allclose(mesh.vertices, [[15, 0, 0], [15, 0, -1], [15, 1, -1], [15, 1, 0]], atol=1e-12)


def test_texture_is_found_in_the_given_folder_first_in_any_case(tmp_path):
    livery = tmp_path / "livery"
    livery.mkdir()
    Image.new("RGB", (4, 2), (255, 0, 0)).save(tmp_path / "skin.png")
    Image.new("RGB", (4, 2), (0, 0, 255)).save(livery / "SKIN.PNG")
    texture = 'texture "C:\\\\art\\\\skin.png"\ntexture "shadow.png"\ntexrep 2 3\ntexoff 0.5 0\n'
    body = 'name "hull"\ndata 5\nkids !\n' + texture
    path = write(tmp_path, HEADER + "kids 1\n" + poly(body, [surface("0x0", CORNERS)]))
    assert tuple(load_ac3d(path).materials[0].image[0, 0]) == (255, 0, 0)
    mesh = load_ac3d(path, texture_folders=(livery,))
    assert tuple(mesh.materials[0].image[0, 0]) == (0, 0, 255)
    np.testing.assert_allclose(mesh.corner_uv[0], [[0.5, 0], [2.5, 0], [2.5, 3]])


def test_parts_are_chosen_by_name(tmp_path):
    parts = poly('name "hull"\n', [surface("0x0", CORNERS)]) + poly('name "halo"\n', [surface("0x0", CORNERS, 1)])
    path = write(tmp_path, HEADER + "kids 2\n" + parts)
    assert len(load_ac3d(path).faces) == 4
    assert len(load_ac3d(path, keep_part=lambda part: part.name != "halo").faces) == 2


def test_one_child_too_few_at_the_end_is_forgiven(tmp_path):
    path = write(tmp_path, HEADER + "kids 2\n" + poly("", [surface("0x0", CORNERS)]) + "\n\n")
    mesh = load_ac3d(path)
    assert len(mesh.faces) == 2
    assert mesh.notices == ("1 objects are declared (kids), and the file ends before them",)


def test_an_object_of_lines_alone_is_told(tmp_path):
    line = poly("", [surface("0x22", CORNERS), surface("0x21", CORNERS)])
    mesh = load_ac3d(write(tmp_path, HEADER + "kids 2\n" + poly("", [surface("0x0", CORNERS)]) + line))
    assert len(mesh.faces) == 2 and mesh.notices == ("2 lines are left out",)


@pytest.mark.parametrize(
    "text",
    [
        "not a mesh\n",
        "",
        HEADER + "kids 0\n",
        HEADER + "kids 1\n" + poly("", [surface("0x0", "0 0 0\n1 0 0\n9 0 0\n")]),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS, 7)]),
        HEADER + "kids 1\nOBJECT poly\nnumvert 4\n0 0 0\n1 0 0\n",
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS)], kids=""),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS, -1)]),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS, 12345678901)]),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS, 10**30)]),
        HEADER + "kids 1\n" + poly("", [surface("0x0", "4000000000 0 0\n1 0 0\n2 0 0\n")]),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS)]).replace("numvert 4", "numvert 1000000000"),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS)]).replace("refs 4", "refs 1000000000"),
        HEADER + "kids 1\n" + poly("", [surface("0x0", CORNERS)]).replace("1 1 0", "1 nan 0"),
        HEADER + "kids 1\nOBJECT group\n" * 5000,
    ],
)
def test_bad_files_are_named(tmp_path, text):
    path = write(tmp_path, text, "broken.ac")
    with pytest.raises(ValueError, match="broken.ac"):
        load_ac3d(path)
