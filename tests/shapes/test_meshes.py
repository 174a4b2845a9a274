"""Mesh files of every format, written by trimesh or by hand, read back."""

import os

import numpy as np
import pytest
import trimesh
from PIL import Image

from ast_jax.shapes.meshes import find_meshes, left_out, load_mesh, scan_folder
from ast_jax.shapes.normalise import colour_grey_materials, drop_transparent, normalise, rotation_y, transformed
from ast_jax.shapes.source_mesh import Material, SourceMesh
from ast_jax.shapes.views import sample_colours

SQUARE_OBJ = """mtllib square.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0 0 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl picture
f 1/1 2/2 3/3 4/4
usemtl flat
f 1 2 5
usemtl glass
f 2 3 5
"""
SQUARE_MTL = """newmtl picture
Kd 1 1 1
map_Kd picture.png
newmtl flat
Kd 0.2 0.4 0.6
newmtl glass
Kd 0 1 0
d 0.3
"""
# Upper row red, green; lower row blue, white.
PICTURE = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


@pytest.fixture
def square(tmp_path):
    (tmp_path / "square.obj").write_text(SQUARE_OBJ)
    (tmp_path / "square.mtl").write_text(SQUARE_MTL)
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    return tmp_path / "square.obj"


def colour_at(mesh: SourceMesh, point) -> np.ndarray:
    """The colour of the face that holds a point, by solving for its barycentrics."""
    for k, face in enumerate(mesh.faces):
        corners = mesh.vertices[face]
        weights, *_ = np.linalg.lstsq(np.vstack([corners.T, np.ones(3)]), [*point, 1.0], rcond=None)
        if weights.min() > -1e-9 and np.allclose(weights @ corners, point, atol=1e-9):
            return sample_colours(mesh, np.array([k]), weights[None])[0]
    raise AssertionError("no face there")


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "stl", "glb", "dae"])
def test_every_format_keeps_volume_and_box(tmp_path, suffix):
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    box.apply_translation((5.0, 0.0, 0.0))
    path = tmp_path / f"a box.{suffix}"
    box.export(path)
    mesh = load_mesh(path)
    assert mesh.object_id == "a_box" and mesh.provenance == {"path": path.name}
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [4.5, -1, -1.5], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [5.5, 1, 1.5], atol=1e-6)
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    np.testing.assert_allclose(np.einsum("fd,fd->f", a, np.cross(b, c)).sum() / 6, 6.0, atol=1e-5)


def test_obj_with_image_flat_colour_and_glass(square):
    mesh = load_mesh(square)
    for point, expected in (((0.25, 0.75, 0), PICTURE[0, 0]), ((0.75, 0.75, 0), PICTURE[0, 1])):
        np.testing.assert_allclose(colour_at(mesh, point) * 255, expected, atol=1)
    np.testing.assert_allclose(colour_at(mesh, (0.25, 0.25, 0)) * 255, PICTURE[1, 0], atol=1)
    np.testing.assert_allclose(colour_at(mesh, (0.3, 0.0, 0.3)), [0.2, 0.4, 0.6], atol=0.01)
    assert sorted(m.opacity for m in mesh.materials) == [0.3, 1.0, 1.0]
    assert len(mesh.faces) == 4 and len(drop_transparent(mesh).faces) == 3


def test_glb_scene_places_its_parts_and_keeps_the_image_upright(tmp_path):
    quad = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(PICTURE))
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    quad.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    scene = trimesh.Scene()
    scene.add_geometry(quad, transform=trimesh.transformations.translation_matrix([0, 0, 7]))
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=np.diag([2.0, 2, 2, 1]))
    scene.export(tmp_path / "scene.glb")
    mesh = load_mesh(tmp_path / "scene.glb")
    assert len(mesh.faces) == 14 and mesh.vertices[..., 2].max() == 7
    assert np.isclose(mesh.vertices.min(), -1)
    np.testing.assert_allclose(colour_at(mesh, (0.25, 0.75, 7)) * 255, PICTURE[0, 0], atol=1)


@pytest.mark.parametrize("kind", ["vertex", "face"])
def test_vertex_and_face_colours(tmp_path, kind):
    colours = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]], np.uint8)
    arguments = {"vertex_colors": colours} if kind == "vertex" else {"face_colors": colours[:1]}
    mesh = trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False, **arguments)
    mesh.export(tmp_path / "coloured.ply")
    loaded = load_mesh(tmp_path / "coloured.ply")
    expected = np.eye(3) if kind == "vertex" else np.tile([1.0, 0, 0], (3, 1))
    np.testing.assert_allclose(loaded.corner_colours[0], expected)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "cloud.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    (tmp_path / "broken.ply").write_bytes(b"\x00\x01not a mesh")
    (tmp_path / "hole.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("cloud.off", "broken.ply", "hole.obj", "notes.txt", "missing.obj"):
        with pytest.raises(ValueError, match=name):
            load_mesh(tmp_path / name)


def test_folder_scan_gives_unique_names(tmp_path):
    (tmp_path / "red chairs").mkdir()
    box = trimesh.creation.box((1, 1, 1))
    for name in ("a.obj", "a.ply", "red chairs/a.ply", "skip.txt"):
        box.export(tmp_path / name, file_type=name[-3:].replace("txt", "obj"))
    items = scan_folder(tmp_path)
    assert [item.object_id for item in items] == ["a", "a.ply", "red_chairs__a"]
    assert items[2].load().object_id == "red_chairs__a"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no mesh file"):
        scan_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="no such folder"):
        scan_folder(tmp_path / "nowhere")


