"""Pictures and derivatives of Diffren's tests, and a matrix of TensorFlow Graphics, from `render`.

Corners: diffren (9468c69, Apache-2.0), diffren/common/kernels/rasterize_triangles_impl_test.cc and
rasterize_test_utils.h. Pictures: counts, sums and pixels of diffren/common/test_data/*.png, 640 x 480, whose colours
are `floor(255 barycentrics)` of float32; their row 0 is the bottom.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import FaceTexels, Mesh, PerspectiveCamera, VertexColours, interpolate, orbit, rasterize, render

draw = jax.jit(rasterize, static_argnums=2, static_argnames=("layers", "cull_backfaces"))
SIZE = (480, 640)
ONE = np.array([[0, 1, 2]], np.int32)
SIMPLE = np.array([[-0.5, -0.5, 0.8, 1.0], [0.0, 0.5, 0.3, 1.0], [0.5, -0.5, 0.3, 1.0]])
BOX = np.array([[x, y, w - 0.02, w] for w in (2.0, -2.0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
BOX_FACES = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7], [2, 3, 7], [2, 7, 6]]
BOX_FACES += [[1, 0, 4], [1, 4, 5], [0, 3, 7], [0, 7, 4], [1, 2, 6], [1, 6, 5]]
CUBE = [
    [-2.60648608, -3.22707772, 6.85085106, 6.85714293],
    [-1.30324292, -0.992946863, 8.56856918, 8.5714283],
    [-1.30324292, 3.97178817, 7.70971, 7.71428585],
    [-2.60648608, 1.73765731, 5.991992, 6],
    [1.30324292, -3.97178817, 6.27827835, 6.28571415],
    [2.60648608, -1.73765731, 7.99599648, 8],
    [2.60648608, 3.22707772, 7.13713741, 7.14285707],
    [1.30324292, 0.992946863, 5.41941929, 5.4285717],
]
CUBE_FACES = [[0, 1, 2], [2, 3, 0], [3, 2, 6], [6, 7, 3], [7, 6, 5], [5, 4, 7]]
CUBE_FACES += [[4, 5, 1], [1, 0, 4], [5, 6, 2], [2, 1, 5], [7, 4, 0], [0, 3, 7]]
# Corners, faces, covered pixels, sums of red, green and blue, and pixels (row, column) of the file.
PICTURES = {
    "Simple_Triangle": (
        SIMPLE,
        ONE,
        (38400, [3244830, 3244500, 3244830]),
        {(240, 320): [63, 128, 63], (130, 200): [217, 11, 26], (150, 400): [47, 32, 175], (200, 430): [0, 0, 0]},
    ),
    # One corner behind the camera.
    "External_Triangle": (
        np.array([[-0.5, -0.5, 0.99, 1.0], [0.0, -0.5, -1.01, -1.0], [0.5, -0.5, 0.99, 1.0]]),
        ONE,
        (48000, [5108437, 1952052, 5108437]),
        {(240, 320): [0, 0, 0], (130, 200): [0, 0, 0]},
    ),
    "Perspective_Corrected_Triangle": (
        SIMPLE * [[0.2], [0.5], [2.0]],
        ONE,
        (38400, [5749648, 3023956, 960889]),
        {(240, 320): [133, 108, 13], (130, 200): [246, 5, 3], (150, 400): [154, 42, 57], (300, 330): [57, 188, 9]},
    ),
    # The camera is within, most walls reach behind it.
    "Inside_Box": (
        BOX,
        BOX_FACES,
        (307200, [34803844, 27849562, 15222686]),
        {(200, 250): [169, 72, 13], (130, 200): [222, 21, 11], (150, 400): [63, 159, 32], (200, 430): [39, 130, 85]},
    ),
    "Simple_Tetrahedron": (
        np.concatenate([SIMPLE, [[0.0, 0.0, 0.0, 1.0]]]),
        [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]],
        (38400, [3244690, 3244690, 3244900]),
        {(200, 250): [110, 26, 117], (130, 200): [21, 211, 22], (300, 330): [145, 16, 92], (150, 400): [159, 30, 64]},
    ),
    "Barycentrics_Cube": (
        CUBE,
        CUBE_FACES,
        (56772, [4777321, 4797665, 4816858]),
        {(240, 320): [63, 21, 170], (200, 250): [129, 43, 81], (300, 330): [26, 147, 81], (150, 400): [69, 138, 46]},
    ),
}
# Ids_Cube.png and Ids_Cube_Back.png: pixels of each face. Three or less are centres on an edge, up to rounding.
FRONT_FACES = [0, 0, 5262, 7475, 2798, 3190, 0, 2, 0, 0, 18580, 19465]
BACK_FACES = [5765, 8202, 0, 0, 0, 0, 8071, 9412, 13809, 11510, 3, 0]


def picture(corners, faces, **options):
    clip = jnp.asarray(np.array(corners)[None], jnp.float32)
    return draw(clip, np.array(faces, np.int32), SIZE, **options)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_barycentrics(name):
    corners, faces, (count, sums), pixels = PICTURES[name]
    fragments = picture(corners, faces)
    assert int((fragments.face_id >= 0).sum()) == count
    colours = np.floor(255 * np.asarray(fragments.barycentric[0], np.float64))[::-1]
    # Rounding moves a colour that is almost whole to the next, by one, at no more than every tenth covered pixel.
    np.testing.assert_allclose(colours.sum((0, 1)), sums, atol=0.1 * count)
    for place, colour in pixels.items():
        np.testing.assert_allclose(colours[place], colour, atol=1, err_msg=str(place))


def test_faces_of_a_cube():
    face_id = np.asarray(picture(CUBE, CUBE_FACES).face_id)
    np.testing.assert_allclose(np.bincount(face_id[face_id >= 0], minlength=12), FRONT_FACES, atol=3)


@pytest.mark.parametrize("cull_backfaces", [False, True])
def test_the_back_of_a_cube(cull_backfaces):
    # CanRasterizeCubeWithTwoLayers and CanCullFaces: this cube is inside out, its counter-clockwise faces are behind.
    face_id = np.asarray(picture(CUBE, CUBE_FACES, layers=2, cull_backfaces=cull_backfaces).face_id[0])
    layers = (BACK_FACES, [0] * 12) if cull_backfaces else (FRONT_FACES, BACK_FACES)
    for layer, wanted in zip(face_id, layers):
        np.testing.assert_allclose(np.bincount(layer[layer >= 0], minlength=12), wanted, atol=3)


@pytest.mark.parametrize("winding", [[0, 1, 2], [2, 1, 0]])
def test_a_pixel_on_an_edge_is_covered(winding):
    # WorksWhenPixelIsOnTriangleEdge: with 641 columns the edge x = 0 runs through the centres of column 320.
    corners = jnp.array([[[0.0, -1.0, 0.5, 1.0], [0.0, 1.0, 0.5, 1.0], [0.5, -1.0, 0.5, 1.0]]])
    barycentric = draw(corners, np.array([winding], np.int32), (480, 641)).barycentric
    np.testing.assert_allclose(barycentric[0, 480 - 1 - 5, 320].sum(), 1.0, atol=1e-6)


def test_the_corner_pixels_of_the_image_are_covered():
    # CoversEdgePixelsOfImage.
    square = [[-1, -1, 0, 1], [1, -1, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1]]
    barycentric = picture(square, [[0, 1, 2], [0, 2, 3]]).barycentric[0]
    np.testing.assert_allclose(barycentric[:: SIZE[0] - 1, :: SIZE[1] - 1].sum(-1), 1.0, atol=1e-6)


def test_a_pixel_on_a_face_without_area_is_not_covered():
    # PixelOnDegenerateTriangleIsNotInside.
    corners = jnp.array([[[-1.0, -1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]])
    assert not np.asarray(draw(corners, ONE, (1, 1)).barycentric).any()


def test_jacobian_of_barycentrics():
    # diffren/jax/internal/rasterize_test.py, test_render_simple_triangle_gradient: pixel (32, 24) of 64 x 48.
    def barycentric(points):
        clip = jnp.concatenate([points, jnp.ones((3, 1))], axis=-1)
        return rasterize(clip[None], ONE, (48, 64)).barycentric[0, 48 - 1 - 24, 32]

    weights = np.array([0.22395833, 0.52083333, 0.25520833])
    points = jnp.asarray(SIMPLE[:, :3], jnp.float32)
    # By weight, corner and coordinate; the middle weight does not change when corners slide sideways.
    slope_x, slope_y = [-1, 0, 1], [-0.5, 1, -0.5]
    expected = np.einsum("wa,c->wca", -np.stack([slope_x, slope_y, np.zeros(3)], axis=-1), weights)
    value, slope = jax.jit(lambda points: (barycentric(points), jax.jacobian(barycentric)(points)))(points)
    np.testing.assert_allclose(value, weights, atol=1e-6)
    np.testing.assert_allclose(slope, expected, atol=1e-6)


def test_projection_of_tensorflow_graphics():
    # tensorflow_graphics/rendering/camera/tests/perspective_test.py (ad932c3): right-handed matrix of a field of view
    # of 60 degrees, aspect 1.5, near 1, far 10; read off here from where it takes the axes.
    camera = orbit(jnp.zeros(1), 0.0, 0.0, np.pi / 3, aspect=1.5, near=1.0, far=10.0)
    clip = camera.project(jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3)])[None])[0]
    columns = [[1.15470052, 0, 0, 0], [0, 1.73205066, 0, 0], [0, 0, -1.22222221, -1]]
    np.testing.assert_allclose(clip[0], [0, 0, -2.22222233, 0], atol=1e-6)
    np.testing.assert_allclose(clip[1:] - clip[:1], columns, atol=1e-6)


@pytest.mark.parametrize("rule", ["layered", "antialias"])
def test_descent_of_a_triangle(rule):
    """diffren/jax/splat_test.py, test_optimize_single_triangle: 15 steps of length one move a triangle towards itself a
    quarter to the left. What hard pixels see of it has no gradient, a soft one has more than 0.01, and the loss halves.

    Its hard colours hold barycentrics fixed, which stand in ours for motion within a face: hence one colour there."""
    start = jnp.array([[[0, 0, -1], [0.5, 0, -1], [0.5, 0.5, -1]]])
    lens = jnp.ones((1, 2))
    camera = PerspectiveCamera(jnp.eye(3)[None], jnp.zeros((1, 3)), lens, 0 * lens)
    blue_green_blue = jnp.array([[[0, 0, 0.8], [0, 0.8, 0], [0, 0, 0.8]]])
    fragments = draw(camera.project(start - jnp.array([[[0.25, 0, 0]]])), ONE, (32, 32))
    mask = (fragments.face_id >= 0)[..., None].astype(jnp.float32)
    goal = jnp.concatenate([jax.jit(interpolate)(fragments, blue_green_blue, ONE), mask], axis=-1)

    def loss(points, texture, rule):
        options = dict(texture=texture, blending=rule, sigma=1e-2, background=(0.0, 0.0, 0.0))
        picture = render(Mesh(points, ONE), camera, (32, 32), **options)
        alpha = picture.alpha if rule != "hard" else (picture.face_id >= 0).astype(jnp.float32)
        return ((jnp.concatenate([picture.rgb, alpha[..., None]], axis=-1) - goal) ** 2).mean()

    hard = jax.jit(jax.grad(loss), static_argnums=2)(start, FaceTexels(jnp.full((1, 1, 1, 1, 3), 0.8)), "hard")
    assert not np.asarray(hard).any()
    both = jax.jit(jax.value_and_grad(lambda points: loss(points, VertexColours(blue_green_blue), rule)))
    points, history = start, []
    for _ in range(16):
        value, gradient = both(points)
        history.append((float(value), float(jnp.linalg.norm(gradient))))
        points = points - gradient
    assert history[0][1] > 0.01 and history[-1][0] < 0.5 * history[0][0]
