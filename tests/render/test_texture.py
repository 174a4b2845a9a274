import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from render import (
    CornerColours,
    FaceTexels,
    Fragments,
    UVImage,
    VertexColours,
    bake_texels,
    barycentric_footprint,
    gather_corners,
    icosphere,
    rasterize,
    sample_texture,
    sample_uv,
)
from render.footprint import mip_level, uv_footprint
from render.texture import check_texture, face_coefficients, texel_side, texture_points
from render.uv import mip_pyramid
from tests.render import reference

draw = jax.jit(rasterize, static_argnums=2)
sample = jax.jit(sample_texture)
footprint_of = jax.jit(barycentric_footprint)
look_up = jax.jit(sample_uv, static_argnames=("wrap", "max_level"))
level_of = jax.jit(mip_level, static_argnums=1)
pyramid_of = jax.jit(mip_pyramid, static_argnums=1)
bake = jax.jit(bake_texels, static_argnums=(1, 2))

# The table of Kaolin (tests/python/kaolin/render/mesh/test_utils.py, Apache-2.0): 11..15 in the top row, 41..45 in
# the bottom row.
KAOLIN = np.add.outer(np.arange(10.0, 50, 10), np.arange(1.0, 6))[None, :, :, None]
SCIPY_MODE = {"repeat": "grid-wrap", "clamp": "nearest"}


def lookup(image, uv, wrap):
    """Bilinear lookup by scipy: one image `[h, w, c]`, uv `[..., 2]`."""
    place = np.stack([(1 - uv[..., 1]) * image.shape[0] - 0.5, uv[..., 0] * image.shape[1] - 0.5])
    channels = [map_coordinates(image[..., c], place, order=1, mode=SCIPY_MODE[wrap]) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1)