def test_names_of_every_script_and_no_script_stop_nothing(tmp_path):
    triangle = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    names = ["椅子.obj", "стул 1.obj", "A.obj", "a,b.obj", "a b.obj", "?!.obj", "x" * 240 + ".obj", "b" * 240 + ".obj"]
    for name in names:
        (tmp_path / name).write_text(triangle)
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.obj"), "w") as file:
        file.write(triangle)
    items = scan_folder(tmp_path)
    ids = {item.object_id for item in items}
    assert len(ids) == len(names) + 1 and {"椅子", "стул_1", "A", "a_b", "object"} <= ids
    for item in items:
        mesh = item.load()
        assert mesh.object_id == item.object_id and len(mesh.faces) == 1
        assert mesh.provenance["path"].encode() and len(item.object_id.encode()) <= 200


def test_a_folder_says_what_it_leaves_out(tmp_path):
    for name in ("a.obj", "b.fbx", "c.FBX", "sub/d.blend", "e.zip", "f.txt", "._a.obj", "g.stp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("f")
    (tmp_path / "link.obj").symlink_to("gone.obj")
    (tmp_path / "folder.obj").mkdir()
    assert [path.name for path in find_meshes(tmp_path)] == ["a.obj"]
    lines = left_out(tmp_path)
    assert "2 .fbx files are left out (b.fbx, c.FBX)" in lines and len(lines) == 6
    assert "1 broken links or other things that are no files are left out (link.obj)" in lines
    assert "1 .blend files are left out (sub/d.blend)" in lines
    (tmp_path / "a.obj").unlink()
    with pytest.raises(ValueError, match="no mesh file.*2 .fbx files"):
        find_meshes(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "content", "kind"),
    [
        (".obj", b"glTF\x02\x00\x00\x00", "GLB.*rename it to .glb"),
        (".obj", b"PK\x03\x04", "archive"),
        (".stl", b"ply\nformat ascii 1.0\n", "PLY.*rename it to .ply"),
        (".ply", b"\x1f\x8b\x08", "compressed"),
        (".glb", b"Kaydara FBX Binary", "FBX"),
        (".dae", b"\x89PNG\r\n", "picture"),
        (".off", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (".ac", b"", "empty"),
        (".obj", bytes(range(256)), "binary"),
    ],
)
def test_content_of_another_kind_is_named(tmp_path, suffix, content, kind):
    path = tmp_path / f"wrong{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"wrong{suffix}: .*{kind}"):
        load_mesh(path)


def test_normalise_as_shapenet():
    vertices = np.array([[0, 0, 0], [4.0, 0, 0], [4, 3, 0], [9, 9, 9]])  # the last one belongs to no face
    mesh = SourceMesh("m", vertices, np.array([[0, 1, 2]], np.int32), keypoints=vertices[:1])
    result = normalise(mesh)
    np.testing.assert_allclose(result.vertices, np.array([[-2, -1.5, 0], [2, -1.5, 0], [2, 1.5, 0]]) / 5)
    np.testing.assert_allclose(result.keypoints, [[-0.4, -0.3, 0]])
    with pytest.raises(ValueError, match="m: all vertices"):
        normalise(mesh.replace(faces=np.array([[1, 1, 1]], np.int32)))


def test_turns_and_mirrors():
    np.testing.assert_allclose(rotation_y(90.0) @ [-1, 0, 0], [0, 0, 1])
    mesh = SourceMesh("m", np.eye(3), np.array([[0, 1, 2]], np.int32), corner_uv=np.ones((1, 3, 2), np.float32))
    mirrored = transformed(mesh, np.diag([-1.0, 1, 1]))
    np.testing.assert_array_equal(mirrored.faces, [[2, 1, 0]])


def test_faces_with_transparent_texels_are_dropped():
    image = np.full((2, 2, 4), 255, np.uint8)
    image[:, 1, 3] = 0  # the right half is cut out
    uv = np.array([[[0.1, 0.1], [0.4, 0.1], [0.1, 0.9]], [[0.6, 0.1], [0.9, 0.1], [0.9, 0.9]]], np.float32)
    mesh = SourceMesh(
        "m",
        np.eye(4)[:, :3],
        np.array([[0, 1, 2], [1, 2, 3]], np.int32),
        (Material(image=image),),
        np.zeros(2, int),
        uv,
    )
    np.testing.assert_array_equal(drop_transparent(mesh).faces, [[0, 1, 2]])


def test_only_grey_materials_get_a_hue_and_always_the_same():
    materials = (
        Material((0.8, 0.8, 0.8)),
        Material((0.9, 0.1, 0.1)),
        Material(image=PICTURE),
        Material((0.02, 0.02, 0.02)),
    )
    mesh = SourceMesh("m", np.eye(3), np.array([[0, 1, 2]], np.int32), materials)
    first, again = colour_grey_materials(mesh, 0).materials, colour_grey_materials(mesh, 0).materials
    assert np.ptp(first[0].colour) > 0.1 and max(first[3].colour) <= 0.02
    assert first[1:3] == materials[1:3] and [m.colour for m in first] == [m.colour for m in again]
    assert colour_grey_materials(mesh, 1).materials[0].colour != first[0].colour
