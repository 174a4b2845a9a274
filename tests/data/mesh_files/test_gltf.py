"""glTF as its specification (2.0) and the extensions define it; sections are those of the specification."""

import base64
import io
import json
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.mesh_files.gltf import MAX_FACES, load_gltf
from ast_jax.data.normalise import drop_transparent
from ast_jax.data.source_mesh import SourceMesh
from ast_jax.data.views import sample_colours
from ast_jax.export import write_glb
from tests.data.mesh_files.glb import TRIANGLE, Glb, join_chunks

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]
# Texture coordinates of all three corners at once, u to the right and v down, so the whole face has one colour.
LEFT, RIGHT = np.tile(np.array([[0.25, 0.5], [0.75, 0.5]], np.float32)[:, None], (1, 3, 1))
PICTURE = [[RED, BLUE]]
HALF = 0.2140411  # sRGB .5 in light, IEC 61966-2-1


def colour(mesh: SourceMesh, face: int = 0, barycentric=(1 / 3, 1 / 3, 1 / 3)) -> np.ndarray:
    """sRGB, 0 to 255."""
    return 255 * sample_colours(mesh, np.array([face]), np.array([barycentric], np.float32))[0]


@pytest.fixture
def load(tmp_path):
    return lambda glb: load_gltf(glb.write(tmp_path / "a.glb"))


def normal(mesh: SourceMesh, face: int = 0) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces[face]]
    return np.cross(b - a, c - a)


# Colours: section 3.9.2, base colour = factor x texture x COLOR_0, all in light.


def test_the_factor_is_light(load):
    np.testing.assert_allclose(colour(load(Glb().material(factor=(HALF, 1, 0, 1)))), [127.5, 255, 0], atol=0.01)


@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize(
    ("values", "more"),
    # 55 / 255 is .2157, 14027 / 65535 is .21404.
    [(np.float32(HALF), {}), (np.uint8(55), {"normalized": True}), (np.uint16(14027), {"normalized": True}),
     (np.uint16(14027), {})],
)  # fmt: skip
def test_vertex_colours_are_light_in_every_type(load, values, more, width):
    array = np.full((3, width), values)
    mesh = load(Glb().attribute("COLOR_0", array, **more))
    expected = 128.0 if values.dtype == np.uint8 else 127.5
    np.testing.assert_allclose(colour(mesh), expected, atol=0.05)
    np.testing.assert_allclose(colour(mesh, barycentric=(1, 0, 0)), expected, atol=0.05)


def test_vertex_colours_are_mixed_in_light(load):
    mesh = load(Glb(COLOR_0=np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]], np.float32)))
    np.testing.assert_allclose(colour(mesh, barycentric=(HALF, 1 - HALF, 0)), 127.5, atol=0.01)


def test_factor_times_texture_times_vertex_colour(load):
    glb = Glb(COLOR_0=np.full((3, 3), 0.5, np.float32), TEXCOORD_0=LEFT)
    # 188 in light is .5029; times .5 and .5 it is .1257, and that in sRGB is .3896
    np.testing.assert_allclose(colour(load(glb.material([[[188] * 3]], factor=(0.5, 0.5, 1, 1))))[:2], 99.36, atol=0.1)


def test_parts_with_and_without_colours_and_pictures_stay_apart(load):
    glb = Glb(COLOR_0=np.tile(np.float32([0, 1, 0]), (3, 1)))
    position = glb.primitive["attributes"]["POSITION"]
    textured = {"attributes": {"POSITION": position, "TEXCOORD_0": glb.accessor(RIGHT)}}
    glb.material(PICTURE)
    textured["material"] = glb.primitive.pop("material")
    glb.tree["meshes"][0]["primitives"] += [textured, {"attributes": {"POSITION": position}}]
    mesh = load(glb)
    assert [colour(mesh, k).round().tolist() for k in range(3)] == [GREEN, BLUE, WHITE]
    assert mesh.notices == ()


# Textures: sections 3.8 and 3.9.1.