def halved(image, axis):
    """Means over halves of an axis, by splitting every texel into as many parts as there will be texels."""
    old, new = image.shape[axis], max(1, image.shape[axis] // 2)
    fine = np.moveaxis(np.repeat(image, new, axis), axis, 0)
    return np.moveaxis(fine.reshape(new, old, *fine.shape[1:]).mean(axis=1), 0, axis)


def points(barycentric):
    """Fragments that see face 0 of one image at given barycentrics `[m, 3]`."""
    barycentric = jnp.asarray(barycentric)[None, None]
    return Fragments(jnp.zeros(barycentric.shape[:3], jnp.int32), barycentric, jnp.zeros(barycentric.shape[:3]))


def check_gradient(function, arguments, rng, step=1e-6):
    """Gradients by all arguments against central differences along random directions."""
    gradients = jax.jit(jax.grad(function, argnums=tuple(range(len(arguments)))))(*arguments)
    value = jax.jit(function)
    for place, gradient in enumerate(gradients):
        for _ in range(3):
            move = rng.normal(size=gradient.shape)
            ends = [
                value(*(x + sign * step * move if i == place else x for i, x in enumerate(arguments)))
                for sign in (1, -1)
            ]
            slope = float(ends[0] - ends[1]) / (2 * step)
            assert abs(slope) > 1e-3
            np.testing.assert_allclose(np.sum(gradient * move), slope, rtol=1e-6)


def corner_uv(faces, rng):
    return rng.uniform(-0.7, 1.6, (len(faces), 3, 2))


def seen(bumpy_meshes, size=(9, 13)):
    """Clip vertices of two meshes and their fragments."""
    vertices, faces, rng = bumpy_meshes
    w = 3.0 - vertices[..., 2:]
    clip = jnp.asarray(np.concatenate([4 * vertices[..., :2], 0 * w, w], axis=-1))
    return clip, faces, draw(clip, faces, size), rng


@pytest.mark.parametrize("wrap", ["repeat", "clamp"])
@pytest.mark.parametrize("size", [(5, 7), (1, 4), (6, 1)])
def test_lookup_agrees_with_scipy(float64, wrap, size):
    rng = np.random.default_rng(0)
    images, uv = rng.random((2, *size, 4)), rng.uniform(-2, 3, (2, 6, 9, 2))
    uv[0, 0, :3] = [[0, 0], [1, 1], [0.5, 0.5]]
    expected = np.stack([lookup(images[i], uv[i], wrap) for i in range(2)])
    np.testing.assert_allclose(look_up(images, uv, wrap=wrap), expected, atol=1e-12)
    shared = np.stack([lookup(images[0], uv[i], wrap) for i in range(2)])
    np.testing.assert_allclose(look_up(images[:1], uv, wrap=wrap), shared, atol=1e-12)


def test_texture_tables_of_kaolin():
    uv = np.array([[[0, 0], [1, 1], [0, 1], [0.5, 0.5]]], np.float32)
    values = look_up(KAOLIN.astype(np.float32), uv, wrap="clamp")
    np.testing.assert_allclose(values[0, :, 0], [41, 15, 11, 28], rtol=1e-6)
    for v in (0, 1 / 8):
        uv = np.stack([np.linspace(0, 1, 5), np.full(5, v)], axis=-1)[None].astype(np.float32)
        values = look_up(KAOLIN.astype(np.float32), uv, wrap="clamp")
        np.testing.assert_allclose(values[0, :, 0], [41, 41.75, 43, 44.25, 45], rtol=1e-6)


@pytest.mark.parametrize("level", [None, 0.0, 0.6, 1.0])
def test_mip_ramp_of_tensorflow_graphics(level):
    """tensorflow_graphics/rendering/texture/tests/mipmap_test.py: both of its levels are the same there."""
    image = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1)
    uv = np.array([[[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]], np.float32)
    level = None if level is None else np.full((1, 4), level, np.float32)
    np.testing.assert_allclose(look_up(image, uv, level=level)[0, :, 0], [11.5, 3.5, 13.5, 5.5], rtol=1e-6)


@pytest.mark.parametrize("size, count", [((8, 8), 4), ((7, 5), 3), ((3, 2), 2), ((1, 13), 4), ((1, 1), 1)])
def test_mip_levels_are_means_over_rectangles(float64, size, count):
    image = np.random.default_rng(1).random((2, *size, 3))
    pyramid = pyramid_of(image)
    assert len(pyramid) == count and pyramid[-1].shape[1:3] == (1, 1)
    for fine, coarse in zip(pyramid, pyramid[1:]):
        np.testing.assert_allclose(coarse, halved(halved(np.asarray(fine), 1), 2), atol=1e-14)
        np.testing.assert_allclose(coarse.mean((1, 2)), image.mean((1, 2)), atol=1e-14)
    assert len(pyramid_of(image, 1)) == min(count, 2)


@pytest.mark.parametrize("wrap", ["repeat", "clamp"])
def test_trilinear_lookup(float64, wrap):
    rng = np.random.default_rng(2)
    image, uv, level = rng.random((1, 13, 6, 2)), rng.uniform(-1, 2, (1, 40, 2)), rng.uniform(-1, 5, (1, 40))
    pyramid = [np.asarray(step[0]) for step in pyramid_of(image)]
    on_levels = np.stack([lookup(step, uv[0], wrap) for step in pyramid])
    clamped = np.clip(level[0], 0, len(pyramid) - 1)
    low = np.minimum(clamped.astype(int), len(pyramid) - 2)
    share, index = (clamped - low)[:, None], np.arange(40)
    expected = (1 - share) * on_levels[low, index] + share * on_levels[low + 1, index]
    np.testing.assert_allclose(look_up(image, uv, wrap=wrap, level=level)[0], expected, atol=1e-12)
    capped = look_up(image, uv, wrap=wrap, level=np.full((1, 40), 7.0), max_level=2)
    np.testing.assert_allclose(capped[0], on_levels[2], atol=1e-12)


@pytest.mark.parametrize("wrap", ["repeat", "clamp"])
def test_lookup_gradients(float64, wrap):
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(2, 30, 3))
    image, uv, level = rng.random((2, 9, 6, 3)), rng.uniform(-0.5, 1.5, (2, 30, 2)), rng.uniform(-0.5, 3.5, (2, 30))
    check_gradient(lambda i, u, k: (look_up(i, u, wrap=wrap, level=k) * weights).sum(), (image, uv, level), rng)
    check_gradient(lambda i, u: (look_up(i, u, wrap=wrap) * weights).sum(), (image[:1], uv), rng)


