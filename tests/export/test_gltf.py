"""Export to mesh files: what a viewer will sample equals the definition of the texel grids."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import trimesh

from ast_jax.export import bake_atlas, encode_glb, write_glb
from render import CornerColours, FaceTexels, Fragments, UVImage, VertexColours, sample_face_texels
from tests.export.glb_bytes import read_attribute, read_glb_json

VERTICES = np.array([[0.5, 0, 0], [-0.25, 0, 0.4], [-0.25, 0, -0.4], [0, 0.6, 0]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)


def random_texels(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((len(FACES), side, side, 3))


def random_barycentrics(num: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(3), num)


def bilinear(grid: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """The definition, written out: texel (i, j) lies at b1 = i/(t-1), b2 = j/(t-1)."""
    side = grid.shape[0]
    if side == 1:
        return np.broadcast_to(grid[0, 0], (len(barycentric), 3))
    out = []
    for _, b1, b2 in barycentric:
        y, x = b1 * (side - 1), b2 * (side - 1)
        i, j = min(int(y), side - 2), min(int(x), side - 2)
        p, q = y - i, x - j
        low = (1 - q) * grid[i, j] + q * grid[i, j + 1]
        high = (1 - q) * grid[i + 1, j] + q * grid[i + 1, j + 1]
        out.append((1 - p) * low + p * high)
    return np.array(out)


def sample_picture(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear filtering as graphics cards do it, by scipy: pixel centres at +0.5, v upwards."""
    height, width = image.shape[:2]
    at = [(1 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5]
    channels = [scipy.ndimage.map_coordinates(image[..., c] / 255.0, at, order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, -1)


@pytest.mark.parametrize("side", [1, 2, 3, 6])
def test_atlas_sampled_like_the_texel_grid(side):
    texels = random_texels(side)
    image, corner_uv = bake_atlas(texels)
    barycentric = random_barycentrics(200)
    for face in range(len(FACES)):
        found = sample_picture(image, barycentric @ corner_uv[face])
        # half an 8-bit step of rounding, nothing else
        np.testing.assert_allclose(found, bilinear(texels[face], barycentric), atol=0.5 / 255 + 1e-9)


def test_atlas_shows_what_the_renderer_draws():
    texels = random_texels(4).astype(np.float32)
    image, corner_uv = bake_atlas(texels)
    barycentric = random_barycentrics(64).astype(np.float32)
    face = np.arange(64) % len(FACES)
    pixels = jnp.asarray(face, jnp.int32).reshape(1, 8, 8), jnp.asarray(barycentric).reshape(1, 8, 8, 3)
    drawn = sample_face_texels(jnp.asarray(texels)[None], Fragments(*pixels, jnp.ones((1, 8, 8))))
    found = sample_picture(image, np.einsum("nk,nkc->nc", barycentric, corner_uv[face]))
    np.testing.assert_allclose(found, np.asarray(drawn).reshape(-1, 3), atol=0.5 / 255 + 1e-5)


def test_no_bleeding_one_pixel_around_a_face():
    """Every cell has its own colour; a viewer that looks up to a pixel too far still sees no other cell."""
    texels = np.zeros((9, 3, 3, 3))
    texels[:] = np.linspace(0, 1, 9)[:, None, None, None]
    image, corner_uv = bake_atlas(texels)
    for dx, dy in [(-1, 0), (1, 0), (0, -1), (0, 1)]:
        shifted = corner_uv + np.array([dx, dy]) * 0.99 / image.shape[0]
        for face in range(9):
            np.testing.assert_allclose(sample_picture(image, shifted[face]), texels[face, 0, 0, 0], atol=0.003)


def test_glb_reloads_with_geometry_and_colours(tmp_path):
    texels = random_texels(4)
    write_glb(tmp_path / "mesh.glb", VERTICES, FACES, texture=FaceTexels(texels[None]))
    mesh = trimesh.load(tmp_path / "mesh.glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[FACES], atol=1e-7)
    material = mesh.visual.material
    assert (material.metallicFactor, material.roughnessFactor) == (0.0, 1.0)
    picture = np.asarray(material.baseColorTexture.convert("RGB"))
    barycentric = random_barycentrics(100)
    for face in range(len(FACES)):
        uv = barycentric @ mesh.visual.uv[mesh.faces[face]]
        np.testing.assert_allclose(
            sample_picture(picture, uv), bilinear(texels[face], barycentric), atol=0.5 / 255 + 1e-4
        )


def test_glb_structure():
    tree = read_glb_json(encode_glb(VERTICES, FACES, texture=FaceTexels(random_texels(2)[None])))
    sampler = tree["samplers"][tree["textures"][0]["sampler"]]
    assert sampler["minFilter"] == 9729 and sampler["wrapS"] == 33071
    assert tree["images"][0]["mimeType"] == "image/png"
    assert tree["materials"][0]["doubleSided"] is True
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    views = [tree["bufferViews"][tree["accessors"][i]["bufferView"]] for i in attributes.values()]
    assert {view["target"] for view in views} == {34962}


def test_normals_are_smooth_and_point_outside():
    sphere = trimesh.creation.icosphere(subdivisions=2)
    texture = FaceTexels(np.ones((1, len(sphere.faces), 1, 1, 3)))
    data = encode_glb(np.asarray(sphere.vertices), np.asarray(sphere.faces), texture=texture)
    position, normal = read_attribute(data, "POSITION"), read_attribute(data, "NORMAL")
    assert len(position) == 3 * len(sphere.faces)
    assert (np.sum(position * normal, -1) > 0.999).all()


def test_vertex_colours_are_stored_linear(tmp_path):
    colours = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.03, 0.2], [0.1, 0.7, 0.9]], np.float32)
    data = encode_glb(VERTICES, FACES, texture=VertexColours(colours[None]))
    stored = read_attribute(data, "COLOR_0")
    # 0.5 in sRGB is 0.21404 in linear light, 0.2 is 0.033105 (IEC 61966-2-1)
    np.testing.assert_allclose(stored[2], [0.21404, 0.03 / 12.92, 0.033105], atol=1e-5)
    np.testing.assert_allclose(stored[:2], [[0, 0, 0], [1, 1, 1]])


