"""PLY files of every kind, written here; what they should give is said by the format, or plain arithmetic."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.shapes.meshes import load_mesh

VERTICES = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0.5, 0)]
XYZ = [("x", "float"), ("y", "float"), ("z", "float")]
FACE = [("vertex_indices", "list uchar int")]
TYPES = {"uchar": "u1", "ushort": "u2", "int": "i4", "uint": "u4", "short": "i2", "float": "f4", "double": "f8"}
FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


def write(folder: Path, elements: list, kind: str = "ascii", comments: str = "") -> Path:
    """Elements are (name, properties as (name, type), rows of numbers and lists)."""
    head, body = f"ply\nformat {kind} 1.0\n{comments}", b""
    order = ">" if "big" in kind else "<"
    for name, properties, rows in elements:
        head += f"element {name} {len(rows)}\n" + "".join(f"property {type_} {key}\n" for key, type_ in properties)
        for row in rows:
            flat = []
            for (_, type_), value in zip(properties, row):
                if type_.startswith("list"):
                    flat += [(type_.split()[1], len(value)), *((type_.split()[2], v) for v in value)]
                else:
                    flat.append((type_, value))
            if kind == "ascii":
                body += (" ".join(str(value) for _, value in flat) + "\n").encode()
            else:
                body += b"".join(np.array(value, order + TYPES[type_]).tobytes() for type_, value in flat)
    path = folder / "thing.ply"
    path.write_bytes((head + "end_header\n").encode() + body)
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("faces", [[(0, 1, 2), (0, 2, 3)], [(0, 1, 2, 3), (1, 4, 2)]])
@pytest.mark.parametrize("types", ["uchar int", "int uint", "ushort short"])
def test_faces_of_equal_and_of_different_length(tmp_path, kind, faces, types):
    face = [("flag", "uchar"), ("vertex_index", f"list {types}"), ("quality", "double")]
    rows = [(7, corners, 0.5) for corners in faces]
    camera = ("camera", [("view", "list uchar float"), ("id", "int")], [((1, 2, 3), 1), ((), 2)])
    mesh = load_mesh(write(tmp_path, [camera, ("vertex", XYZ, VERTICES), ("face", face, rows)], kind))
    expected = [(0, 1, 2), (0, 2, 3)] + ([(1, 4, 2)] if len(faces[0]) == 4 else [])
    np.testing.assert_array_equal(mesh.faces, expected)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.notices == ("2 of the element 'camera' are left out",)


@pytest.mark.parametrize(
    "names", [("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue")]
)
@pytest.mark.parametrize(("type_", "full"), [("uchar", 255), ("ushort", 65535), ("float", 1.0), ("float", 255.0)])
def test_colours_of_vertices(tmp_path, names, type_, full):
    rgb = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)]) * full
    rows = [(*v, *c) for v, c in zip(VERTICES, rgb.astype(float if type_ == "float" else int))]
    vertex = [*XYZ, *((name, type_) for name in names)]
    for kind in FORMATS[:2]:
        mesh = load_mesh(write(tmp_path, [("vertex", vertex, rows), ("face", FACE, [((0, 1, 2),)])], kind))
        np.testing.assert_array_equal(mesh.corner_colours[0], np.eye(3))
        assert mesh.materials[0].colour == (1, 1, 1)


def test_colours_of_faces(tmp_path):
    face = [*FACE, ("red", "uchar"), ("green", "uchar"), ("blue", "uchar")]
    rows = [((0, 1, 2, 3), 255, 0, 0), ((1, 4, 2), 0, 0, 255)]
    mesh = load_mesh(write(tmp_path, [("vertex", XYZ, VERTICES), ("face", face, rows)], "binary_big_endian"))
    np.testing.assert_array_equal(mesh.corner_colours[:, 0], [(1, 0, 0), (1, 0, 0), (0, 0, 1)])
    vertex = [*XYZ, ("red", "uchar"), ("green", "uchar"), ("blue", "uchar")]
    mesh = load_mesh(write(tmp_path, [("vertex", vertex, [(*v, 0, 255, 0) for v in VERTICES]), ("face", face, rows)]))
    np.testing.assert_array_equal(mesh.corner_colours[:, 0], [(0, 1, 0)] * 3)
    assert "colours of faces" in mesh.notices[0]


def test_a_colour_without_one_of_its_channels_is_told(tmp_path):
    for names, told in ((("red", "green"), True), (("g", "b"), True), (("r",), False)):
        rows = [(*v, *[255] * len(names)) for v in VERTICES]
        vertex = ("vertex", [*XYZ, *((name, "uchar") for name in names)], rows)
        mesh = load_mesh(write(tmp_path, [vertex, ("face", FACE, [((0, 1, 2),)])]))
        assert mesh.corner_colours is None and [("lack a channel" in n) for n in mesh.notices] == [True] * told


@pytest.mark.parametrize("names", [("s", "t"), ("u", "v"), ("texture_u", "texture_v")])
def test_texture_coordinates_of_vertices(tmp_path, names):
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "my red.png")
    vertex = [*XYZ, *((name, "float") for name in names)]
    elements = [("vertex", vertex, [(*v, 0.25, 0.75) for v in VERTICES]), ("face", FACE, [((0, 1, 2),)])]
    mesh = load_mesh(write(tmp_path, elements, comments="comment TextureFile my red.png\n"))
    np.testing.assert_array_equal(mesh.corner_uv[0], [(0.25, 0.75)] * 3)
    assert mesh.materials[0].image.shape == (2, 2, 3)
    mesh = load_mesh(write(tmp_path, elements, comments="comment TextureFile gone.png\n"))
    assert mesh.corner_uv is None and "gone.png" in mesh.notices[0]


@pytest.mark.parametrize("kind", FORMATS)
def test_texture_coordinates_of_corners_and_several_textures(tmp_path, kind):
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 255))):
        Image.new("RGB", (2, 2), colour).save(tmp_path / name)
    face = [*FACE, ("texcoord", "list uchar float"), ("texnumber", "int")]
    rows = [((0, 1, 2, 3), (0, 0, 1, 0, 1, 1, 0, 1), 1), ((1, 4, 2), (0.5,) * 6, 0), ((1, 4, 2), (), 0)]
    comments = "comment TextureFile a.png\ncomment TextureFile b.png\n"
    mesh = load_mesh(write(tmp_path, [("vertex", XYZ, VERTICES), ("face", face, rows)], kind, comments))
    np.testing.assert_array_equal(mesh.corner_uv[1], [(0, 0), (1, 1), (0, 1)])
    assert [tuple(mesh.materials[k].image[0, 0]) for k in mesh.face_material] == [(0, 0, 255)] * 2 + [(255, 0, 0)] * 2


@pytest.mark.parametrize("kind", FORMATS)
def test_strips_begin_anew_after_minus_one(tmp_path, kind):
    strips = ("tristrips", [("vertex_indices", "list int int")], [((0, 1, 3, 2, -1, 1, 4, 2),)])
    mesh = load_mesh(write(tmp_path, [("vertex", XYZ, VERTICES), strips], kind))
    np.testing.assert_array_equal(mesh.faces, [(0, 1, 3), (3, 1, 2), (1, 4, 2)])


def test_concave_faces_are_cut_right(tmp_path):
    shape = [(2, 0, 0), (2, 1, 0), (1, 1, 0), (1, 2, 0), (0, 2, 0), (0, 0, 0)]
    mesh = load_mesh(write(tmp_path, [("vertex", XYZ, shape), ("face", FACE, [(range(6),)])], "binary_little_endian"))
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_headers_as_people_have_them(tmp_path, kind):
    # The first coordinate begins with the byte of a line feed, where it is binary: one end of line is all there is.
    first = np.frombuffer(
        b"\n\x00\x00\x3f" if "little" in kind else b"\n\x00\x00\x01", "<f4" if "little" in kind else ">f4"
    )[0]
    points = [(first, 0, 0), *VERTICES[1:]]
    comments = "comment all before end_header is text\n"
    good = write(tmp_path, [("vertex", XYZ, points), ("face", FACE, [((0, 1, 2),)])], kind, comments).read_bytes()
    end = good.rindex(b"end_header\n") + len(b"end_header\n")
    head, body = good[:end], good[end:]
    for head_now in (head, b"\xef\xbb\xbf" + head, head.replace(b"\n", b"\r\n"), head.replace(b"float", b"FLOAT")):
        (tmp_path / "thing.ply").write_bytes(head_now + body)
        mesh = load_mesh(tmp_path / "thing.ply")
        np.testing.assert_allclose(mesh.vertices[0], points[0])
        np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_wrong_is_named(tmp_path, kind):
    good = write(
        tmp_path, [("vertex", XYZ, VERTICES), ("face", FACE, [((0, 1, 2),), ((0, 1, 2, 3),)])], kind
    ).read_bytes()
    broken = {
        "cut": good[:-3],
        "rows": good.replace(b"vertex 5", b"vertex 500"),
        "huge": good.replace(b"face 2", b"face 4000000000"),
        "negative": good.replace(b"vertex 5", b"vertex -5"),
        "type": good.replace(b"list uchar int", b"list uchar colour"),
        "format": good.replace(b"format ", b"format x"),
        "points": good.replace(b"element face 2", b"element fact 2").replace(b"indices", b"nothing"),
        "beyond": write(tmp_path, [("vertex", XYZ, VERTICES), ("face", FACE, [((0, 1, 9),)])], kind).read_bytes(),
        "noise": b"ply\n\x00\x01",
    }
    for name, content in broken.items():
        (tmp_path / f"{name}.ply").write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.ply: "):
            load_mesh(tmp_path / f"{name}.ply")


@pytest.mark.parametrize("element", ["face", "tristrips"])
def test_faces_without_corners_are_refused_beside_others(tmp_path, element):
    """Found by mutation 2748160258331443431 of a text file: faces with textures and no corners, beside strips."""
    whole = ("tristrips" if element == "face" else "face", FACE, [((0, 1, 2),)])
    empty = (element, [("texnumber", "int")], [(0,), (1,)])
    with pytest.raises(ValueError, match=f"'{element}' has no list of vertices"):
        load_mesh(write(tmp_path, [("vertex", XYZ, VERTICES), whole, empty], FORMATS[0]))