def barycentrics_at(corners_clip, xy, image_size):
    """Barycentrics of a face at a place in pixels (centres at +0.5), from the definition."""
    height, width = image_size
    ndc = np.array([2 * xy[0] / width - 1, 1 - 2 * xy[1] / height, 1.0])
    parts = np.linalg.solve(corners_clip[:, [0, 1, 3]].T, ndc)
    return parts / parts.sum()


@pytest.mark.parametrize("crossing", [False, True])
def test_footprint_is_the_derivative_of_barycentrics(float64, bumpy_meshes, crossing):
    clip, faces, fragments, _ = seen(bumpy_meshes)
    if crossing:  # The camera inside the mesh, some of whose faces pass through its plane.
        clip = (clip * jnp.array([[[0.1, 0.1, 1, 1]]])).at[..., 3].add(-3.1)
        fragments = draw(clip, faces, (9, 13))
        assert any(not reference.is_soft(np.asarray(clip[0])[faces[i]]) for i in np.unique(fragments.face_id[0]))
    footprint, step = np.asarray(footprint_of(clip, faces, fragments)), 1e-5
    face_id = np.asarray(fragments.face_id)
    assert not footprint[face_id < 0].any()
    for image, row, column in np.argwhere(face_id >= 0)[::5]:
        corners = np.asarray(clip[image])[faces[face_id[image, row, column]]]
        for axis in (0, 1):
            ends = [
                barycentrics_at(corners, np.array([column, row]) + 0.5 + sign * step * np.eye(2)[axis], (9, 13))
                for sign in (1, -1)
            ]
            slope = (ends[0] - ends[1]) / (2 * step)
            scale = np.abs(slope).max()
            np.testing.assert_allclose(footprint[image, row, column, :, axis], slope, atol=1e-6 * scale)


