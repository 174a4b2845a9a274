"""Files of a textured mesh, read back by trimesh and by our own readers: shape, colours, and no crack anywhere."""

import dataclasses
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest
import trimesh
from PIL import Image

from ast_jax.export import MESH_FORMATS, encode_glb, encode_mesh, textured_mesh, unwrap
from ast_jax.model.template import sphere
from ast_jax.shapes.meshes import load_mesh
from render import FaceTexels
from tests.export.glb_bytes import read_attribute, read_glb_json

LEVEL = 2
BALL, FLAT = sphere(LEVEL), unwrap(LEVEL)
# An object with different sides, so that a mirrored or turned file would be noticed.
VERTICES = BALL.vertices * [0.3, 0.2, 0.4] + 0.1 * np.maximum(BALL.vertices[:, 2:], 0) * [0.3, 1, 0]


def colour(points: np.ndarray) -> np.ndarray:
    return 0.5 + 0.4 * points @ np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])


def picture() -> np.ndarray:
    """A texture with the colour of the point of the sphere at every pixel, by hand: 16 px of 3 x 3 texels a face."""
    size = 256
    v, u = np.mgrid[0:size, 0:size] + 0.5
    uv = np.stack([u / size, 1 - v / size], -1).reshape(-1, 2)
    centres = FLAT.uv[FLAT.faces].mean(1)
    image = np.empty((size * size, 3))
    for start in range(0, len(uv), 4096):
        part = uv[start : start + 4096]
        face = ((part[:, None] - centres) ** 2).sum(-1).argmin(1)
        corners = FLAT.uv[FLAT.faces[face]]
        matrix = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
        b = np.linalg.solve(matrix, (part - corners[:, 0])[..., None])[..., 0]
        weights = np.stack([1 - b.sum(-1), b[:, 0], b[:, 1]], -1)
        image[start : start + 4096] = np.einsum("mk,mkc->mc", weights, colour(BALL.vertices[BALL.faces[face]]))
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).reshape(size, size, 3)


MESH = textured_mesh(VERTICES, LEVEL, picture())
EXTRAS = {"seen_share": 0.4, "seen_faces": [True, False]}


def write(folder, suffix: str):
    files = encode_mesh(MESH, suffix, name="bird", extras=EXTRAS)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / next(iter(files))


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 5).T)]


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
def test_trimesh_reads_a_watertight_mesh(suffix, tmp_path):
    mesh = trimesh.load(write(tmp_path, suffix), process=False)
    mesh = mesh.to_geometry() if isinstance(mesh, trimesh.Scene) else mesh
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[BALL.faces], atol=1e-6)
    counts = {"glb": len(FLAT.uv), "ply": len(VERTICES)}
    if suffix in counts:
        assert len(mesh.vertices) == counts[suffix]
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_volume and len(mesh.vertices) == len(VERTICES)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
def test_our_readers_read_it(suffix, tmp_path):
    mesh = load_mesh(write(tmp_path, suffix))
    assert mesh.notices == ()
    corners = mesh.vertices[mesh.faces]
    np.testing.assert_allclose(sorted_rows(corners.mean(1)), sorted_rows(VERTICES[BALL.faces].mean(1)), atol=1e-5)
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(volume(VERTICES, BALL.faces), rel=1e-4)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_corners_have_the_colours_of_their_points(suffix, tmp_path):
    mesh = load_mesh(write(tmp_path, suffix))
    image = mesh.materials[mesh.face_material[0] if mesh.face_material is not None else 0].image
    size = len(image)
    place = mesh.corner_uv.reshape(-1, 2)
    found = image[np.clip(((1 - place[:, 1]) * size).astype(int), 0, size - 1), (place[:, 0] * size).astype(int), :3]
    nearest = ((mesh.vertices[mesh.faces].reshape(-1, 1, 3) - VERTICES) ** 2).sum(-1).argmin(1)
    np.testing.assert_allclose(found / 255, colour(BALL.vertices)[nearest], atol=0.06)


