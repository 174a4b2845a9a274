"""glTF files and what lies beside them: required extensions, paths, files that nobody should trust, our own exports."""

import base64
import io
import json
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ast_jax.export import write_glb
from ast_jax.shapes.mesh_files.gltf import MAX_FACES, load_gltf
from ast_jax.shapes.mesh_files.gltf_primitives import MAX_CORNERS_NOT_STORED
from ast_jax.shapes.normalise import drop_transparent
from render import FaceTexels, VertexColours
from tests.shapes.mesh_files.glb import TRIANGLE, Glb, join_chunks
from tests.shapes.mesh_files.looks import BLUE, GREEN, LEFT, PICTURE, RED, colour


@pytest.fixture
def load(tmp_path):
    return lambda glb: load_gltf(glb.write(tmp_path / "a.glb"))


# Extensions: section 3.12.


@pytest.mark.parametrize(
    "name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu", "ACME_warp"]
)
def test_a_required_extension_that_cannot_be_read(load, name):
    glb = Glb()
    glb.tree |= {"extensionsUsed": [name], "extensionsRequired": [name]}
    with pytest.raises(ValueError, match=rf"a\.glb: it requires {name}"):
        load(glb)
    del glb.tree["extensionsRequired"]
    assert any(name in n for n in load(glb).notices) == (name == "ACME_warp")


def test_draco_with_and_without_an_uncompressed_copy(load):
    glb = Glb()
    glb.primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    mesh = load(glb)
    np.testing.assert_array_equal(mesh.vertices, TRIANGLE)
    assert "draco" in mesh.notices[0]
    del glb.tree["accessors"][0]["bufferView"]
    with pytest.raises(ValueError, match="draco"):
        load(glb)


def test_basis_universal_without_another_picture(load):
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE, factor=(0, 1, 0, 1))
    glb.tree["textures"][0] = {"extensions": {"KHR_texture_basisu": {"source": 0}}}
    mesh = load(glb)
    np.testing.assert_allclose(colour(mesh), GREEN)
    assert "KHR_texture_basisu" in mesh.notices[0]
    glb.tree["textures"][0]["source"] = 0
    mesh = load(glb)
    np.testing.assert_allclose(colour(mesh), 0)  # red times green
    assert "plain copy" in mesh.notices[0]


def test_meshopt_with_and_without_an_uncompressed_copy(load):
    glb = Glb()
    compressed = {"buffer": 0, "byteOffset": 0, "byteLength": 9, "byteStride": 12, "count": 3, "mode": "ATTRIBUTES"}
    glb.tree["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": compressed}
    mesh = load(glb)
    np.testing.assert_array_equal(mesh.vertices, TRIANGLE)
    assert "EXT_meshopt_compression" in mesh.notices[0]
    glb.tree["buffers"].append({"byteLength": 36, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})
    glb.tree["bufferViews"][0]["buffer"] = 1
    with pytest.raises(ValueError, match="needs EXT_meshopt_compression"):
        load(glb)


# Files beside it: section 2.8.


def png(*texels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array([texels], np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_gltf(folder, glb: Glb, buffer_uri: str, image_uri: str | None = None):
    glb.encode()
    glb.tree["buffers"][0]["uri"] = buffer_uri
    if image_uri is not None:
        glb.tree["images"] = [{"uri": image_uri}]
    (folder / "a.gltf").write_text(json.dumps(glb.tree), "utf-8-sig")
    return folder / "a.gltf"


@pytest.mark.parametrize("uri", ["my%20red.png", "my red.png", "sub/../my%20red.png", "./my%20red.png", "sub/鳥%23.png",
                                 "sub%5C%E9%B3%A5%23.png", "100%.png", "My%20Red.PNG"])  # fmt: skip
def test_uris(tmp_path, uri):
    (tmp_path / "sub").mkdir()
    for name in ("my red.png", "sub/鳥#.png", "100%.png"):
        (tmp_path / name).write_bytes(png(RED))
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE)
    (tmp_path / "the data.bin").write_bytes(glb.binary)
    mesh = load_gltf(write_gltf(tmp_path, glb, "the%20data.bin", uri))
    np.testing.assert_allclose(colour(mesh), RED)
    assert mesh.notices == ()


@pytest.mark.parametrize("kind", [";base64", ""])
def test_data_uris(tmp_path, kind):
    def encoded(content: bytes) -> str:
        body = base64.encodebytes(content).decode() if kind else "".join(f"%{byte:02x}" for byte in content)
        return f"data:application/octet-stream{kind},{body}"

    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE)
    path = write_gltf(tmp_path, glb, encoded(glb.binary), encoded(png(GREEN)))
    np.testing.assert_allclose(colour(load_gltf(path)), GREEN)