@pytest.mark.parametrize("texels", [(8, 16), (32, 64), (24, 48), (4, 8)])
def test_level_of_a_square_that_faces_the_camera(texels):
    """An image of n times the pixels belongs to level log2 n, one of fewer pixels to level 0."""
    clip = jnp.array([[[-1, -1, 0, 1], [1, -1, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1]]], jnp.float32)
    faces, uv = np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    fragments = draw(clip, faces, (8, 16))
    footprint = footprint_of(clip, faces, fragments)
    by_pixel = uv_footprint(uv[faces][None], fragments, footprint)
    np.testing.assert_allclose(by_pixel, np.tile([[1 / 16, 0], [0, -1 / 8]], (1, 8, 16, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(level_of(by_pixel, texels), max(0, np.log2(texels[0] / 8)), atol=1e-5)


def test_level_is_the_longer_axis_and_ignores_camera_roll(float64):
    rng = np.random.default_rng(4)
    by_pixel = rng.normal(size=(20, 2, 2))
    turns = np.linalg.qr(rng.normal(size=(20, 2, 2)))[0]
    expected = np.log2(np.linalg.svd(np.array([[64.0], [32]])[None] * by_pixel, compute_uv=False)[:, 0])
    np.testing.assert_allclose(level_of(by_pixel, (32, 64)), expected, atol=1e-12)
    np.testing.assert_allclose(level_of(by_pixel @ turns, (32, 64)), expected, atol=1e-12)


def test_uv_images_agree_with_the_definition(float64, bumpy_meshes):
    clip, faces, fragments, rng = seen(bumpy_meshes)
    uv, image = corner_uv(faces, rng), rng.random((2, 11, 6, 3))
    covered = np.asarray(fragments.face_id) >= 0
    places = np.einsum("bhwi,bhwiu->bhwu", fragments.barycentric, uv[np.asarray(fragments.face_id)])
    expected = np.stack([lookup(image[i], places[i], "clamp") for i in range(2)]) * covered[..., None]
    plain = UVImage(image, uv, "clamp")
    np.testing.assert_allclose(sample(plain, faces, fragments), expected, atol=1e-10)
    footprint = footprint_of(clip, faces, fragments)
    np.testing.assert_allclose(sample(plain, faces, fragments, footprint), expected, atol=1e-10)
    mapped = sample(UVImage(image, uv, "clamp", None), faces, fragments, footprint)
    by_pixel = np.einsum("bhwiu,bhwix->bhwux", uv[np.asarray(fragments.face_id)], footprint)
    level = np.log2(np.maximum(np.linalg.norm(by_pixel * [[6], [11]], 2, axis=(-2, -1)), 1))
    assert (level[covered] > 0.5).mean() > 0.5
    expected = look_up(image, places, wrap="clamp", level=level) * covered[..., None]
    np.testing.assert_allclose(mapped, expected, atol=1e-10)


def test_gradients_through_a_mip_mapped_mesh(float64, bumpy_meshes):
    """Image, uv coordinates, and vertices by barycentrics and by the footprint."""
    clip, faces, _, rng = seen(bumpy_meshes)
    weights = rng.normal(size=(2, 9, 13, 3))

    def loss(image, uv, clip):
        fragments = draw(clip, faces, (9, 13))
        footprint = footprint_of(clip, faces, fragments)
        return (sample(UVImage(image, uv, "repeat", None), faces, fragments, footprint) * weights).sum()

    check_gradient(loss, (rng.random((1, 12, 10, 3)), 0.3 * corner_uv(faces, rng), clip), rng, step=1e-7)


@pytest.mark.parametrize("layers", [1, 3])
def test_fragments_may_have_layers(bumpy_meshes, layers):
    clip, faces, fragments, rng = seen(bumpy_meshes)
    clip = clip.astype(jnp.float32)
    turned = [fragments._replace(face_id=(fragments.face_id + i) % 20) for i in range(layers)]
    stacked = Fragments(*(jnp.stack(fields, axis=1) for fields in zip(*turned)))
    textures = [
        VertexColours(rng.random((2, 12, 3))),
        CornerColours(rng.random((2, 20, 3, 3))),
        FaceTexels(rng.random((2, 20, 3, 3, 3))),
        UVImage(rng.random((2, 8, 8, 3)), corner_uv(faces, rng), max_level=None),
    ]
    for texture in textures:
        texture = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), texture)
        single = [sample(texture, faces, f, footprint_of(clip, faces, f)) for f in turned]
        whole = sample(texture, faces, stacked, footprint_of(clip, faces, stacked))
        np.testing.assert_allclose(whole, jnp.stack(single, axis=1), atol=1e-6)


def test_corner_colours_are_gathered_vertex_colours_and_may_have_seams(bumpy_meshes):
    _, faces, fragments, rng = seen(bumpy_meshes)
    colours = jnp.asarray(rng.random((2, 12, 3)), jnp.float32)
    pair = VertexColours(colours), CornerColours(gather_corners(colours, faces))
    np.testing.assert_array_equal(*(sample(texture, faces, fragments) for texture in pair))
    np.testing.assert_array_equal(*(face_coefficients(texture, faces) for texture in pair))
    assert [texel_side(texture) for texture in pair] == [0, 0]
    flat = np.repeat(rng.random((2, 20, 1, 3)), 3, axis=2).astype(np.float32)
    image, row, column = np.nonzero(np.asarray(fragments.face_id) >= 0)
    expected = flat[image, np.asarray(fragments.face_id)[image, row, column], 0]
    values = sample(CornerColours(flat), faces, fragments)[image, row, column]
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_baking_keeps_linear_pictures(float64, side):
    """With one texel the colour of the middle; else every point of the face."""
    rng = np.random.default_rng(5)
    row, column = np.mgrid[:16.0, :20.0]
    ramp = np.stack([column, row, column - row], axis=-1)[None]
    uv, places = rng.uniform(0.1, 0.9, (3, 3, 2)), rng.dirichlet(np.ones(3), 50)
    baked = bake(UVImage(ramp, uv), side)
    assert baked.values.shape == (1, 3, side, side, 3)
    if side == 1:
        places = np.full((1, 3), 1 / 3)
    expected = lookup(ramp[0], places @ uv[0], "repeat")
    np.testing.assert_allclose(sample(baked, uv, points(places))[0, 0], expected, atol=1e-10)
    np.testing.assert_allclose(places @ uv[0] * [20, -16] + [-0.5, 15.5], expected[:, :2], atol=1e-10)
    assert bake(UVImage(ramp, uv), side, 2).values.shape[0] == 2


def test_baking_reads_nothing_from_outside_of_the_face():
    """The upper right half of the picture, beyond the diagonal of the face, is another chart."""
    row, column = np.mgrid[:16, :16]
    image = np.where((column - row > 0)[..., None], 1e6, [0.2, 0.5, 0.8]).astype(np.float32)
    uv = np.array([[[1, 1], [14, 1], [1, 14]]], np.float32) / 16
    baked = bake(UVImage(image[None], uv), 4)
    places = np.random.default_rng(6).dirichlet(np.ones(3), 100).astype(np.float32)
    values = sample(baked, np.array([[0, 1, 2]]), points(places))[0, 0]
    np.testing.assert_allclose(values, np.tile([0.2, 0.5, 0.8], (100, 1)), rtol=1e-5)


def test_baking_gradients(float64):
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(2, 4, 3, 3, 3))
    arguments = rng.random((2, 7, 6, 3)), rng.uniform(0, 1, (4, 3, 2))
    check_gradient(lambda image, uv: (bake(UVImage(image, uv), 3).values * weights).sum(), arguments, rng)


