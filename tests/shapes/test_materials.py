"""What a face looks like: the product of colour, image and corner colours in light; who is seen through."""

import numpy as np
import pytest

from ast_jax.shapes.normalise import colour_grey_materials, drop_transparent
from ast_jax.shapes.source_mesh import GREY, WHITE, Material, SourceMesh
from ast_jax.shapes.srgb import linear_from_srgb, srgb_from_linear
from ast_jax.shapes.views import sample_colours

CENTRE = np.full((1, 3), 1 / 3, np.float32)


PLAIN = Material(WHITE)


def triangle(material: Material = PLAIN, uv=(0.5, 0.5), corners=None, **fields) -> SourceMesh:
    """One face; all corners have the same texture coordinates."""
    corner_uv = np.tile(np.array(uv, np.float32), (1, 3, 1))
    colours = None if corners is None else np.array([corners], np.float32)
    return SourceMesh(
        "m",
        np.eye(3),
        np.array([[0, 1, 2]], np.int32),
        (material,),
        np.zeros(1, np.int32),
        corner_uv,
        colours,
        **fields,
    )


def colour(mesh: SourceMesh, barycentric=CENTRE, **options) -> np.ndarray:
    return sample_colours(mesh, np.zeros(1, np.int32), np.asarray(barycentric, np.float32), **options)[0]


def picture(*texels) -> np.ndarray:
    """One row of texels."""
    return np.array([texels], np.uint8)


def test_srgb_is_iec_61966():
    np.testing.assert_allclose(
        linear_from_srgb(np.array([0, 0.04, 0.5, 1])), [0, 0.04 / 12.92, 0.2140411, 1], atol=1e-7
    )
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-7)


def test_colour_image_and_corners_are_multiplied_in_light():
    half = 0.735357  # sRGB of one half in light: 1.055 * .5 ** (1 / 2.4) - .055
    image = picture((188, 188, 255))  # 188 / 255 in light is .5029
    mesh = triangle(Material((half, 1.0, half), image), corners=np.full((3, 3), half))
    expected = srgb_from_linear(np.array([0.5029 * 0.25, 0.5029 * 0.5, 0.25]))
    np.testing.assert_allclose(colour(mesh), expected, atol=1e-4)


def test_a_white_material_leaves_the_corner_colours_as_they_are_to_the_bit():
    corners = np.random.default_rng(0).random((3, 3), np.float32)
    found = colour(triangle(corners=corners))
    np.testing.assert_array_equal(found, np.einsum("mc,mcd->md", CENTRE, corners[None])[0])
    dimmed = colour(triangle(Material((1.0, 0.5, 1.0)), corners=corners))
    np.testing.assert_array_equal(found[[0, 2]], dimmed[[0, 2]])
    assert dimmed[1] < found[1]


def test_corner_colours_mix_as_stored_or_in_light():
    corners = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    between = [[0.5, 0.5, 0]]
    np.testing.assert_allclose(colour(triangle(corners=corners), between), 0.5, atol=1e-6)
    np.testing.assert_allclose(colour(triangle(corners=corners, mix_linear=True), between), 0.735357, atol=1e-5)


@pytest.mark.parametrize(
    ("wrap", "seen"),
    # Texels 10 20 30 40 at u = .125 .375 .625 .875; the centres of texels that lie outside [0, 1].
    [("repeat", {1.125: 10, -0.125: 40, 2.625: 30}), ("clamp", {1.125: 40, -0.125: 10, 1e30: 40, -7.3: 10}),
     ("mirror", {1.125: 40, 1.375: 30, -0.125: 10, -0.375: 20, 2.125: 10, -1.125: 40})],
)  # fmt: skip
def test_wrap(wrap, seen):
    image = picture(*((value,) * 3 for value in (10, 20, 30, 40)))
    for u, value in seen.items():
        along_u = triangle(Material(WHITE, image, wrap=(wrap, "repeat")), (u, 0.5))
        along_v = triangle(Material(WHITE, image[:, ::-1].swapaxes(0, 1), wrap=("repeat", wrap)), (0.5, u))
        for mesh in (along_u, along_v):
            np.testing.assert_allclose(colour(mesh) * 255, value, atol=1e-3)


