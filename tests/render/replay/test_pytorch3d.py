"""Tables of PyTorch3D's tests (0.7.9, 9381c40, BSD-3-Clause), drawn by `render`.

Its NDC has +X to the left, so x changes sign here; its z is our w. Its tables are of the file tests/test_*.py named
in each test. Pixel centres on an edge are outside for it, and inside here without `edge_rule="strict"`.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from render import (
    FaceTexels,
    Fragments,
    Mesh,
    PerspectiveCamera,
    VertexColours,
    WeakPerspectiveCamera,
    interpolate,
    orbit,
    rasterize,
    render,
    soft_coverage,
)

ONE = np.array([[0, 1, 2]], np.int32)
CUTOFF = 1e-4  # the default of `render`
draw = jax.jit(rasterize, static_argnums=2, static_argnames=("layers", "edge_rule", "cull_backfaces"))
cover = jax.jit(soft_coverage, static_argnums=2)
mix = jax.jit(interpolate)
paint = jax.jit(render, static_argnums=2)


def to_clip(points):
    """Its NDC x, y and view z `[..., 3]` in clip space, `[..., 4]`."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    return jnp.asarray(np.stack([-x * z, y * z, z, z], axis=-1))


def to_orthographic(points):
    """The same without perspective, w = 1."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    return jnp.asarray(np.stack([-x, y, z, np.ones_like(z)], axis=-1))


def sigma_of(blur_radius):
    """The sigma with which faces count up to this squared distance."""
    return blur_radius / np.log(1 / CUTOFF - 1)


def table(text):
    """Rows of face ids, `.` for none."""
    return np.array([[-1 if mark == "." else int(mark) for mark in row] for row in text.split()])


# test_rasterize_meshes.py, _test_perspective_correct: one triangle from z = 10 to z = 20, 11 x 11 pixels.
STEEP = [[-0.4, -0.4, 10], [0.4, -0.4, 10], [0.0, 0.4, 20]]
# Squared distances up to the blur radius of 0.2, which all pictures are symmetric in; columns 0 to 5, -1 beyond.
HALF_DISTANCES = [
    [-1, -1, -1, -1, -1, -1],
    [-1, -1, -1, -1, 0.1402, 0.1071],
    [-1, -1, -1, 0.1523, 0.0542, 0.0212],
    [-1, -1, -1, 0.0955, 0.0214, -0.0003],
    [-1, -1, 0.1523, 0.0518, 0.0042, -0.0095],
    [-1, -1, 0.0955, 0.0214, -0.0003, -0.032],
    [-1, 0.1523, 0.0518, 0.0042, -0.0095, -0.0476],
    [-1, 0.1084, 0.0225, -0.0003, -0.0013, -0.0013],
    [-1, 0.1283, 0.0423, 0.0212, 0.0212, 0.0212],
    [-1, -1, 0.1283, 0.1071, 0.1071, 0.1071],
    [-1, -1, -1, -1, -1, -1],
]
# Depth of the rows with and without perspective correction.
DEPTHS = {
    3: (19.1304, 19.5455),
    4: (15.7143, 17.2727),
    5: (13.3333, 15.0),
    6: (11.5789, 12.7273),
    7: (10.2326, 10.4545),
}


def distance_table():
    half = np.array(HALF_DISTANCES)
    return np.concatenate([half, half[:, -2::-1]], axis=1)


def test_distances_of_a_blurred_triangle(float64):
    distances, sigma = distance_table(), sigma_of(0.2)
    for clip in (to_clip(STEEP), to_orthographic(STEEP)):
        alpha = np.asarray(cover(clip[None], ONE, (11, 11), sigma)[0])
        np.testing.assert_array_equal(alpha > 0, distances != -1)
        found = sigma * np.log(1 / alpha[alpha > 0] - 1)
        np.testing.assert_allclose(found, distances[alpha > 0], atol=6e-5)


@pytest.mark.parametrize("perspective", [True, False])
def test_depth_with_and_without_perspective(float64, perspective):
    clip = to_clip(STEEP) if perspective else to_orthographic(STEEP)
    fragments = draw(clip[None], ONE, (11, 11))
    inside = (distance_table() < 0) & (distance_table() > -1)
    np.testing.assert_array_equal(fragments.face_id[0] >= 0, inside)
    for row, depths in DEPTHS.items():
        found = fragments.depth[0, row][inside[row]]
        np.testing.assert_allclose(found, depths[0 if perspective else 1], atol=6e-5)
    mean = np.asarray(fragments.barycentric[0]) @ np.array(STEEP)[:, 2]
    np.testing.assert_allclose(mean, fragments.depth[0], atol=1e-9)


# test_rasterize_meshes.py, _test_barycentric_clipping: the same triangle on 5 x 5 pixels, no perspective; by pixel.
BARYCENTRICS = {
    (0, 2): [-0.25, -0.25, 1.5],
    (1, 1): [-0.5, 0.5, 1],
    (1, 2): [0, 0, 1],
    (1, 3): [0.5, -0.5, 1],
    (2, 1): [-0.25, 0.75, 0.5],
    (2, 2): [0.25, 0.25, 0.5],
    (2, 3): [0.75, -0.25, 0.5],
    (3, 0): [-0.5, 1.5, 0],
    (3, 1): [0, 1, 0],
    (3, 2): [0.5, 0.5, 0],
    (3, 3): [1, 0, 0],
    (3, 4): [1.5, -0.5, 0],
    (4, 1): [0.25, 1.25, -0.5],
    (4, 2): [0.75, 0.75, -0.5],
    (4, 3): [1.25, 0.25, -0.5],
}


def weak_camera():
    return WeakPerspectiveCamera(jnp.ones(1), jnp.zeros((1, 2)), jnp.array([[1.0, 0, 0, 0]]), distance=0.0)


def to_points(points):
    """Its vertices as ours before a weak perspective camera at distance 0."""
    return jnp.asarray(np.asarray(points, float) * [-1, 1, -1])


def test_barycentrics_inside_and_clamped_outside(float64):
    rows, columns = np.array(list(BARYCENTRICS)).T
    wanted = np.array(list(BARYCENTRICS.values()))
    fragments = draw(to_orthographic(STEEP)[None], ONE, (5, 5))
    inside = (wanted >= 0).all(-1)
    np.testing.assert_allclose(fragments.barycentric[0, rows, columns][inside], wanted[inside], atol=1e-12)
    # The corners red, green and blue on black: a picture of the clamped barycentrics, times the weight of the face.
    mesh = Mesh(to_points(STEEP)[None], ONE)
    options = dict(texture=VertexColours(jnp.eye(3)[None]), background=jnp.zeros(3), gamma=1.0)
    rgb = paint(mesh, weak_camera(), (5, 5), sigma=sigma_of(0.2), **options).rgb[0]
    seen = np.zeros((5, 5), bool)
    seen[rows, columns] = True
    np.testing.assert_array_equal(rgb.sum(-1) > 0, seen)
    clamped = np.maximum(wanted, 0) / np.maximum(wanted, 0).sum(-1, keepdims=True)
    found = rgb[rows, columns]
    np.testing.assert_allclose(found / found.sum(-1, keepdims=True), clamped, atol=1e-7)


# test_rasterize_meshes.py, _simple_triangle_raster: a mesh of one face and one of two, 10 x 10 pixels.
FIRST = [[-0.3, -0.4, 0.1], [0.0, 0.6, 0.1], [0.9, -0.4, 0.1]]
SECOND = [[-0.9, -0.2, 0.1], [0, 0.6, 0.1], [0.7, -0.4, 0.1], [-0.7, 0.4, 0.5], [0, -0.6, 0.5], [0.7, 0.4, 0.5]]
SEEN = [
    ".......... .......... .......... ....0..... ...000.... ..0000.... .00000.... .......... .......... ..........",
    ".......... .......... .....0.... ..110001.. ...00000.. ...000000. ..0001.... .......... .......... ..........",
]
BEHIND = ".......... .......... .......... ....111... ...1111... ...1111... ....1..... .......... .......... .........."


def two_meshes():
    vertices = np.stack([FIRST + [[0.0, 0.0, 1.0]] * 3, SECOND])
    faces = np.array([[[1, 0, 2], [0, 0, 0]], [[1, 0, 2], [3, 4, 5]]], np.int32)
    return to_clip(vertices), faces, np.array([[True, False], [True, True]])


def test_two_meshes_of_different_sizes(float64):
    clip, faces, mask = two_meshes()
    fragments = draw(clip, faces, (10, 10), face_mask=mask)
    for image in range(2):
        wanted = table(SEEN[image])
        if image == 1:
            # On an edge of the nearer face: ours.
            wanted[6, 5] = 0
        np.testing.assert_array_equal(fragments.face_id[image], wanted)
        np.testing.assert_allclose(fragments.depth[image], np.array([0.1, 0.5, 0.0])[wanted], atol=1e-12)


def test_two_layers_of_two_meshes(float64):
    clip, faces, mask = two_meshes()
    fragments = draw(clip, faces, (10, 10), face_mask=mask, layers=2, edge_rule="strict")
    layers = [table(text) for text in SEEN], [np.full((10, 10), -1), table(BEHIND)]
    for layer, wanted in enumerate(layers):
        np.testing.assert_array_equal(fragments.face_id[:, layer], wanted)
        np.testing.assert_allclose(fragments.depth[:, layer], np.array([0.1, 0.5, 0.0])[np.stack(wanted)], atol=1e-12)


# test_rasterize_meshes.py, _simple_blurry_raster: three faces and one behind the camera, blur radius 0.12^2.
BLURRED = [
    [[0.0, 0.6, 0.1], [-0.3, 0.0, 0.1], [0.8, 0.0, 0.1]],
    [[0.25, 0.5, 0.9], [-0.25, 0.0, 0.9], [0.75, 0.0, 0.9]],
    [[0.6, 0.6, 0.5], [-0.4, 0.0, 0.5], [0.8, 0.0, 0.5]],
    [[0.3, 0.6, -0.5], [-0.2, 0.0, -0.5], [0.4, 0.0, -0.5]],
]
NEAREST = (
    ".......... .......... .22000.... .20000.... .000000... .000000... .......... .......... .......... .........."
)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3]])
def test_the_nearest_of_blurred_faces_in_any_order(float64, order):
    # Almost no gamma, and the softmax is the nearest face within the blur; faces are red, green, blue and white.
    colours = jnp.asarray(np.concatenate([np.eye(3), np.ones((1, 3))])[order].reshape(1, 4, 1, 1, 3))
    x, y, z = np.moveaxis(np.array(BLURRED)[order].reshape(1, 12, 3), -1, 0)
    mesh = Mesh(jnp.asarray(np.stack([-x * z, y * z, -z], axis=-1)), np.arange(12, dtype=np.int32).reshape(4, 3))
    lens = jnp.ones((1, 2))
    camera = PerspectiveCamera(jnp.eye(3)[None], jnp.zeros((1, 3)), lens, 0 * lens, near=0.0, far=1.0)
    options = dict(sigma=sigma_of(0.12**2), gamma=2e-3, background=jnp.zeros(3))
    picture = paint(mesh, camera, (10, 10), texture=FaceTexels(colours), **options)
    wanted = table(NEAREST)
    np.testing.assert_allclose(picture.rgb[0], np.concatenate([np.eye(3), np.zeros((1, 3))])[wanted], atol=1e-9)
    np.testing.assert_array_equal(picture.alpha[0] > 0, wanted >= 0)


def test_faces_behind_the_camera():
    # test_rasterize_meshes.py, _test_behind_camera: the faces above, all of them behind.
    points = np.array(BLURRED).reshape(1, 12, 3) * [1, 1, 0] - [0, 0, 0.5]
    faces = np.arange(12, dtype=np.int32).reshape(4, 3)
    clip = jnp.asarray(to_clip(points), jnp.float32)
    assert (np.asarray(draw(clip, faces, (16, 16)).face_id) == -1).all()
    assert not np.asarray(cover(clip, faces, (16, 16), sigma_of(0.2))).any()


# test_rasterize_meshes.py, _test_back_face_culling: a pyramid whose base and sides are edge-on, 10 x 10 pixels.
PYRAMID = [[-0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.5, 0.0, 1.5], [-0.5, 0.0, 1.5], [0.0, 1.0, 1.0]]
PYRAMID_FACES = np.array([[2, 1, 0], [3, 2, 0], [1, 0, 4], [2, 4, 3], [3, 4, 0], [1, 4, 2]], np.int32)
FRONT = ".......... ....22.... ....22.... ...2222... ...2222... .......... .......... .......... .......... .........."


def test_the_front_of_a_pyramid(float64):
    face_id = draw(to_orthographic(PYRAMID)[None], PYRAMID_FACES, (10, 10)).face_id[0]
    np.testing.assert_array_equal(face_id, table(FRONT))


@pytest.mark.parametrize("cull_backfaces", [False, True])
def test_the_back_of_a_pyramid(float64, cull_backfaces):
    clip = to_orthographic(PYRAMID)[None]
    options = dict(layers=2, cull_backfaces=cull_backfaces)
    front, back = draw(clip, PYRAMID_FACES, (10, 10), **options).face_id[0]
    np.testing.assert_array_equal(front, table(FRONT))
    np.testing.assert_array_equal(back, np.full((10, 10), -1) if cull_backfaces else table(FRONT.replace("2", "3")))


def hundred_equal_faces():
    """test_rasterize_meshes.py, test_order_of_ties: one face a hundred times over the lower left of 28 x 28 pixels."""
    clip = orbit(jnp.array([2.7]), 0.0, 0.0, np.pi / 3).project(-5.0 * jnp.eye(3)[None])
    return clip, np.tile(ONE, (100, 1))


def test_ties_go_to_the_lower_face():
    face_id = np.asarray(draw(*hundred_equal_faces(), (28, 28)).face_id[0])
    assert (face_id[14:, :14] == 0).all() and (face_id <= 0).all()


def test_equal_faces_are_layers_in_their_order():
    face_id = np.asarray(draw(*hundred_equal_faces(), (28, 28), layers=6).face_id[0])
    np.testing.assert_array_equal(face_id[:, 14:, :14], np.broadcast_to(np.arange(6)[:, None, None], (6, 14, 14)))


# test_render_meshes_clipped.py, test_case_3 and test_case_4: a face with two corners, and with one, behind the camera;
# what is left of it beyond z = 0.01, and the barycentrics of these corners in the face, by column.
CLIPPED = {
    "two behind": (
        [[-1, 0, -1], [0, 0, 1], [1, 0, -1]],
        [[[0.495, 0, 0.01], [-0.495, 0, 0.01], [0, 0, 1]]],
        [[[0, 0.495, 0], [0.505, 0.505, 1], [0.495, 0, 0]]],
    ),
    "one behind": (
        [[0, 0, -1], [-1, 0, 1], [1, 0, 1]],
        [[[-0.505, 0, 0.01], [-1, 0, 1], [0.505, 0, 0.01]], [[0.505, 0, 0.01], [-1, 0, 1], [1, 0, 1]]],
        [
            [[0.495, 0, 0.495], [0.505, 1, 0], [0, 0, 0.505]],
            [[0.495, 0, 0], [0, 1, 0], [0.505, 0, 1]],
        ],
    ),
}


@pytest.mark.parametrize("case", CLIPPED)
def test_a_face_across_the_camera_is_what_clipping_leaves_of_it(float64, case):
    whole, parts, conversion = (np.array(value, float) for value in CLIPPED[case])
    conversion = conversion.reshape(-1, 3, 3)

    def clip_and_draw(points):
        # The original lies in the plane y = 0 and is seen edge-on; clipping is the same half a unit lower.
        x, y, z = np.moveaxis(points.reshape(1, -1, 3), -1, 0)
        clip = jnp.asarray(np.stack([-x, y - 0.5, z, z], axis=-1))
        return draw(clip, np.arange(clip.shape[1], dtype=np.int32).reshape(-1, 3), (20, 24))

    one, clipped = clip_and_draw(whole), clip_and_draw(parts)
    covered = np.asarray(one.face_id[0]) == 0
    assert 20 < covered.sum() < 240
    np.testing.assert_array_equal(np.asarray(clipped.face_id[0]) >= 0, covered)
    np.testing.assert_allclose(clipped.depth, one.depth, atol=1e-9)
    back = np.einsum("nij,nj->ni", conversion[clipped.face_id[0][covered]], clipped.barycentric[0][covered])
    np.testing.assert_allclose(back, one.barycentric[0][covered], atol=1e-9)


def test_a_clipped_face_is_one_layer():
    # test_render_meshes_clipped.py, test_case_4_no_duplicates: cut by the plane of the camera into a quadrilateral.
    corners = jnp.array([[[0.0, -10, 1], [-1, 2, -2], [1, 5, -10]]])
    clip = orbit(jnp.array([0.2]), 0.0, 0.0, np.pi / 2).project(corners)
    first, *others = draw(clip, ONE, (10, 10), layers=3).face_id[0]
    assert (first == 0).any() and (np.stack(others) == -1).all()


def test_from_within_the_hole_of_a_torus_nothing_is_seen():
    # test_render_meshes_clipped.py, test_mesh_outside_frustrum: its walls reach behind the camera, all out of the view.
    torus = trimesh.creation.torus(major_radius=85.0, minor_radius=20.0, major_sections=16, minor_sections=32)
    mesh = Mesh(jnp.asarray(torus.vertices[None], jnp.float32), torus.faces.astype(np.int32))
    camera = orbit(jnp.array([3.0]), 0.0, 0.0, np.pi / 2)
    assert (np.asarray(camera.depth(mesh.vertices)) < 0).any()
    picture = paint(mesh, camera, (64, 64), texture=VertexColours(jnp.zeros_like(mesh.vertices)))
    assert (np.asarray(picture.rgb) == 1).all() and not np.asarray(picture.alpha).any()


def test_interpolation_of_given_fragments():
    # test_interpolate_face_attributes.py, _test_interp_face_attrs.
    face_id = jnp.array([[[0, 2, -1], [0, 1, -1]]])
    weights = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.8, 0, 0.2], [0.25, 0.5, 0.25]]
    corners = jnp.arange(1.0, 19.0).reshape(1, 3, 3, 2)
    fragments = Fragments(face_id, jnp.asarray(weights).reshape(1, 2, 3, 3), jnp.zeros((1, 2, 3)))
    values = mix(fragments, corners).reshape(6, 2)
    np.testing.assert_allclose(values, [[1, 2], [15, 16], [0, 0], [2, 3], [7.8, 8.8], [0, 0]], rtol=1e-6)


def test_gradient_of_interpolation():
    # test_interpolate_face_attributes.py, test_interpolate_attributes and test_interpolate_attributes_grad.
    colours = jnp.array([[[0.0, 1, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1]]])
    faces = np.array([[2, 1, 0], [3, 1, 0]], np.int32)
    weights = jnp.array([[0.5, 0.3, 0.2], [0.3, 0.6, 0.1]]).reshape(1, 1, 2, 3)
    fragments = Fragments(jnp.array([[[0, 1]]]), weights, jnp.ones((1, 1, 2)))
    values = mix(fragments, colours, faces)
    np.testing.assert_allclose(values[0, 0], [[0.5, 1, 0.3], [0.3, 1, 0.9]], rtol=1e-6)
    gradient = jax.grad(lambda colours: mix(fragments, colours, faces).sum())(colours)
    np.testing.assert_allclose(gradient[0], [[0.3] * 3, [0.9] * 3, [0.5] * 3, [0.3] * 3], rtol=1e-6)


def test_interpolation_of_faces_with_four_corners_is_refused():
    # test_interpolate_face_attributes.py, test_interpolate_face_attributes_fail.
    fragments = Fragments(jnp.zeros((1, 1, 1), int), jnp.ones((1, 1, 1, 3)), jnp.ones((1, 1, 1)))
    with pytest.raises(ValueError, match="attributes"):
        inspect.unwrap(interpolate)(fragments, jnp.ones((1, 1, 4, 3)))


def test_gradient_of_a_product_of_sigmoids(float64):
    """tests/test_blending.py, sigmoid_blend_naive_loop_backward: g (-1 / sigma) p_k (1 - alpha) for the distance of a
    face. Here faces are cut off left of x = a, so that distances to the middle of the one pixel are a^2 and -a^2."""
    sigma, incoming, faces = 1e-3, 1.7, np.arange(6, dtype=np.int32).reshape(2, 3)

    @jax.jit
    @jax.value_and_grad
    def coverage(clip):
        return soft_coverage(clip.reshape(1, 6, 4), faces, (1, 1), sigma, cutoff=1e-6).sum()

    for offsets in ([0.02, -0.03], [0.05, 0.01], [-0.01, -0.04]):
        corners = np.array([[[a, -9, 0, 1], [a, 9, 0, 1], [a + 9, 0, 0, 1]] for a in offsets])
        alpha, gradient = coverage(jnp.asarray(corners))
        distance = np.abs(offsets) * np.array(offsets)
        p = 1 / (1 + np.exp(distance / sigma))
        np.testing.assert_allclose(alpha, 1 - np.prod(1 - p), rtol=1e-12)
        to_distance = incoming * (-1 / sigma) * p * (1 - alpha)
        # By a: the distance changes by 2 |a|, and a is the x of all corners but for a constant.
        found = incoming * np.asarray(gradient)[..., 0].sum(-1)
        np.testing.assert_allclose(found, to_distance * 2 * np.abs(offsets), rtol=1e-9)