@pytest.mark.parametrize(
    ("uv", "more"),
    [(RIGHT, {}), (np.round(RIGHT * 255).astype(np.uint8), {"normalized": True}),
     (np.round(RIGHT * 65535).astype(np.uint16), {"normalized": True}),
     (np.round(RIGHT * 32767).astype(np.int16), {"normalized": True})],
)  # fmt: skip
def test_texture_coordinates_in_every_type(load, uv, more):
    np.testing.assert_allclose(colour(load(Glb().material(PICTURE).attribute("TEXCOORD_0", uv, **more))), BLUE, atol=2)


def test_v_points_down(load):
    uv = np.tile(np.float32([0.5, 0.25]), (3, 1))
    np.testing.assert_allclose(colour(load(Glb(TEXCOORD_0=uv).material([[RED], [BLUE]]))), RED)


def test_the_set_that_a_texture_names(load):
    glb = Glb(TEXCOORD_0=LEFT, TEXCOORD_1=RIGHT)
    np.testing.assert_allclose(colour(load(glb.material(PICTURE, info={"texCoord": 1}))), BLUE)


def test_a_set_that_is_missing_leaves_the_plain_colour_and_says_so(load):
    mesh = load(Glb(TEXCOORD_0=LEFT).material(PICTURE, info={"texCoord": 1}, factor=(0, 1, 0, 1)))
    np.testing.assert_allclose(colour(mesh), GREEN)
    assert len(mesh.notices) == 1 and "TEXCOORD_1" in mesh.notices[0]


@pytest.mark.parametrize(("code", "expected"), [(None, RED), (10497, RED), (33071, BLUE), (33648, BLUE)])
@pytest.mark.parametrize("axis", [0, 1])
def test_wrap(load, code, expected, axis):
    """1.25 lies on the left when repeated, on the right when clamped or mirrored."""
    uv = np.full((3, 2), 0.5, np.float32)
    uv[:, axis] = 1.25
    sampler = None if code is None else {("wrapS", "wrapT")[axis]: code}
    pixels = PICTURE if axis == 0 else [[RED], [BLUE]]
    np.testing.assert_allclose(colour(load(Glb(TEXCOORD_0=uv).material(pixels, sampler))), expected)


def test_texture_transform_scales_then_rotates_then_moves(load):
    """The words of KHR_texture_transform: coordinates turn counter-clockwise as seen with v down, (1, 0) to (0, -1)."""
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8)
    uv = np.tile(np.float32([0.25, 0.125]), (3, 1))
    transform = {"offset": [0.3125, 0.9375], "rotation": np.pi / 2, "scale": [2, 3]}
    # scaled (.5, .375), turned (.375, -.5), moved (.6875, .4375): column 5, row 3
    glb = Glb(TEXCOORD_0=uv).material(
        np.repeat(numbers[..., None], 3, -1), info={"extensions": {"KHR_texture_transform": transform}}
    )
    glb.tree["extensionsRequired"] = ["KHR_texture_transform"]
    np.testing.assert_allclose(colour(load(glb)), numbers[3, 5], atol=1e-3)


def test_texture_transform_overrides_the_set(load):
    info = {"texCoord": 0, "extensions": {"KHR_texture_transform": {"texCoord": 1}}}
    glb = Glb(TEXCOORD_0=LEFT, TEXCOORD_1=RIGHT).material(PICTURE, info=info)
    np.testing.assert_allclose(colour(load(glb)), BLUE)


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_pictures_of_extensions_and_their_fallback(load, kind):
    glb = Glb(TEXCOORD_0=LEFT).material([[RED]])
    glb.tree["textures"][0] = {"source": 0, "extensions": {f"EXT_texture_{kind}": {"source": 1}}}
    glb.tree["images"].append(glb.picture(np.tile(np.uint8(BLUE), (16, 16, 1)), kind.upper()))
    np.testing.assert_allclose(colour(load(glb)), BLUE, atol=6)
    glb.tree["images"][1] = {"bufferView": 0}
    mesh = load(glb)
    np.testing.assert_allclose(colour(mesh), RED)
    assert "images[1]" in mesh.notices[0]


