"""Pixel centres on edges. What is right is plain geometry: of faces that meet, the closed ones leave nothing free
between them and the open ones share nothing; and of one triangle on a lattice it is counted in whole numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import Mesh, VertexColours, WeakPerspectiveCamera, rasterize, render, soft_coverage
from render.distance import inside, relative_corners, triangle_table
from render.fragments import pixel_grid
from render.screen import doubled_area, to_screen

draw = jax.jit(rasterize, static_argnums=2, static_argnames=("edge_rule", "layers"))
BLENDINGS = ("hard", "antialias", "layered", "softmax")
PAIR = np.array([[0, 1, 2], [0, 3, 1]], np.int32)
SIZE = (16, 16)
COUNT = 300


def some_centre(rng, count):
    """NDC of a random pixel centre of `SIZE`, and its row and column, for so many images."""
    row, column = rng.integers(0, 16, (2, count))
    return np.stack([(column + 0.5) / 8 - 1, 1 - (row + 0.5) / 8], -1), row, column


def shared_edges(kind, rng):
    """Two faces of one plane whose common edge passes through a pixel centre: clip corners `[n, 4, 4]`, row, column.

    Corners are first edge, second edge, third of the one, third of the other; x, y, w are those of a point in space.
    """
    centre, row, column = some_centre(rng, COUNT)
    flat = kind in ("flat", "thin", "far")
    w = np.ones((COUNT, 1)) if flat else rng.uniform(0.5, 2, (COUNT, 1))
    point = np.concatenate([centre * w, w], -1)
    along, across = rng.normal(size=(2, COUNT, 3)) * ([1, 1, 0] if flat else [1, 1, 0.2])
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    reach = rng.uniform(0.1, 4, (4, COUNT, 1))
    # Half of them symmetric about the centre, so that it stays on the edge when they are rounded.
    reach[1, ::2] = reach[0, ::2]
    if kind == "thin":
        reach[2:] *= 10.0 ** rng.uniform(-4, -2, (2, COUNT, 1))
    if kind == "far":
        reach *= 10.0 ** rng.uniform(0, 5, (4, COUNT, 1))
    if kind == "perspective":
        reach *= 0.4
    if kind == "behind":
        # The third corner of one face is behind the camera, of every other pair the end of the edge, too.
        across[:, 2], along[:, 2] = -1, np.where(np.arange(COUNT) % 2, -1, 0)
        reach[1, 1::2], reach[2] = 1.5 * w[1::2] + 0.5, 2 * w + 0.5
    corners = [point - reach[0] * along, point + reach[1] * along, point + reach[2] * across, point - reach[3] * across]
    xyw = np.stack(corners, 1)
    return np.insert(xyw, 2, 0.0, axis=-1).astype(np.float32), row, column


def shared_and_separate(clip, faces):
    """The mesh; and its faces with vertices of their own, every other one turned around."""
    corners = clip[:, faces]
    corners[:, 1::2] = corners[:, 1::2, [2, 1, 0]]
    own = corners.reshape(len(clip), -1, 4), np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)
    return (clip, faces), own


def times_drawn(clip, faces, rule):
    """How many faces each pixel sees; what is attached to them is looked at, too."""
    # Filled up with faces that are nothing, so that one program draws all meshes.
    clip = np.pad(clip, ((0, 0), (0, 24 - clip.shape[1]), (0, 0)))
    fragments = draw(clip, np.pad(faces, ((0, 8 - len(faces)), (0, 0))), SIZE, layers=8, edge_rule=rule)
    seen, weights = np.asarray(fragments.face_id) >= 0, np.asarray(fragments.barycentric)
    assert np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1 + 1e-6
    np.testing.assert_allclose(weights.sum(-1), seen, atol=1e-6)
    return seen.sum(1)


@pytest.mark.parametrize("kind", ["flat", "perspective", "thin", "far", "behind"])
def test_a_centre_on_a_shared_edge(kind):
    rng = np.random.default_rng(0)
    clip, row, column = shared_edges(kind, rng)
    image = np.arange(COUNT)
    for corners, faces in shared_and_separate(clip, PAIR):
        assert times_drawn(corners, faces, "inclusive")[image, row, column].min() >= 1
        assert times_drawn(corners, faces, "strict").max() <= 1


def test_the_pair_that_left_a_diagonal_empty():
    # Issue: a hole at each of eight pixels of the edge from (2.189, -1.189) to (-1.040, 2.040).
    corners = [[2.189093, -1.189093], [-1.040203, 2.040203], [3.973034, 4.098034], [-3.098034, -2.973034]]
    clip = np.pad(np.array([corners], np.float32), ((0, 0), (0, 0), (0, 2)))
    clip[..., 3] = 1
    assert times_drawn(clip, PAIR, "inclusive").min() >= 1
    assert times_drawn(clip, PAIR, "strict").max() <= 1


def test_slivers_between_large_faces():
    rng = np.random.default_rng(0)
    centre, row, column = some_centre(rng, COUNT)
    along, across = rng.normal(size=(2, COUNT, 2))
    # Two poles and four points on a line between them, of which the middle ones are almost or quite the same.
    gap = 10.0 ** rng.uniform(-8, -3, (COUNT, 1)) * across
    poles = centre + rng.uniform(0.1, 4, (COUNT, 1)) * along, centre - rng.uniform(0.1, 4, (COUNT, 1)) * along
    corners = np.stack([*poles, centre - 3 * across, centre - gap, centre + gap, centre + 3 * across], 1)
    clip = np.pad(corners, ((0, 0), (0, 0), (0, 2))).astype(np.float32)
    clip[..., 3] = 1
    faces = np.array([[0, 2, 3], [0, 3, 4], [0, 4, 5], [1, 3, 2], [1, 4, 3], [1, 5, 4]], np.int32)
    # Where float32 turned a sliver over, it does lie on its neighbour.
    edges = np.diff(clip[:, faces, :2].astype(float), axis=2)
    area = edges[..., 0, 0] * edges[..., 1, 1] - edges[..., 0, 1] * edges[..., 1, 0]
    flat = (area >= 0).all(1) | (area <= 0).all(1)
    assert flat.mean() > 0.9
    for corners, own in shared_and_separate(clip, faces):
        assert times_drawn(corners, own, "inclusive")[np.arange(COUNT), row, column].min() >= 1
        assert times_drawn(corners, own, "strict")[flat].max() <= 1


@pytest.mark.parametrize("many", [3, 8])
def test_a_fan_around_a_centre(many):
    rng = np.random.default_rng(many)
    centre, row, column = some_centre(rng, COUNT)
    # A vertex on the centre, or a few roundings from it.
    hub = centre + rng.integers(-3, 4, centre.shape) * 2.0**-25
    angle = 2 * np.pi * (np.arange(many) + rng.uniform(0, 0.4, (COUNT, many))) / many
    ring = hub[:, None] + 10.0 ** rng.uniform(-3, 4, (COUNT, many, 1)) * np.stack([np.cos(angle), np.sin(angle)], -1)
    w = np.where(np.arange(COUNT) % 2, 1.0, rng.uniform(0.3, 3, (many + 1, COUNT))).T[..., None]
    xy = np.concatenate([hub[:, None], ring], 1) * w
    clip = np.concatenate([xy, np.zeros_like(w), w], -1).astype(np.float32)
    faces = np.array([[0, 1 + i, 1 + (i + 1) % many] for i in range(many)], np.int32)
    image = np.arange(COUNT)
    for corners, own in shared_and_separate(clip, faces):
        assert times_drawn(corners, own, "inclusive")[image, row, column].min() >= 1
        assert times_drawn(corners, own, "strict").max() <= 1


def lattice(image_size, w=1.0):
    """Clip vertices on the pixel centres, a pixel beyond the border too, and the faces between them."""
    height, width = image_size
    row, column = np.mgrid[-1 : height + 1, -1 : width + 1]
    ndc = np.stack([(2 * column + 1) / width - 1, 1 - (2 * row + 1) / height], -1)
    w = np.broadcast_to(np.asarray(w), row.shape)[..., None]
    clip = np.concatenate([ndc * w, np.zeros_like(w), w], -1).reshape(1, -1, 4).astype(np.float32)
    number = np.arange(row.size).reshape(row.shape)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]))
    return clip, np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).astype(np.int32)


@pytest.mark.parametrize("image_size", [(7, 5), (23, 30)])
def test_vertices_on_all_centres(image_size):
    rng = np.random.default_rng(0)
    for w in (1.0, rng.uniform(0.5, 2, (image_size[0] + 2, image_size[1] + 2))):
        clip, faces = lattice(image_size, w)
        assert (np.asarray(draw(clip, faces, image_size).face_id) >= 0).all()
        assert (np.asarray(draw(clip, faces, image_size, edge_rule="strict").face_id) < 0).all()


@pytest.mark.parametrize("blending", BLENDINGS)
def test_every_blending_on_shared_edges(blending):
    # Straight from above the mesh is a plane, and all that is seen is white.
    clip, faces = lattice((7, 5))
    points = np.concatenate([clip[..., :2], np.zeros_like(clip[..., :1])], -1)
    camera = WeakPerspectiveCamera(np.ones(1), np.zeros((1, 2)), np.array([[1.0, 0, 0, 0]]))
    picture = render(
        Mesh(jnp.asarray(points), faces), camera, (7, 5), texture=VertexColours(jnp.ones_like(points)),
        blending=blending, sigma=1e-4,
    )  # fmt: skip
    np.testing.assert_allclose(picture.rgb, 1, atol=1e-5)
    # Six faces meet at each centre; soft ones count one half there: 1 - 1 / 2^6.
    np.testing.assert_allclose(picture.alpha, 1, atol=0.016 if blending in ("hard", "softmax") else 1e-6)


def test_coverage_of_shared_edges():
    clip, row, column = shared_edges("flat", np.random.default_rng(1))
    alpha = np.asarray(soft_coverage(jnp.asarray(clip), PAIR, SIZE, 1e-3, falloff="exponential"))
    assert alpha[np.arange(COUNT), row, column].min() >= 1 - 1e-5


def test_soft_faces_are_inside_where_the_z_buffer_sees_them():
    rng = np.random.default_rng(2)
    clip = shared_edges("flat", rng)[0] * rng.uniform(0.3, 3, (COUNT, 4, 1)).astype(np.float32)
    face = PAIR[:1]
    screen = to_screen(jnp.asarray(clip), face, SIZE, None, None)
    x, y = pixel_grid(SIZE, jnp.float32, 3)
    rows = triangle_table(screen.corners).T[:, :, None, None]
    assert bool(screen.soft.all())
    found = jax.jit(lambda rows: inside(relative_corners(rows, x, y)))(rows)
    np.testing.assert_array_equal(found, draw(clip, face, SIZE).face_id >= 0)


def test_one_image_and_another_program_see_the_same():
    clip, *_ = shared_edges("perspective", np.random.default_rng(3))
    together = np.asarray(draw(clip, PAIR, SIZE).face_id)
    np.testing.assert_array_equal(draw(clip[5:6], PAIR, SIZE).face_id, together[5:6])
    np.testing.assert_array_equal(rasterize(clip[:3], PAIR, SIZE).face_id, together[:3])


def test_gradients_on_edges_are_finite():
    clip, *_ = shared_edges("behind", np.random.default_rng(4))

    def total(clip):
        fragments = rasterize(clip, PAIR, SIZE)
        return fragments.depth.sum() + (fragments.barycentric**2).sum()

    assert np.isfinite(jax.jit(jax.grad(total))(clip)).all()


def test_the_sign_of_an_area_is_never_wrong():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 20000)).astype(np.float32)
    # Nearly on the line through a, where products differ by a rounding or not at all.
    b = (a * rng.integers(1, 9, 20000) / 7).astype(np.float32)
    b = np.nextafter(b, rng.choice([-9, 9], b.shape).astype(np.float32))
    # Products of two float32 are exact in float64.
    exact = np.sign(a[0].astype(float) * b[1] - a[1].astype(float) * b[0])
    there, back = (np.sign(jax.jit(doubled_area)(*points)) for points in ((*a, *b), (*b, *a)))
    assert (np.asarray(there) * exact >= 0).all()
    assert np.abs(there).mean() > 0.1
    np.testing.assert_array_equal(there, -back)


def triangle_in_whole_numbers(corners, image_size):
    """Whether pixel centres are in the closed, and in the open triangle; corners are columns and rows of centres."""
    row, column = np.mgrid[: image_size[0], : image_size[1]]
    sides = []
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0)):
        sides.append((bx - ax) * (row - ay) - (by - ay) * (column - ax))
    sides = np.stack(sides) * np.sign(sum(sides))
    return (sides >= 0).all(0), (sides > 0).all(0)


@pytest.mark.parametrize("image_size", [(100, 60), (7, 5)])
def test_triangles_on_centres_that_are_no_floats(image_size):
    rng = np.random.default_rng(0)
    height, width = image_size
    corners = rng.integers(0, [width, height], (40, 3, 2))
    corners = corners[[abs(np.linalg.det(np.insert(face, 2, 1, axis=1))) > 0.5 for face in corners]]
    w = np.where(np.arange(len(corners)) % 2, 1, rng.uniform(0.3, 3, (3, len(corners)))).T[..., None]
    xy = ((2 * corners + 1) / [width, height] - 1) * [1, -1] * w
    clip = np.concatenate([xy, np.zeros_like(w), w], -1).astype(np.float32)
    for rule, wanted in (("inclusive", 0), ("strict", 1)):
        found = np.asarray(draw(clip, np.array([[0, 1, 2]]), image_size, edge_rule=rule).face_id) >= 0
        exact = [triangle_in_whole_numbers(face, image_size)[wanted] for face in corners]
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("rule, pixels", [("strict", 203 * 204 // 2), ("inclusive", 204 * 205 // 2)])
def test_half_a_square(rule, pixels):
    # The legs, at 0.8 of the half image, pass between centres, 204 of them apart; the diagonal passes through 204.
    corners = np.array([[[-0.8, -0.8, 0, 1], [0.8, -0.8, 0, 1], [-0.8, 0.8, 0, 1]]], np.float32)
    face_id = draw(corners, np.array([[0, 1, 2]]), (256, 256), edge_rule=rule).face_id
    assert int((face_id == 0).sum()) == pixels