def test_ply_has_the_texture_as_colours_of_vertices(tmp_path):
    mesh = trimesh.load(write(tmp_path, "ply"), process=False)
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3] / 255, colour(BALL.vertices), atol=0.1)


def test_obj_is_welded(tmp_path):
    lines = write(tmp_path, "obj").read_text().splitlines()
    count = lambda word: sum(line.startswith(word + " ") for line in lines)  # noqa: E731
    assert (count("v"), count("vn"), count("vt")) == (len(VERTICES), len(VERTICES), len(FLAT.uv))
    assert count("f") == len(BALL.faces)
    assert Image.open(tmp_path / "bird_texture.png").size == (256, 256)
    assert "map_Kd bird_texture.png" in (tmp_path / "bird.mtl").read_text()


@pytest.mark.parametrize("name", ["my bird, two", "Vögel 鳥", "caf\udce9"])
@pytest.mark.parametrize("suffix", MESH_FORMATS)
def test_names_may_be_what_they_like(name, suffix, tmp_path):
    files = encode_mesh(MESH, suffix, name=name)
    for written, content in files.items():
        (tmp_path / written).write_bytes(content)
    if suffix in ("glb", "obj"):
        mesh = load_mesh(tmp_path / f"{name}.{suffix}")
        assert mesh.notices == () and mesh.materials[0].image is not None


def test_glb_has_extras_smooth_normals_and_one_side():
    data = encode_mesh(MESH, ".GLB", name="bird", extras=EXTRAS)["bird.glb"]
    tree = read_glb_json(data)
    assert tree["meshes"][0]["extras"] == EXTRAS and tree["meshes"][0]["name"] == "bird"
    assert not tree["materials"][0].get("doubleSided", False)
    assert tree["samplers"][0] == {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
    accessors = [tree["accessors"][i] for i in tree["meshes"][0]["primitives"][0]["attributes"].values()]
    assert {accessor["count"] for accessor in accessors} == {len(FLAT.uv)}
    normals = read_attribute(data, "NORMAL")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    for vertex in np.flatnonzero(np.bincount(FLAT.source) > 1):
        first, second = normals[FLAT.source == vertex]
        np.testing.assert_array_equal(first, second)


def test_a_mesh_that_is_turned_inside_out_is_drawn_from_both_sides():
    inside_out = dataclasses.replace(MESH, vertices=MESH.vertices * [-1, 1, 1])
    assert read_glb_json(encode_mesh(inside_out, "glb")["mesh.glb"])["materials"][0]["doubleSided"]


def test_usdz_is_an_aligned_archive_of_text_and_texture():
    data = encode_mesh(MESH, "usdz", name="bird")["bird.usdz"]
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        layer, texture = archive.infolist()
        assert archive.read(layer).startswith(b"#usda 1.0")
        assert Image.open(BytesIO(archive.read(texture))).size == (256, 256)
    for info in (layer, texture):
        name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
        assert info.compress_type == zipfile.ZIP_STORED
        assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_the_same_mesh_gives_the_same_files():
    for suffix in MESH_FORMATS:
        assert encode_mesh(MESH, suffix, extras=EXTRAS) == encode_mesh(MESH, suffix, extras=EXTRAS)


def test_a_wrong_suffix_gets_the_near_match():
    with pytest.raises(ValueError, match="did you mean 'glb'"):
        encode_mesh(MESH, "gbl")


def test_bad_meshes_are_named():
    with pytest.raises(ValueError, match="template of level 3"):
        textured_mesh(VERTICES, 3, MESH.image)
    with pytest.raises(ValueError, match="finite"):
        textured_mesh(VERTICES * np.nan, LEVEL, MESH.image)
    with pytest.raises(ValueError, match="two vertices"):
        dataclasses.replace(MESH, uv_faces=MESH.faces % 7)


def test_the_atlas_of_a_report_is_written_as_before():
    texture = FaceTexels(np.full((1, len(BALL.faces), 2, 2, 3), 0.5))
    tree = read_glb_json(encode_glb(VERTICES, BALL.faces, texture=texture))
    assert tree["samplers"][0]["minFilter"] == 9729 and tree["materials"][0]["doubleSided"]