def test_specular_glossiness_goes_first(load):
    glb = Glb(TEXCOORD_0=RIGHT).material(PICTURE)
    old = {"diffuseFactor": [HALF, 1, HALF, 0.3], "diffuseTexture": {"index": 0}}
    glb.tree["materials"][0] = {"extensions": {"KHR_materials_pbrSpecularGlossiness": old}, "alphaMode": "BLEND"}
    mesh = load(glb)
    np.testing.assert_allclose(colour(mesh), [0, 0, 127.5], atol=0.01)
    assert not len(drop_transparent(mesh).faces)


def test_alpha(load):
    """Section 3.9.4, with the product of all three alphas."""

    def faces(mode: dict, texel: int = 255, factor: float = 1.0, corner: float = 1.0) -> int:
        glb = Glb(TEXCOORD_0=LEFT, COLOR_0=np.tile(np.float32([1, 1, 1, corner]), (3, 1)))
        return len(drop_transparent(load(glb.material([[[9, 9, 9, texel]]], factor=(1, 1, 1, factor), **mode))).faces)

    assert faces({}, texel=0, factor=0, corner=0) == 1
    assert faces({"alphaMode": "MASK"}, texel=100) == 0
    assert faces({"alphaMode": "MASK", "alphaCutoff": 0.2}, texel=100) == 1
    assert faces({"alphaMode": "MASK", "alphaCutoff": 0.2}, texel=100, factor=0.5) == 0
    assert faces({"alphaMode": "BLEND"}, corner=0.4) == 0
    assert faces({"alphaMode": "BLEND"}, texel=150, corner=0.9) == 1
    with pytest.raises(ValueError, match="alphaMode"):
        faces({"alphaMode": "blend"})


# Primitives: section 3.7.2.


@pytest.mark.parametrize(
    ("mode", "corners"),
    [(4, [[0, 1, 2], [3, 4, 0]]), (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 0, 4]]),
     (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0], [4, 0, 0]])],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_modes(load, mode, corners, dtype):
    positions = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    glb = Glb(positions, np.array([0, 1, 2, 3, 4, 0], dtype))
    glb.primitive["mode"] = mode
    mesh = load(glb)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], positions[np.array(corners)])


def test_without_indices_and_with_corners_left_over(load):
    mesh = load(Glb(np.concatenate([TRIANGLE, TRIANGLE + 5, TRIANGLE[:2]])))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], [TRIANGLE, TRIANGLE + 5])


def test_points_and_lines_are_counted(load):
    glb = Glb()
    glb.tree["meshes"][0]["primitives"] += [{**glb.primitive, "mode": mode} for mode in (0, 1, 1, 3)]
    mesh = load(glb)
    assert len(mesh.faces) == 1
    assert [("points" in n, "(2 times)" in n) for n in mesh.notices] == [(True, False), (False, True), (False, False)]
    glb.tree["meshes"][0]["primitives"] = [{**glb.primitive, "mode": 0}]
    with pytest.raises(ValueError, match="no faces in the scene that it shows; .*points"):
        load(glb)
    glb.tree["meshes"][0]["primitives"] = [glb.primitive]
    glb.primitive["mode"] = 7
    with pytest.raises(ValueError, match=r"a\.glb: meshes\[0\] has a primitive of mode 7"):
        load(glb)


# Accessors: section 3.6.2.


def test_interleaved_rows(load):
    rows = np.zeros((3, 6), np.float32)
    rows[:, 1:4], rows[:, 4:] = TRIANGLE, RIGHT
    glb = Glb().material(PICTURE)
    view = glb.view(rows.tobytes(), byteStride=24)
    shared = {"bufferView": view, "componentType": 5126, "count": 3}
    glb.primitive["attributes"] = {
        "POSITION": glb.add("accessors", {**shared, "byteOffset": 4, "type": "VEC3"}),
        "TEXCOORD_0": glb.add("accessors", {**shared, "byteOffset": 16, "type": "VEC2"}),
    }
    mesh = load(glb)
    np.testing.assert_array_equal(mesh.vertices, TRIANGLE)
    np.testing.assert_allclose(colour(mesh), BLUE)