@pytest.mark.parametrize("side", [0, 1, 2, 4])
def test_texture_points_are_where_coefficients_count(side):
    """On the face a coefficient's own point sees it alone."""
    texture = CornerColours(np.zeros((1, 1, 3, 3))) if side == 0 else FaceTexels(np.zeros((1, 1, side, side, 3)))
    places = texture_points(texture)
    count = side * side or 3
    assert places.shape == (count, 3) and (places >= 0).all()
    np.testing.assert_allclose(places.sum(-1), 1, atol=1e-12)
    inside = [k for k in range(count) if side < 2 or k // side + k % side < side]
    for k in inside:
        values = np.zeros((count, 3), np.float32)
        values[k] = 1.0
        one = type(texture)(values.reshape(texture.values.shape))
        colours = sample(one, np.array([[0, 1, 2]]), points(places[inside].astype(np.float32)))[0, 0, :, 0]
        np.testing.assert_allclose(colours, np.array(inside) == k, atol=1e-6)


def test_single_precision_stays_finite():
    """Faces without area and nearly edge-on, uv far outside, and a footprint beyond all bounds."""
    faces = np.array([[0, 1, 2], [0, 0, 1], [3, 4, 5]], np.int32)
    clip = jnp.array([[[-1, -1, 0, 1], [1, -1, 0, 1], [0, 1, 0, 1e-7], [-1, 0, 0, 1], [1, 1e-6, 0, 1], [1, 0, 0, 1]]])
    uv = np.array([[[0, 0], [1e30, 1], [-1e9, 3e38]], [[0, 0]] * 3, [[0, 0], [1, 0], [0, 1]]], np.float32)

    def loss(clip, uv, image):
        fragments = draw(clip, faces, (16, 16))
        footprint = footprint_of(clip, faces, fragments)
        return sample(UVImage(image, uv, "repeat", None), faces, fragments, footprint).sum()

    value, gradients = jax.value_and_grad(loss, argnums=(0, 2))(clip, uv, jnp.ones((1, 9, 9, 3)))
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)


IMAGE, UV = np.zeros((2, 4, 4, 3)), np.zeros((20, 3, 2))


@pytest.mark.parametrize(
    "texture, words",
    [
        (CornerColours(np.zeros((2, 19, 3, 3))), "texture values"),
        (CornerColours(np.zeros((1, 20, 3, 3))), "texture values"),
        (UVImage(IMAGE[:, :0], UV), "texture image"),
        (UVImage(np.zeros((3, 4, 4, 3)), UV), "texture image"),
        (UVImage(IMAGE, UV[:19]), "texture uv"),
    ],
)
def test_textures_that_do_not_fit_are_named(texture, words):
    vertices, faces = icosphere(0)
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(check_texture)(texture, 2, len(vertices), len(faces))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: texel_side(UVImage(IMAGE, UV)), "bake_texels"),
        (lambda: bake_texels(UVImage(IMAGE, UV), 0), "side"),
        (lambda: mip_pyramid(IMAGE, -1), "max_level"),
        (lambda: inspect.unwrap(sample_uv)(IMAGE, np.zeros((3, 5, 2))), "image"),
        (lambda: inspect.unwrap(sample_uv)(IMAGE, np.zeros((2, 5, 3))), "uv"),
        (lambda: inspect.unwrap(sample_uv)(IMAGE, np.zeros((2, 5, 2)), wrap="mirror"), "wrap"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