def test_colours_of_corners_are_stored_corner_by_corner():
    colours = np.random.default_rng(2).integers(0, 2, (1, len(FACES), 3, 3)).astype(np.float32)  # 0 and 1 stay in light
    data = encode_glb(VERTICES, FACES, texture=CornerColours(colours))
    np.testing.assert_array_equal(read_attribute(data, "COLOR_0"), colours.reshape(-1, 3))
    np.testing.assert_allclose(read_attribute(data, "POSITION"), VERTICES[FACES.ravel()], atol=1e-7)


def test_a_picture_with_uv_is_stored_as_it_is(tmp_path):
    rng = np.random.default_rng(3)
    image, uv = rng.integers(0, 256, (1, 5, 7, 3)), rng.uniform(0, 1, (len(FACES), 3, 2)).astype(np.float32)
    texture = UVImage((image / 255).astype(np.float32), uv, "repeat", None)
    write_glb(tmp_path / "mesh.glb", VERTICES, FACES, texture=texture)
    tree = read_glb_json((tmp_path / "mesh.glb").read_bytes())
    assert tree["samplers"][0] == {"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}
    mesh = trimesh.load(tmp_path / "mesh.glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], uv, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.baseColorTexture.convert("RGB")), image[0])


def test_glb_survives_degenerate_faces():
    data = encode_glb(np.zeros((4, 3), np.float32), FACES, texture=FaceTexels(random_texels(2)[None]))
    normal = read_attribute(data, "NORMAL")
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices": np.full((4, 3), np.nan, np.float32)}, "vertices"),
        ({"faces": FACES + 1}, "faces"),
        ({"faces": np.zeros((0, 3), np.int32)}, "empty"),
        ({"texture": FaceTexels(np.zeros((1, 3, 2, 2, 3)))}, "texture values"),
        ({"texture": VertexColours(np.zeros((1, 5, 3)))}, "texture values"),
        ({"texture": UVImage(np.zeros((1, 4, 4, 3)), np.zeros((3, 3, 2)))}, "texture uv"),
    ],
)
def test_bad_input_is_named(changes, message):
    arguments = {"vertices": VERTICES, "faces": FACES, **changes}
    unchecked = inspect.unwrap(encode_glb)  # without the shape checks that only tests switch on
    with pytest.raises(ValueError, match=message):
        unchecked(arguments.pop("vertices"), arguments.pop("faces"), **arguments)