@pytest.mark.parametrize("stored", [True, False])
def test_sparse_rows(load, stored):
    """Over what is stored, or over zeros."""
    glb = Glb()
    moved = np.array([[7, 8, 9], [1, 2, 3]], np.float32)
    entry = glb.tree["accessors"][0]
    if not stored:
        del entry["bufferView"]
    entry["sparse"] = {
        "count": 2,
        "indices": {"bufferView": glb.view(np.array([0, 2], np.uint16).tobytes()), "componentType": 5123},
        "values": {"bufferView": glb.view(moved.tobytes())},
    }
    np.testing.assert_array_equal(load(glb).vertices, [moved[0], TRIANGLE[1] * stored, moved[1]])


def test_an_accessor_without_anything_is_zeros(load):
    glb = Glb()
    glb.primitive["attributes"]["COLOR_0"] = glb.add("accessors", {"componentType": 5126, "count": 3, "type": "VEC3"})
    np.testing.assert_array_equal(colour(load(glb)), 0)


@pytest.mark.parametrize(
    ("array", "more", "expected"),
    # KHR_mesh_quantization; f = max(c / 127, -1) and so on, section 3.11
    [(np.int8([[-128, 0, 127]]), {"normalized": True}, [-1, 0, 1]), (np.uint8([[0, 51, 255]]), {}, [0, 51, 255]),
     (np.int16([[-32768, 16384, 32767]]), {"normalized": True}, [-1, 16384 / 32767, 1]),
     (np.uint16([[0, 13107, 65535]]), {"normalized": True}, [0, 0.2, 1])],
)  # fmt: skip
def test_quantised_positions(load, array, more, expected):
    glb = Glb()
    rows = np.zeros((3, 4), array.dtype)  # rows begin at multiples of four bytes
    rows[:, :3] = array
    view = glb.view(rows.tobytes(), byteStride=rows.strides[0])
    glb.tree["accessors"][0] |= {
        "bufferView": view,
        "componentType": Glb(rows).tree["accessors"][0]["componentType"],
        **more,
    }
    glb.tree["extensionsRequired"] = ["KHR_mesh_quantization"]
    np.testing.assert_allclose(load(glb).vertices, [expected] * 3, atol=1e-12)


def test_morph_targets_with_their_default_weights(load):
    glb = Glb(COLOR_0=np.zeros((3, 3), np.float32))
    deltas = np.random.default_rng(1).random((2, 3, 3)).astype(np.float32)
    light = glb.accessor(np.full((3, 3), 0.4280822, np.float32))
    glb.primitive["targets"] = [
        {"POSITION": glb.accessor(deltas[0]), "COLOR_0": light},
        {"POSITION": glb.accessor(deltas[1])},
    ]
    np.testing.assert_allclose(load(glb).vertices, TRIANGLE)
    glb.tree["meshes"][0]["weights"] = [0.5, 0.25]
    mesh = load(glb)
    np.testing.assert_allclose(mesh.vertices, TRIANGLE + deltas[0] / 2 + deltas[1] / 4, atol=1e-6)
    np.testing.assert_allclose(colour(mesh), 127.5, atol=0.01)  # half of .428
    glb.tree["nodes"][0]["weights"] = [0, 1]
    np.testing.assert_allclose(load(glb).vertices, TRIANGLE + deltas[1], atol=1e-6)


# Nodes and scenes: section 3.5.