@pytest.mark.parametrize(
    "uri",
    ["gone.png", "gone/other.png", "../secret.png", "s/../../secret.png", "%2e%2e/secret.png", "..%5Csecret.png"]
    + ["https://example.com/a.png", "file:///etc/passwd", "C:/a.png", "//host/a.png", "a\0.png", "n" * 5000],
)
def test_pictures_that_are_not_there_or_not_ours_to_read(tmp_path, uri):
    folder = tmp_path / "models"
    folder.mkdir()
    for path in (tmp_path / "secret.png", folder / "other.png"):
        path.write_bytes(png(RED))
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE, factor=(0, 1, 0, 1))
    (folder / "a.bin").write_bytes(glb.binary)
    mesh = load_gltf(write_gltf(folder, glb, "a.bin", uri))
    np.testing.assert_allclose(colour(mesh), GREEN)
    assert len(mesh.notices) == 1 and "images[0]" in mesh.notices[0] and repr(uri[:200]) in mesh.notices[0]


def test_a_root_above_the_folder_lets_names_climb_to_it_and_no_further(tmp_path):
    folder = tmp_path / "set" / "models"
    folder.mkdir(parents=True)
    for place, pixel in ((tmp_path, RED), (tmp_path / "set", BLUE)):
        (place / "a.png").write_bytes(png(pixel))
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE, factor=(0, 1, 1, 1))
    (folder / "a.bin").write_bytes(glb.binary)
    for uri, expected in (("../a.png", BLUE), ("../../a.png", [0, 255, 255])):
        mesh = load_gltf(write_gltf(folder, glb, "a.bin", uri), tmp_path / "set")
        np.testing.assert_allclose(colour(mesh), expected)
        assert len(mesh.notices) == (expected != BLUE)


def test_absolute_paths_are_not_read(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(RED))
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE)
    (tmp_path / "a.bin").write_bytes(glb.binary)
    assert "outside" in load_gltf(write_gltf(tmp_path, glb, "a.bin", str(tmp_path / "secret.png"))).notices[0]


def test_buffers_that_are_not_there_or_too_short(tmp_path):
    (tmp_path / "short.bin").write_bytes(b"1234")
    for uri, message in (("gone.bin", "'gone.bin' is not there"), ("short.bin", "cut short"), ("../a.bin", "outside")):
        with pytest.raises(ValueError, match=rf"a\.gltf: .*{message}"):
            load_gltf(write_gltf(tmp_path, Glb(), uri))


