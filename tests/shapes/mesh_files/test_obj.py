"""OBJ and MTL files written by hand; what they should give is said by their specifications, or plain arithmetic."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.shapes.mesh_files.mtl import parse_texture
from ast_jax.shapes.meshes import load_mesh
from ast_jax.shapes.views import sample_colours

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
PLACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
TEXTURED = f"mtllib m.mtl\n{SQUARE}{PLACES}usemtl m\nf 1/1 2/2 3/3 4/4\n"


def write(folder: Path, obj: str | bytes, mtl: str | bytes | None = None, name: str = "thing.obj") -> Path:
    for path, text in ((folder / name, obj), (folder / "m.mtl", mtl)):
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def red(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 4), (*RED, 0)[: len(mode)]).save(path)


def colours(mesh) -> list[tuple]:
    """sRGB, 0 to 255, at the centres of the faces."""
    count = len(mesh.faces)
    found = sample_colours(mesh, np.arange(count), np.full((count, 3), 1 / 3))
    return [tuple(int(c) for c in row) for row in np.round(found * 255)]


def test_negative_indices_count_back_from_their_face(tmp_path):
    blocks = ""
    for k, place in enumerate((0.25, 0.75)):
        blocks += "".join(f"v {x + 3 * k} {y} 0\n" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1)))
        blocks += f"vt {place} 0.5\nf -4/-1 -3/-1 -2/-1 -1/-1\n"
    Image.fromarray(np.array([[RED, BLUE]], np.uint8).repeat(8, 0).repeat(8, 1)).save(tmp_path / "half.png")
    mesh = load_mesh(write(tmp_path, f"mtllib m.mtl\nusemtl m\n{blocks}", "newmtl m\nmap_Kd half.png\n"))
    assert mesh.vertices[mesh.faces[:2]].max() == 1 and mesh.vertices[mesh.faces[2:], 0].min() == 3
    assert colours(mesh) == [RED, RED, BLUE, BLUE]


@pytest.mark.parametrize("form", ["{0}", "{0}/{0}", "{0}//1", "{0}/{0}/1"])
def test_corners_of_every_form(tmp_path, form):
    face = " ".join(form.format(k) for k in (1, 2, 3, 4))
    mesh = load_mesh(write(tmp_path, f"{SQUARE}{PLACES}vn 0 0 1\nf {face} # a comment\n"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])


def test_mixed_forms_in_one_face_and_faces_before_their_vertices(tmp_path):
    mesh = load_mesh(write(tmp_path, f"f 1 2/2 3//1 4/4/\n{SQUARE}{PLACES}vn 0 0 1\n"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        ("f 0 1 2", "vertex 0; the first one is 1"),
        ("f 1 2 5", "vertex 5, but there are 4"),
        ("f 1 2 -5", "vertex -5"),
        ("f 1/1 2/9 3/1", "texture coordinate 9"),
        ("f 1/0 2/1 3/1", "texture coordinate 0"),
        ("f 1 2 4000000000", "4000000000"),
        ("f 1 2 99999999999999999999999", "not made of vertex numbers"),
        ("f 1 2 x", "not made of vertex numbers"),
        ("f 1 2 3.5", "not made of vertex numbers"),
        ("v 1,5 0 0\nf 1 2 3", "1,5 0 0"),
        ("v 1 0\nf 1 2 3", "fewer than three"),
        ("v nan 0 0\nf 1 2 5", "not finite"),
        ("v 1e300 0 0\nf 1 2 5", "1e\\+300"),
        ("call other.obj", "call other.obj"),
        ("l 1 2 3", "no faces in it; 1 lines are left out"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, face, reason):
    with pytest.raises(ValueError, match=f"thing.obj: .*{reason}"):
        load_mesh(write(tmp_path, f"{SQUARE}{PLACES}{face}\n"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_go_on_after_a_backslash_and_end_as_they_like(tmp_path, end):
    text = "# C:\\art\\\nv 0 0 0\nv 1 0 0\n\tv 1\t1 0\nv 0 1 0\nf 1 \\\n 2 3 \\\n 4"
    mesh = load_mesh(write(tmp_path, text.replace("\n", end)))
    assert len(mesh.vertices) == 4 and len(mesh.faces) == 2


def test_colours_behind_the_coordinates(tmp_path):
    rows = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    half = "".join("v {} {} {} 0.5 0.5 0.5\n".format(*row) for row in rows)
    assert colours(load_mesh(write(tmp_path, half + "f 1 2 3 4\n"))) == [(128, 128, 128)] * 2
    bytes_ = "".join("v {} {} {} 255 0 0\n".format(*row) for row in rows)
    assert colours(load_mesh(write(tmp_path, bytes_ + "f 1 2 3 4\n"))) == [RED] * 2
    weights = "".join("v {} {} {} 1.0\n".format(*row) for row in rows)  # of rational curves: no colour, no place
    mesh = load_mesh(write(tmp_path, weights + "f 1 2 3 4\n"))
    assert mesh.corner_colours is None and mesh.vertices.max() == 1
    # Without an image the colours stand for Kd; faces without colours keep it.
    mixed = f"mtllib m.mtl\nusemtl m\n{bytes_}{SQUARE}f 1 2 3 4\nf 5 6 7 8\n"
    assert colours(load_mesh(write(tmp_path, mixed, "newmtl m\nKd 0 1 0\n"))) == [RED, RED, GREEN, GREEN]


def test_a_face_with_colours_at_some_corners_is_told(tmp_path):
    mesh = load_mesh(write(tmp_path, "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 1 1 0\nf 1 2 3\n"))
    assert mesh.notices == ("1 faces have colours at some of their corners only: the flat colour is shown",)
    assert mesh.corner_colours is None and mesh.materials[0].colour == (0.7, 0.7, 0.7)


def test_colours_multiply_an_image(tmp_path):
    red(tmp_path / "red.png")
    rows = "".join(f"v {x} {y} 0 {c} {c} {c}\n" for x, y, c in ((0, 0, 0.5), (1, 0, 0.5), (1, 1, 0.5), (0, 1, 0.5)))
    text = f"mtllib m.mtl\n{rows}{PLACES}usemtl m\nf 1/1 2/2 3/3 4/4\n"
    assert colours(load_mesh(write(tmp_path, text, "newmtl m\nmap_Kd red.png\n"))) == [(128, 0, 0)] * 2


@pytest.mark.parametrize(
    "statement",
    [
        "map_Kd red.png",
        "map_kd\tred.png  ",
        'map_Kd "red.png"',
        "map_Kd red.png # skin",
        "map_Kd -s 1 1 1 red.png",
        "map_Kd -clamp on -blendu off -mm 0 1 -bm 1 -o 0 0 0 -imfchan r -texres 4 red.png",
        "map_Kd tex\\red.png",
        "map_Kd RED.PNG",
        "map_Kd C:\\Users\\x\\tex\\red.png",
        "map_Kd /home/x/red.png",
        "map_Kd ../../other/red.png",
        "map_Kd ./tex/../tex/red.png",
    ],
)
def test_a_texture_is_found_however_it_is_named(tmp_path, statement):
    red(tmp_path / "red.png")
    red(tmp_path / "tex/red.png")
    mesh = load_mesh(write(tmp_path, TEXTURED, f"newmtl m\nKd 0 1 0\n{statement}\n"))
    assert colours(mesh) == [RED] * 2
    assert not [line for line in mesh.notices if "imfchan" not in line]


def test_options_before_the_name():
    assert parse_texture("-s 2 3 -o 0.5 my red.png") == ({"s": (2, 3), "o": (0.5,)}, "my red.png")
    assert parse_texture("-clamp on 1.png") == ({"clamp": "on"}, "1.png")
    assert parse_texture("-mm 0.1 2 a.png") == ({"mm": (0.1, 2)}, "a.png")
    assert parse_texture("-s 1 2 \x1co 0.5 a.png") == ({"s": (1, 2)}, "o 0.5 a.png")  # no blank to float
    assert parse_texture("-odd.png") == ({}, "-odd.png")


def test_scale_offset_and_clamp_place_the_image(tmp_path):
    half = np.array([[RED, BLUE]], np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(half).save(tmp_path / "half.png")
    one = f"mtllib m.mtl\n{SQUARE}vt 0.25 0.5\nusemtl m\nf 1/1 2/1 3/1 4/1\n"
    for option, colour in (("", RED), ("-s 3 1", BLUE), ("-o 0.5 0", BLUE), ("-o 1.3", BLUE), ("-o 1.1", RED)):
        assert colours(load_mesh(write(tmp_path, one, f"newmtl m\nmap_Kd {option} half.png\n"))) == [colour] * 2
    # u = 1.35 shows the left half again, or stays at the right border.
    assert colours(load_mesh(write(tmp_path, one, "newmtl m\nmap_Kd -o 1.1 -clamp on half.png\n"))) == [BLUE] * 2


def test_nothing_outside_the_folder_is_opened(tmp_path):
    red(tmp_path / "secret.png")
    red(tmp_path / "images/red.png")
    (tmp_path / "model").mkdir()
    for name in ("../secret.png", "..\\secret.png", "x/../../secret.png", str(tmp_path / "secret.png")):
        mesh = load_mesh(write(tmp_path / "model", TEXTURED, f"newmtl m\nKd 0 1 0\nmap_Kd {name}\n"))
        assert colours(mesh) == [GREEN] * 2 and "secret.png" in mesh.notices[0]
    # In a folder of models a neighbouring folder may be named, as in ShapeNetCore.
    path = write(tmp_path / "model", TEXTURED, "newmtl m\nmap_Kd ../images/red.png\n")
    assert colours(load_mesh(path, tmp_path)) == [RED] * 2
    path = write(tmp_path / "model", TEXTURED, "newmtl m\nmap_Kd ../../images/red.png\n")
    assert "missing" in load_mesh(path, tmp_path).notices[0]


def test_what_is_missing_or_unknown_is_told(tmp_path):
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nKd 0 1 0\nmap_Kd gone.png\n"))
    assert colours(mesh) == [GREEN] * 2 and "gone.png" in mesh.notices[0]
    (tmp_path / "bad.png").write_bytes(b"%!PS-Adobe-3.0 EPSF\n")
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nKd 0 1 0\nmap_Kd bad.png\n"))
    assert colours(mesh) == [GREEN] * 2 and "bad.png" in mesh.notices[0]
    mesh = load_mesh(write(tmp_path, TEXTURED.replace("m.mtl", "no.mtl")))
    assert any("no.mtl" in line for line in mesh.notices) and any("'m'" in line for line in mesh.notices)
    mesh = load_mesh(
        write(tmp_path, SQUARE + "l 1 2\nl 2 3\np 1\nsurf 0 1 0 1 1 2 3 4\ntrim 0 1 1\nsp 1\nf 1 2 3\nf 1 1 2\n")
    )
    expected = {
        "2 lines are left out",
        "1 points are left out",
        "1 free-form surfaces are left out",
        "1 polygons without area are left out",
    }
    assert set(mesh.notices) == expected
    lone = TEXTURED.replace("f 1/1 2/2 3/3 4/4", "f 1 2 3 4")
    red(tmp_path / "red.png")
    mesh = load_mesh(write(tmp_path, lone, "newmtl m\nKd 0 1 0\nmap_Kd red.png\n"))
    assert colours(mesh) == [GREEN] * 2 and "texture coordinates" in mesh.notices[0]


@pytest.mark.parametrize("lines", ["mtllib a.mtl\nmtllib b b.mtl\n", "mtllib a.mtl b b.mtl\n"])
def test_several_libraries_with_spaces_in_their_names(tmp_path, lines):
    (tmp_path / "a.mtl").write_text("newmtl my a\nKd 1 0 0\n")
    (tmp_path / "b b.mtl").write_text("newmtl b\nKd 0 0 1\n")
    mesh = load_mesh(write(tmp_path, f"{lines}{SQUARE}usemtl my a\nf 1 2 3\nusemtl b\nf 1 3 4\n"))
    assert colours(mesh) == [RED, BLUE] and not mesh.notices


def test_names_of_materials_with_comments_and_blanks(tmp_path):
    mesh = load_mesh(
        write(tmp_path, TEXTURED.replace("usemtl m", "usemtl red  Brick # wall"), "newmtl Red brick # 1\nKd 1 0 0\n")
    )
    assert colours(mesh) == [RED] * 2 and not mesh.notices
    mesh = load_mesh(
        write(tmp_path, TEXTURED.replace("usemtl m", "usemtl m #2"), "newmtl m\nKd 0 1 0\nnewmtl m #2\nKd 1 0 0\n")
    )
    assert colours(mesh) == [RED] * 2  # as it stands, where there is one

    mesh = load_mesh(
        write(tmp_path, TEXTURED.replace("usemtl m", 'usemtl "red brick"'), "newmtl red brick\nKd 1 0 0\n")
    )
    assert colours(mesh) == [RED] * 2 and not mesh.notices


def test_emitted_light_is_told(tmp_path):
    for text, told in (("Ke 0 0.0 0 # none", False), ("Ke 1 0 0", True), ("map_Ke red.png", True)):
        notices = load_mesh(write(tmp_path, TEXTURED, f"newmtl m\nKd 0 0 0\n{text}\n")).notices
        assert [("emits" in line) for line in notices] == [True] * told


def test_one_material_and_no_usemtl(tmp_path):
    plain = f"mtllib m.mtl\n{SQUARE}f 1 2 3 4\n"
    assert colours(load_mesh(write(tmp_path, plain, "newmtl m\nKd 1 0 0\n"))) == [RED] * 2
    mesh = load_mesh(write(tmp_path, plain, "newmtl m\nKd 1 0 0\nnewmtl n\nKd 0 1 0\n"))
    assert colours(mesh) == [(178, 178, 178)] * 2 and "usemtl" in mesh.notices[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path, encoding):
    obj = f"mtllib m.mtl\n{SQUARE}usemtl straße\nf 1 2 3 4\n".encode(encoding)
    assert colours(load_mesh(write(tmp_path, obj, "newmtl straße\nKd 1 0 0\n".encode(encoding)))) == [RED] * 2


def test_names_of_textures_in_every_script_and_form(tmp_path):
    red(tmp_path / "é鳥.png")  # composed
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nmap_Kd e\u0301鳥.png\n"))
    assert colours(mesh) == [RED] * 2
    red(tmp_path / "стул.png")
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nmap_Kd стул.png\n".encode("cp1251")))
    assert colours(mesh) == [RED] * 2


def test_alpha_counts_where_map_d_says_so(tmp_path):
    red(tmp_path / "red.png", "RGBA")  # red, fully transparent
    image = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nmap_Kd red.png\n")).materials[0].image
    assert image.shape[-1] == 3
    for mask in ("red.png", "-imfchan m black.png"):
        Image.new("L", (2, 2), 0).save(tmp_path / "black.png")
        mesh = load_mesh(write(tmp_path, TEXTURED, f"newmtl m\nmap_Kd red.png\nmap_d {mask}\n"))
        assert not mesh.materials[0].image[..., 3].any()
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nKd 0 1 0\nmap_d black.png\n"))
    assert tuple(mesh.materials[0].image[0, 0]) == (0, 255, 0, 0)


@pytest.mark.parametrize(
    ("text", "opacity"), [("d 0.25", 0.25), ("Tr 0.25", 0.75), ("Tr 1\nd 1", 1.0), ("d -halo 0.3", 0.3), ("", 1.0)]
)
def test_opacity(tmp_path, text, opacity):
    assert load_mesh(write(tmp_path, TEXTURED, f"newmtl m\nKd 1 0 0\n{text}\n")).materials[0].opacity == opacity


def test_colours_from_0_to_255_and_of_other_kinds(tmp_path):
    for text, colour in (("Kd 128 64 64", (128, 64, 64)), ("Kd 0.5", (128, 128, 128)), ("Kd 1 0 0 # red", RED)):
        assert colours(load_mesh(write(tmp_path, TEXTURED, f"newmtl m\n{text}\n"))) == [colour] * 2
        assert load_mesh(write(tmp_path, TEXTURED, f"newmtl m\n{text}\n")).notices == (
            ("material 'm': 'Kd 128 64 64' is read as a colour from 0 to 255",) if "128" in text else ()
        )
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nKd spectral file.rfl\n"))
    assert "spectral" in mesh.notices[0]


def test_half_a_colour_is_told(tmp_path):
    """Of Kd, one number is a grey (the MTL specification: without g and b, they are equal to r); two are none."""
    mesh = load_mesh(write(tmp_path, TEXTURED, "newmtl m\nKd 0.5 0.2\n"))
    assert mesh.notices == ("material 'm': 'Kd 0.5 0.2' lacks a number: the first stands for all three",)
    mesh = load_mesh(write(tmp_path, "v 0 0 0 1 0\nv 1 0 0 1 0\nv 0 1 0\nf 1 2 3\n"))
    assert mesh.notices == ("2 vertices have two numbers of a colour only: they are left out",)