def test_the_alpha_of_texels_is_looked_up_with_the_wrap_of_the_material():
    image = picture((9, 9, 9, 255), (9, 9, 9, 0))
    for wrap, kept in (("repeat", 1), ("clamp", 0), ("mirror", 0)):
        mesh = triangle(Material(WHITE, image, wrap=(wrap, "repeat")), (1.25, 0.5))
        assert len(drop_transparent(mesh).faces) == kept


@pytest.mark.parametrize(
    ("mode", "cutoff", "opacity", "texel", "corner", "kept"),
    [
        ("opaque", 0.5, 0.0, 0, 0.0, 1),
        ("blend", 0.5, 0.6, 255, 1.0, 1),
        ("blend", 0.5, 0.6, 204, 1.0, 0),  # .48
        ("blend", 0.9, 0.6, 255, 1.0, 1),  # no cut-off
        ("mask", 0.2, 1.0, 100, 1.0, 1),  # .39
        ("mask", 0.7, 1.0, 178, 1.0, 0),  # .698
        ("mask", 0.7, 1.0, 255, 0.7, 1),  # not less than the cut-off
        ("mask", 0.2, 0.5, 100, 1.0, 0),  # .196
        ("blend", 0.5, 1.0, 255, 0.4, 0),
        ("mask", 1.5, 1.0, 255, 1.0, 0),  # glTF 2.0, 3.9.4: above 1 nothing is seen
    ],
)
def test_what_alpha_decides(mode, cutoff, opacity, texel, corner, kept):
    material = Material(WHITE, picture((9, 9, 9, texel)), opacity, alpha_mode=mode, alpha_cutoff=cutoff)
    mesh = triangle(material, corners=[[1, 1, 1, corner]] * 3)
    assert len(drop_transparent(mesh).faces) == kept
    assert len(drop_transparent(mesh.replace(face_material=None)).faces) == kept


def test_a_mask_is_judged_texel_by_texel():
    """One fifth is seen with alpha 1: mean alpha is above the cut-off, and yet most of the face is a hole."""
    image = picture(*[(9, 9, 9, 255)] * 2, *[(9, 9, 9, 0)] * 8)
    mesh = triangle(Material(WHITE, image, alpha_mode="mask", alpha_cutoff=0.1))
    mesh = mesh.replace(corner_uv=np.array([[[0, 0.1], [0.99, 0.1], [0.5, 0.9]]], np.float32))
    assert not len(drop_transparent(mesh).faces)


@pytest.mark.parametrize(
    ("mode", "left", "right"),
    # Two texels a side, red with alpha 0 and green with alpha 255, in a picture reduced to one texel a side.
    [("opaque", (255, 0, 0, 0), 128), ("mask", (255, 0, 0, 100), 0), ("blend", (255, 0, 0, 0), 0)],
)
def test_reduced_pictures_show_what_is_seen(mode, left, right):
    image = np.tile(picture(left, (0, 255, 0, 255)), (2, 1, 1))
    mesh = triangle(Material(WHITE, image, alpha_mode=mode))
    np.testing.assert_allclose(colour(mesh, largest=1)[0] * 255, right, atol=1)


def test_a_hue_is_given_only_where_neither_material_nor_corner_has_one():
    faces = np.array([[0, 1, 2], [0, 1, 2]], np.int32)
    corners = np.ones((2, 3, 3), np.float32)
    corners[0, 0] = (1, 0, 0)
    materials = (Material(WHITE), Material(GREY, alpha_mode="mask"))
    mesh = SourceMesh("m", np.eye(3), faces, materials, np.arange(2, dtype=np.int32), corner_colours=corners)
    first, second = colour_grey_materials(mesh, 0).materials
    assert first == materials[0] and np.ptp(second.colour) > 0.1 and second.alpha_mode == "mask"