def test_translation_times_rotation_times_scale_below_a_matrix(load):
    glb = Glb()
    quarter = np.sqrt(0.5)
    glb.tree["nodes"] = [
        {"children": [1], "matrix": [0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 10, 20, 30, 1]},  # (x, y, z) to (y, z, x)
        {"mesh": 0, "translation": [1, 2, 3], "rotation": [0, 0, quarter, quarter], "scale": [2, 3, 4]},
    ]
    # (1, 0, 0): scaled (2, 0, 0), turned by 90 deg about z (0, 2, 0), moved (1, 4, 3), by the matrix (4, 3, 1)
    np.testing.assert_allclose(load(glb).vertices[1], [14, 23, 31], atol=1e-12)


@pytest.mark.parametrize("node", [{"scale": [-1, 1, 1]}, {"scale": [1, 1, -1]}, {"scale": [-1, -1, -1]},
                                  {"matrix": [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}])  # fmt: skip
def test_a_mirrored_body_is_still_seen_from_outside(load, node):
    """Section 3.7.4; with its corners go colours and texture coordinates."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.uint8)
    glb = Glb(corners, faces.ravel(), COLOR_0=np.concatenate([[[0, 0, 0]], np.eye(3)]).astype(np.float32))
    glb.tree["nodes"] = [{"mesh": 0, **node}]
    mesh = load(glb)
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    np.testing.assert_allclose(np.einsum("fd,fd->", a, np.cross(b, c)), 1, atol=1e-6)  # six times the volume
    matrix = np.reshape(node["matrix"], (4, 4))[:3, :3] if "matrix" in node else np.diag(node["scale"])
    np.testing.assert_allclose(mesh.corner_colours @ matrix.T, mesh.vertices[mesh.faces], atol=1e-6)


def test_only_the_scene_that_opens_is_shown(load):
    glb = Glb()
    glb.tree["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [9, 0, 0]}, {"children": [1]}]
    glb.tree["scenes"] = [{"nodes": [0]}, {"nodes": [2]}]
    glb.tree["scene"] = 1
    mesh = load(glb)
    assert mesh.vertices[:, 0].min() == 9 and "left out a node" in mesh.notices[0]
    del glb.tree["scene"]
    assert load(glb).vertices[:, 0].max() == 1
    del glb.tree["scenes"]
    assert len(load(glb).faces) == 2 and load(glb).notices == ()


def test_instances(load):
    """EXT_mesh_gpu_instancing: node x (translation x rotation x scale) of each; one of them is mirrored."""
    glb = Glb()
    attributes = {
        "TRANSLATION": glb.accessor(np.array([[0, 0, 0], [5, 0, 0]], np.float32)),
        "ROTATION": glb.accessor(np.array([[0, 0, 0, 127], [0, 0, 90, 90]], np.int8), normalized=True),
        "SCALE": glb.accessor(np.array([[1, 1, 1], [2, 1, -1]], np.float32)),
    }
    glb.tree["nodes"][0] |= {"scale": [1, 3, 1], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
    glb.tree["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    mesh = load(glb)
    np.testing.assert_allclose(mesh.vertices[:3], TRIANGLE * [1, 3, 1])
    np.testing.assert_allclose(mesh.vertices[3:], [[5, 0, 0], [5, 6, 0], [4, 0, 0]], atol=1e-6)
    assert normal(mesh, 0)[2] > 0 and normal(mesh, 1)[2] < 0  # mirrored along z, it looks to -z


def test_hidden_nodes(load):
    glb = Glb()
    glb.tree["nodes"] = [{"children": [1, 2]}, {"mesh": 0}]
    glb.tree["nodes"].append({"children": [3], "extensions": {"KHR_node_visibility": {"visible": False}}})
    glb.tree["nodes"].append({"mesh": 0})
    assert len(load(glb).faces) == 1 and "hides" in load(glb).notices[0]


# Skins: section 3.7.3.


def skinned(weights, joints, bind=None) -> Glb:
    """Two joints: one moved by (5, 0, 0), below it one moved by (0, 2, 0) more and three times as high."""
    glb = Glb()
    for k, (w, j) in enumerate(zip(weights, joints)):
        glb.attribute(f"WEIGHTS_{k}", w, normalized=w.dtype != np.float32)
        glb.attribute(f"JOINTS_{k}", j)
    glb.tree["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [100, 100, 100], "scale": [9, 9, 9]},  # makes no difference
        {"children": [2], "translation": [5, 0, 0]},
        {"translation": [0, 2, 0], "scale": [1, 3, 1]},
    ]
    glb.tree["scenes"] = [{"nodes": [0, 1]}]
    glb.tree["skins"] = [{"joints": [1, 2]}]
    if bind is not None:
        glb.tree["skins"][0]["inverseBindMatrices"] = glb.accessor(bind)
    return glb


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.uint16])
def test_joints_move_vertices_by_their_weights(load, kind):
    largest = 1 if kind is np.float32 else np.iinfo(kind).max
    weights = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.2, 0.8, 0, 0]])
    weights = (weights * largest).astype(kind)  # .2 and .8 of 255 and of 65535 are whole
    joints = np.array([[0, 0, 99, 99], [0, 1, 99, 99], [0, 1, 99, 99]], np.uint8)  # 99: no such joint, and no weight
    vertices = load(skinned([weights], [joints])).vertices
    # (0, 1, 0): (5, 1, 0) by the first, (5, 5, 0) by the second
    np.testing.assert_allclose(vertices, [[5, 0, 0], [6, 2, 0], [5, 4.2, 0]], atol=1e-6)


def test_two_sets_of_joints_count_together_and_weights_are_made_to_sum_to_one(load):
    first, second = (np.tile(np.float32([w, 0, 0, 0]), (3, 1)) for w in (0.5, 1.5))
    joints = [np.full((3, 4), k, np.uint16) for k in (0, 1)]
    vertices = load(skinned([first, second], joints)).vertices
    np.testing.assert_allclose(vertices[2], [5, 0.25 * 1 + 0.75 * 5, 0], atol=1e-6)


def test_inverse_bind_matrices_come_first(load):
    bind = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    bind[1, 3, :3] = [0, 10, 0]  # by columns: a move of (0, 10, 0)
    ones, joints = np.tile(np.float32([1, 0, 0, 0]), (3, 1)), np.ones((3, 4), np.uint8)
    np.testing.assert_allclose(load(skinned([ones], [joints], bind.reshape(2, 16))).vertices[0], [5, 32, 0])


def test_a_mirroring_joint_turns_the_face(load):
    glb = skinned([np.tile(np.float32([1, 0, 0, 0]), (3, 1))], [np.ones((3, 4), np.uint8)])
    assert normal(load(glb))[2] > 0
    glb.tree["nodes"][2]["scale"] = [1, 3, -1]  # towards -z it looks from the mirrored outside
    assert normal(load(glb))[2] < 0


def test_a_joint_that_is_not_there(load):
    glb = skinned([np.tile(np.float32([1, 0, 0, 0]), (3, 1))], [np.full((3, 4), 2, np.uint8)])
    with pytest.raises(ValueError, match=r"skins\[0\] has 2 joints"):
        load(glb)
    glb = Glb()
    glb.tree |= {"skins": [{"joints": [0]}], "nodes": [{"mesh": 0, "skin": 0}]}
    assert "no joints" in load(glb).notices[0]


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
        with pytest.raises(ValueError, match="faces, copies counted"):
            load(glb)
        assert tracemalloc.get_traced_memory()[1] < 20e6
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
    write_glb(tmp_path / "own.glb", vertices, faces, vertex_colours=levels)
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
    write_glb(tmp_path / "own.glb", square, faces, texels=texels)
    mesh = load_gltf(tmp_path / "own.glb")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], square[faces])
    for face, i, j in ((0, 0, 0), (0, 1, 2), (1, 3, 0), (1, 1, 1)):
        barycentric = (1 - i / 3 - j / 3, i / 3, j / 3)
        np.testing.assert_allclose(colour(mesh, face, barycentric), 255 * texels[face, i, j], atol=0.05)
    assert mesh.notices == ()