def test_postscript_in_a_picture_is_not_run(load):
    glb = Glb(TEXCOORD_0=LEFT).material(PICTURE)
    glb.tree["images"] = [{"bufferView": glb.view(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")}]
    assert "not a readable picture" in load(glb).notices[0]


# Files that nobody should trust.


def test_many_copies_of_many_faces_are_refused_before_memory_is_taken(load):
    """40 kB that stand for 2.5 million million faces; then more copies, more faces, and more rows than there are."""
    glb = Glb(np.zeros((3000, 3), np.float32))
    count = {"componentType": 5126, "count": 2_500_000_000}
    attributes = {"TRANSLATION": glb.add("accessors", {**count, "type": "VEC3"})}
    glb.tree["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    tracemalloc.start()
    try:
        for rows, message in ((2_500_000_000, "copies of meshes"), (MAX_FACES // 1000 + 1, "5,001,000 faces")):
            glb.tree["accessors"][-1]["count"] = rows
            with pytest.raises(ValueError, match=message):
                load(glb)
        glb.primitive["attributes"]["POSITION"] = glb.add("accessors", {**count, "type": "VEC3"})
        with pytest.raises(ValueError, match="2,500,000,000 corners of faces and has no bufferView"):
            load(glb)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["POSITION", "indices"])
@pytest.mark.parametrize("sparse", [False, True])
def test_corners_that_the_file_does_not_hold_are_bounded(load, name, sparse):
    """A file of 400 bytes could stand for five million faces, which take 1.6 GB."""
    glb = Glb()
    entry = {"count": 3, **({"componentType": 5126, "type": "VEC3"} if name == "POSITION" else {"componentType": 5121})}
    index = glb.add("accessors", {"type": "SCALAR", **entry})
    (glb.primitive["attributes"] if name == "POSITION" else glb.primitive)[name] = index
    if sparse:
        values = TRIANGLE[1:2] if name == "POSITION" else np.uint8([1])
        glb.tree["accessors"][index]["sparse"] = {
            "count": 1,
            "indices": {"bufferView": glb.view(b"\1"), "componentType": 5121},
            "values": {"bufferView": glb.view(values.tobytes())},
        }
    mesh = load(glb)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], [np.eye(3)[[2, 0, 2]] * [1, 0, 0] * sparse])
    tracemalloc.start()
    try:
        for count in (MAX_CORNERS_NOT_STORED + 1, 15_000_000):
            glb.tree["accessors"][index]["count"] = count
            with pytest.raises(ValueError, match=rf"accessors\[1\] gives {count:,} corners of faces"):
                load(glb)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_one_face_of_many_rows_costs_one_face(load):
    glb = Glb(indices=np.array([0, 1, 4_000_000_000 - 1], np.uint32))
    glb.tree["accessors"][0] = {"componentType": 5126, "count": 4_000_000_000, "type": "VEC3"}
    tracemalloc.start()
    assert len(load(glb).vertices) == 3
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_deep_chain_of_nodes(load):
    glb = Glb()
    glb.tree["nodes"] = [{"children": [k + 1], "translation": [1, 0, 0]} for k in range(5_000)] + [{"mesh": 0}]
    start = time.process_time()
    assert load(glb).vertices[0, 0] == 5_000
    assert time.process_time() - start < 10


MALFORMED = {
    "a cycle": (["nodes"], [{"mesh": 0, "children": [1]}, {"children": [0]}], "below itself"),
    "its own child": (["nodes", 0, "children"], [0], "below itself"),
    "two parents": (["nodes"], [{"children": [1, 1]}, {"mesh": 0}], "twice a child"),
    "no such node": (["scenes", 0, "nodes"], [7], r"nodes\[7\]"),
    "no such mesh": (["nodes", 0, "mesh"], 1, r"meshes\[1\]"),
    "no such accessor": (["meshes", 0, "primitives", 0, "indices"], 4_000_000_000, r"accessors\[4000000000\]"),
    "no such scene": (["scene"], 3, r"scenes\[3\]"),
    "a negative index": (["nodes", 0, "mesh"], -1, "'mesh' is '-1'"),
    "a name for an index": (["nodes", 0, "mesh"], "0", "expected a whole number"),
    "rows beyond the buffer": (["accessors", 0, "count"], 30, "beyond its buffer view"),
    "an offset beyond the buffer": (["accessors", 0, "byteOffset"], 1 << 33, "beyond its buffer view"),
    "a view beyond the buffer": (["bufferViews", 0, "byteOffset"], 9, "reaches to byte"),
    "a stride too small": (["bufferViews", 0, "byteStride"], 4, "stride of 4"),
    "a buffer that is longer": (["buffers", 0, "byteLength"], 9999, "cut short"),
    "an unknown component": (["accessors", 0, "componentType"], 5124, "component type 5124"),
    "a type that makes no sense": (["accessors", 0, "type"], "VEC2", "expected VEC3"),
    "a type of any kind": (["accessors", 0, "type"], {"VEC3": 1}, "expected a text"),
    "signed indices": (["accessors", 1, "componentType"], 5122, "component type 5122"),
    "a short matrix": (["nodes", 0, "matrix"], [1, 2, 3], "expected 16"),
    "a matrix of words": (["nodes", 0, "matrix"], ["a"] * 16, "expected a number"),
    "a huge number": (["nodes", 0, "scale"], [10**400, 1, 1], "not finite"),
    "coordinates that overflow": (["nodes", 0, "scale"], [1e308, 1e308, 1e308], "not finite"),
    "glTF 1": (["asset", "version"], "1.0", "only glTF 2"),
    "glTF 2.1": (["asset", "minVersion"], "2.1", "minVersion is '2.1'"),
    "a list for an object": (["nodes"], [[]], "no JSON object"),
    "no faces": (["scenes", 0, "nodes"], [], "no faces"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(load, name):
    keys, value, message = MALFORMED[name]
    glb = Glb(TRIANGLE * 1e3, np.array([0, 1, 2], np.uint16))
    glb.encode()
    place = glb.tree
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ValueError, match=rf"a\.glb: .*{message}"):
        load(glb)


def test_an_index_or_a_number_that_is_none(load):
    with pytest.raises(ValueError, match=r"a\.glb: row 65535 of accessors\[0\]"):
        load(Glb(indices=np.array([0, 1, 65535], np.uint16)))
    bad = TRIANGLE.copy()
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"a\.glb: POSITION has a number that is not finite"):
        load(Glb(bad))
    mesh = load(Glb(TEXCOORD_0=np.full((3, 2), np.nan, np.float32)).material(PICTURE))
    assert "TEXCOORD_0" in mesh.notices[0] and np.isfinite(colour(mesh)).all()


def test_broken_containers(tmp_path):
    whole = Glb().encode()
    path = tmp_path / "a.glb"
    deep = b'{"asset":{"version":"2.0"},"extras":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for content in (b"", b"glTF", whole[:19], whole[:-8], whole[:4] + b"\1" + whole[5:], join_chunks(b"{", b""),
                    join_chunks(b"[]", b""), join_chunks(b'{"asset": {"version": "2.0"}, "scene": NaN}', b""),
                    join_chunks(b"{}", b""), join_chunks(deep, b""), b"\xff\xfe{", b"hello"):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.glb: (?!not valid glTF)"):
            load_gltf(path)


# Our own exports.


def test_our_vertex_colours_read_back_as_they_were_written(tmp_path):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    levels = np.array([[0, 1, 2], [3, 64, 127], [128, 200, 254], [255, 5, 11]]) / 255.0
    write_glb(tmp_path / "own.glb", vertices, faces, texture=VertexColours(levels[None]))
    mesh = load_gltf(tmp_path / "own.glb")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], vertices[faces])
    np.testing.assert_allclose(mesh.corner_colours[..., :3], levels[faces], atol=1e-5)
    for corner in range(3):
        np.testing.assert_allclose(colour(mesh, 2, np.eye(3)[corner]), 255 * levels[faces[2, corner]], atol=1e-2)
    assert mesh.notices == () and len(drop_transparent(mesh).faces) == 4


def test_our_texels_read_back_as_they_were_written(tmp_path):
    texels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)) / 255.0
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    write_glb(tmp_path / "own.glb", square, faces, texture=FaceTexels(texels[None]))
    mesh = load_gltf(tmp_path / "own.glb")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], square[faces])
    for face, i, j in ((0, 0, 0), (0, 1, 2), (1, 3, 0), (1, 1, 1)):
        barycentric = (1 - i / 3 - j / 3, i / 3, j / 3)
        np.testing.assert_allclose(colour(mesh, face, barycentric), 255 * texels[face, i, j], atol=0.05)
    assert mesh.notices == ()
