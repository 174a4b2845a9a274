"""glTF as its specification (2.0) and the extensions define it: colours, textures, primitives, accessors.

Sections are those of the specification.
"""

import numpy as np
import pytest

from ast_jax.shapes.mesh_files.gltf import load_gltf
from ast_jax.shapes.normalise import drop_transparent
from tests.shapes.mesh_files.glb import TRIANGLE, Glb
from tests.shapes.mesh_files.looks import BLUE, GREEN, HALF, LEFT, PICTURE, RED, RIGHT, WHITE, colour


@pytest.fixture
def load(tmp_path):
    return lambda glb: load_gltf(glb.write(tmp_path / "a.glb"))


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
    assert mesh.notices == ("left out corners at the end of triangles that make no triangle",)


@pytest.mark.parametrize("mode", [4, 5, 6])
def test_a_primitive_of_two_corners_is_counted(load, mode):
    glb = Glb()
    short = {
        "attributes": glb.primitive["attributes"],
        "indices": glb.accessor(np.array([0, 1], np.uint8)),
        "mode": mode,
    }
    glb.tree["meshes"][0]["primitives"].append(short)
    mesh = load(glb)
    assert len(mesh.faces) == 1
    assert mesh.notices == ("left out a primitive of fewer than three corners, which has no faces",)


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
