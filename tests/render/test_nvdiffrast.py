"""The nvdiffrast backend. Without CUDA, stand-ins that follow nvdiffrast's documentation run in its callbacks."""

import contextlib
import importlib
import inspect
import itertools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    Mesh,
    VertexColours,
    WeakPerspectiveCamera,
    backend_nvdiffrast,
    batch_parallel,
    icosphere,
    interpolate,
    orbit,
    rasterize,
    render,
)
from tests.render import reference

SIZE = (17, 30)
ONE = np.array([[0, 1, 2]], np.int32)
draw = jax.jit(backend_nvdiffrast.rasterize, static_argnums=2)
draw_by_render = jax.jit(rasterize, static_argnums=2)


class Tensor(np.ndarray):
    """What the callbacks need of a torch tensor."""

    def copy_(self, other):
        self[...] = other

    def detach(self):
        return self

    def requires_grad_(self):
        return self


def from_dlpack(buffer):
    return np.asarray(buffer).view(Tensor)


def gradient(output, inputs, cotangent):
    return output.gradient(cotangent)


torch = types.SimpleNamespace(
    from_dlpack=from_dlpack,
    tensor=lambda data, dtype, device: np.array(data, dtype),
    int32=np.int32,
    enable_grad=contextlib.nullcontext,
    autograd=types.SimpleNamespace(grad=gradient),
)


def documented_rasterize(context, pos, tri, resolution, ranges, grad_db, grid=None):
    """(u, v, z/w, face + 1), row 0 at the bottom, range mode, frustum of z, float32; `grid`: steps of a pixel."""
    assert pos.dtype == np.float32 and tri.dtype == ranges.dtype == np.int32 and not grad_db
    raster = np.zeros((len(ranges), *resolution, 4), np.float32)
    for image, (first, count) in enumerate(ranges):
        nearest = np.full(resolution, np.inf)
        for index in range(first, first + count):
            corners = np.asarray(pos[tri[index]], np.float64)
            if grid and (corners[:, 3] > 0).all():
                step = np.array([2 / (grid * resolution[1]), 2 / (grid * resolution[0])])
                corners[:, :2] = np.round(corners[:, :2] / corners[:, 3:] / step) * step * corners[:, 3:]
            face, weights, w = reference.rasterize(corners, ONE, resolution)
            depth = weights @ corners[:, 2] / np.where(face >= 0, w, 1)
            seen = (face >= 0) & (np.abs(depth) <= 1) & (depth < nearest)
            nearest[seen] = depth[seen]
            raster[image][seen] = np.stack([*weights[..., :2].T, depth.T, np.full(depth.T.shape, index + 1)]).T[seen]
    return raster[:, ::-1], None


def toy_antialias(color, rast, pos, tri):
    """Colour times y of the first vertex of the face: not antialiasing, but with the same arguments."""
    face = rast[..., 3].astype(int) - 1
    vertex = tri[np.maximum(face, 0), 0]
    factor = np.where(face >= 0, pos[vertex, 1], 1)[..., None]

    def pull(cotangent):
        to_pos = np.zeros(pos.shape, np.float32)
        np.add.at(to_pos[:, 1], vertex, np.where(face >= 0, (cotangent * color).sum(-1), 0))
        return cotangent * factor, to_pos.reshape(len(color), -1, 4)

    output = (color * factor).view(Tensor)
    output.gradient = pull
    return output


@pytest.fixture
def stand_in(monkeypatch):
    """Everything of the backend but PyTorch and nvdiffrast."""
    nvdiffrast = types.SimpleNamespace(rasterize=documented_rasterize, antialias=toy_antialias)

    @contextlib.contextmanager
    def session(ctx, buffer):
        yield torch, nvdiffrast, None

    monkeypatch.setattr(backend_nvdiffrast, "missing", lambda: None)
    monkeypatch.setattr(backend_nvdiffrast, "_session", session)
    return nvdiffrast


def to_clip(points, depth=3.0, focal=4.0):
    w = depth - points[..., 2:]
    return np.concatenate([focal * points[..., :2], np.zeros_like(w), w], axis=-1)


def compare(clip, faces, size=SIZE, **options):
    ours, theirs = draw_by_render(clip, faces, size, **options), draw(clip, faces, size, **options)
    np.testing.assert_array_equal(theirs.face_id, ours.face_id)
    np.testing.assert_allclose(theirs.barycentric, ours.barycentric, atol=2e-5)
    np.testing.assert_allclose(theirs.depth, ours.depth, rtol=1e-5)
    assert (ours.face_id >= 0).any()
    return theirs


def test_same_fragments_as_the_renderer(stand_in, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    compare(jnp.asarray(to_clip(vertices), jnp.float32), faces)


def test_padded_faces_and_vertices_that_are_not_numbers(stand_in, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32).at[0, 3].set(jnp.nan)
    mask = np.stack([np.ones(20, bool), np.arange(20) < 9])
    face_id = np.asarray(compare(clip, np.stack([faces, faces[::-1]]), face_mask=mask).face_id)
    assert face_id[1].max() < 9 <= face_id[0].max()
    assert not np.isin(face_id[0], np.flatnonzero((faces == 3).any(-1))).any()


def test_weak_perspective_orders_by_depth(stand_in, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    turn = np.array([[0.9, 0.1, 0.4, -0.1], [1, 0, 0, 0]])
    camera = WeakPerspectiveCamera(np.full(2, 1.5, np.float32), np.zeros((2, 2)), turn)
    points = jnp.asarray(vertices, jnp.float32)
    compare(camera.project(points), faces, vertex_depth=camera.depth(points))
    compare(camera.project(points), faces)


def test_camera_inside_a_box(stand_in):
    # Faces pass through the plane of the camera, far beyond any near plane.
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], np.int32)
    clip = to_clip(corners @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0], depth=0.2, focal=1.0)
    assert (np.asarray(compare(jnp.asarray(clip[None], jnp.float32), faces).face_id) >= 0).all()


def test_gradients_are_those_of_the_renderer(stand_in, float64, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    values, picture = rng.random((2, 12, 4)), rng.normal(size=(2, *SIZE, 4))

    def loss(backend):
        def value(clip):
            fragments = backend(clip, faces, SIZE)
            return (interpolate(fragments, values, faces) * picture).sum() + fragments.depth.sum()

        return jax.jit(jax.grad(value))(to_clip(vertices))

    np.testing.assert_allclose(loss(backend_nvdiffrast.rasterize), loss(rasterize), rtol=1e-9, atol=1e-9)


def away_from_edges(clip, faces, size, pixels=1 / 8):
    """Where the face does not change when the picture moves by that much in any of eight directions."""
    face_id = np.asarray(draw_by_render(clip, faces, size).face_id)
    away = np.ones(face_id.shape, bool)
    for dx, dy in itertools.product((-1, 0, 1), repeat=2):
        step = 2 * pixels * np.array([dx / size[1], dy / size[0]], np.float32)
        moved = clip.at[..., :2].add(clip[..., 3:] * step[None, None])
        away &= np.asarray(draw_by_render(moved, faces, size).face_id) == face_id
    return face_id, away


def test_a_grid_of_vertices_moves_faces_at_edges_only(stand_in, bumpy_meshes):
    # As nvdiffrast rounds vertices to 1/16 pixel.
    stand_in.rasterize = lambda *arguments, **options: documented_rasterize(*arguments, **options, grid=16)
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32)
    face_id, away = away_from_edges(clip, faces, (40, 70))
    fragments = draw(clip, faces, (40, 70))
    covered = np.asarray(fragments.face_id) >= 0
    assert (np.asarray(fragments.face_id) != face_id).any() and 0.5 < away.mean() < 1
    np.testing.assert_array_equal(np.asarray(fragments.face_id)[away], face_id[away])
    # Centres beside their face are clamped to it.
    assert np.asarray(fragments.barycentric).min() >= 0
    np.testing.assert_allclose(np.asarray(fragments.barycentric).sum(-1), covered, atol=1e-6)
    slope = jax.grad(lambda clip: (draw(clip, faces, (40, 70)).barycentric ** 2).sum())(clip)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_a_face_without_area_is_background(stand_in):
    # nvdiffrast's grid may give it an area.
    stand_in.rasterize = lambda context, pos, tri, resolution, **_: (np.ones((1, *resolution, 4), np.float32), None)
    corners = jnp.array([[[-1, -1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]]], jnp.float32)
    fragments = draw(corners, ONE, (5, 5))
    assert (np.asarray(fragments.face_id) == -1).all() and not np.asarray(fragments.barycentric).any()
    slope = jax.grad(lambda clip: draw(clip, ONE, (5, 5)).depth.sum())(corners)
    assert not np.asarray(slope).any()


def smooth_scene(rng, bumpy_meshes, batch):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(np.resize(vertices, (batch, 12, 3))), jnp.float32)
    return clip, np.stack([np.roll(faces, image, axis=0) for image in range(batch)]), rng.random((batch, *SIZE, 5))


def expected_toy(image, clip, faces, face_id):
    """What `toy_antialias` does, in our conventions: y is minus nvdiffrast's."""
    corner = jnp.take_along_axis(jnp.asarray(faces)[..., 0], jnp.maximum(face_id, 0).reshape(len(clip), -1), axis=1)
    height = -jnp.take_along_axis(clip[..., 1], corner, axis=1).reshape(face_id.shape)
    return image * jnp.where(face_id >= 0, height, 1.0)[..., None]


def test_antialias_hands_over_scene_and_gradient(stand_in, bumpy_meshes):
    clip, faces, image = smooth_scene(np.random.default_rng(5), bumpy_meshes, 2)
    image = jnp.asarray(image, jnp.float32)
    fragments = draw(clip, faces, SIZE)

    def loss(function):
        return jax.jit(jax.value_and_grad(lambda image, clip: jnp.sin(function(image, clip)).sum(), argnums=(0, 1)))

    ours = loss(lambda image, clip: backend_nvdiffrast.antialias(image, fragments, clip, faces))(image, clip)
    expected = loss(lambda image, clip: expected_toy(image, clip, faces, fragments.face_id))(image, clip)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5), ours, expected)
    assert np.abs(ours[1][1]).max() > 0.1


def test_devices_share_a_batch_without_a_word(stand_in, bumpy_meshes):
    clip, faces, image = smooth_scene(np.random.default_rng(6), bumpy_meshes, 4)
    image, shared = jnp.asarray(image, jnp.float32), faces[0]
    device_mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])

    def picture(image, clip):
        fragments = backend_nvdiffrast.rasterize(clip, shared, SIZE)
        return backend_nvdiffrast.antialias(image * fragments.depth[..., None], fragments, clip, shared)

    def slopes(function):
        return jax.jit(jax.grad(lambda image, clip: jnp.sin(function(image, clip)).sum(), argnums=(0, 1)))

    place = jax.sharding.NamedSharding(device_mesh, jax.sharding.PartitionSpec("data"))
    parallel, arguments = slopes(batch_parallel(picture, device_mesh)), jax.device_put((image, clip), place)
    program = parallel.lower(*arguments).compile().as_text()
    assert not re.search("all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute", program)
    for one, four in zip(slopes(picture)(image, clip), parallel(*arguments)):
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-5)


def test_vmap_is_a_longer_batch(stand_in, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    clip = jnp.asarray(to_clip(vertices), jnp.float32)
    nested = jax.vmap(lambda clip: draw(clip, faces, SIZE))(clip[:, None])
    # Two programs, which may round differently what they make of the same fragments.
    for one, two in zip(jax.tree.leaves(nested), jax.tree.leaves(draw(clip, faces, SIZE)), strict=True):
        exact = jnp.issubdtype(two.dtype, jnp.integer)
        np.testing.assert_allclose(one[:, 0], two, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-6)


def test_rasterize_and_render_take_it_by_name(stand_in, bumpy_meshes):
    vertices, faces, rng = bumpy_meshes
    mesh, camera = Mesh(jnp.asarray(vertices, jnp.float32), faces), orbit(*np.array([[2.7, 0.3, 1, 0.5]] * 2).T)
    texture = VertexColours(rng.random((2, 12, 3)).astype(np.float32))
    clip = camera.project(mesh.vertices)
    ours, theirs = (rasterize(clip, faces, SIZE, backend=name) for name in ("xla", "nvdiffrast"))
    np.testing.assert_array_equal(ours.face_id, theirs.face_id)
    arguments = dict(texture=texture, background=(0.0, 0.0, 0.0))
    ours, theirs = (
        render(mesh, camera, SIZE, blending="hard", backend=name, **arguments) for name in ("xla", "nvdiffrast")
    )
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, atol=2e-5), ours, theirs)
    smooth = render(mesh, camera, SIZE, blending="antialias", backend="nvdiffrast", **arguments)
    face_id = np.asarray(smooth.face_id)
    np.testing.assert_allclose(smooth.rgb, expected_toy(ours.rgb, clip, np.stack([faces] * 2), face_id), atol=1e-5)


def test_what_it_cannot_do_is_said(stand_in, bumpy_meshes):
    vertices, faces, _ = bumpy_meshes
    mesh, camera = Mesh(jnp.asarray(vertices, jnp.float32), faces), orbit(*np.array([[2.7, 0.3, 1, 0.5]] * 2).T)
    texture = VertexColours(np.ones((2, 12, 3), np.float32))
    for options in ({"layers": 2}, {"edge_rule": "strict"}, {"cull_backfaces": True}):
        with pytest.raises(ValueError, match='backend="nvdiffrast" has no layers'):
            rasterize(camera.project(mesh.vertices), faces, SIZE, backend="nvdiffrast", **options)
    with pytest.raises(ValueError, match='"hard", "antialias" with backend="nvdiffrast"'):
        render(mesh, camera, SIZE, texture=texture, blending="softmax", backend="nvdiffrast")
    with pytest.raises(ValueError, match="backend must be"):
        inspect.unwrap(render)(mesh, camera, SIZE, texture=texture, backend="cuda")


class Machine:
    """A machine on which some things are not installed."""

    def __init__(self, monkeypatch, **lacks):
        def devices(platform):
            if "jax" in lacks:
                raise RuntimeError("no such platform")

        real_import = importlib.import_module

        def import_module(name, package=None):
            if name not in ("torch", "nvdiffrast.torch"):
                return real_import(name, package)
            if name.split(".")[0] in lacks:
                raise lacks[name.split(".")[0]]
            module = types.ModuleType(name)
            module.cuda = types.SimpleNamespace(is_available=lambda: "cuda" not in lacks)
            module.__version__ = "2.13.0+cpu"
            return module

        monkeypatch.setattr(jax, "devices", devices)
        monkeypatch.setattr(importlib, "import_module", import_module)


@pytest.mark.parametrize(
    "lacks, words",
    [
        ({"jax": True}, "JAX has no CUDA device"),
        ({"torch": ModuleNotFoundError("No module named 'torch'")}, "PyTorch cannot be imported .No module"),
        ({"cuda": True}, "PyTorch 2.13.0.cpu has no CUDA device"),
        ({"nvdiffrast": ModuleNotFoundError("No module named 'nvdiffrast'")}, "nvdiffrast cannot be imported .No mod"),
        ({"nvdiffrast": ImportError("undefined symbol: at")}, "nvdiffrast cannot be imported .undefined symbol"),
    ],
)
def test_names_what_is_missing(monkeypatch, lacks, words):
    Machine(monkeypatch, **lacks)
    message = backend_nvdiffrast.missing()
    assert re.search(words, message) and message.count("; ") == 0
    assert "--no-build-isolation" in message and "no commercial use" in message
    with pytest.raises(RuntimeError, match=words):
        backend_nvdiffrast.rasterize(jnp.ones((1, 3, 4)), ONE, (2, 2))


def test_nothing_is_missing(monkeypatch):
    Machine(monkeypatch)
    assert backend_nvdiffrast.missing() is None


def test_another_device_is_an_error(monkeypatch):
    monkeypatch.setattr(backend_nvdiffrast, "missing", lambda: None)
    with pytest.raises(Exception, match="runs on CUDA devices only"):
        jax.block_until_ready(draw(jnp.ones((1, 3, 4)), ONE, (2, 2)))


def test_wrong_input(stand_in):
    clip, no_faces = jnp.ones((1, 3, 4)), np.zeros((0, 3), np.int32)
    with pytest.raises(ValueError, match="faces: nvdiffrast takes 1 to 2.24"):
        draw(clip, no_faces, (2, 2))
    with pytest.raises(ValueError, match="faces name vertices 0..2, but there are 2"):
        backend_nvdiffrast.rasterize(clip[:, :2], ONE, (2, 2))
    with pytest.raises(ValueError, match="image must have shape"):
        backend_nvdiffrast.antialias(jnp.ones((1, 3, 2, 1)), draw(clip, ONE, (2, 2)), clip, ONE)


@pytest.mark.gpu
def test_nvdiffrast_itself():
    if backend_nvdiffrast.missing() is not None:
        pytest.skip(backend_nvdiffrast.missing())
    vertices, faces = icosphere(3)
    rng = np.random.default_rng(0)
    points = jnp.asarray(0.5 * vertices[None] + 0.02 * rng.normal(size=(4, *vertices.shape)), jnp.float32)
    clip = orbit(2.7, 0.4, jnp.linspace(0, 5, 4), 0.5).project(points)
    face_id, away = away_from_edges(clip, faces, (256, 192))
    fragments = draw(clip, faces, (256, 192))
    assert away.mean() > 0.5 and (np.asarray(fragments.face_id) == face_id)[away].mean() >= 0.999
    slope = jax.jit(jax.grad(lambda clip: draw(clip, faces, (256, 192)).depth.sum()))(clip)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


@pytest.mark.gpu
def test_antialias_of_nvdiffrast_knows_the_area():
    # Area grows with the square of the size, and only silhouettes can say so.
    if backend_nvdiffrast.missing() is not None:
        pytest.skip(backend_nvdiffrast.missing())
    vertices, faces = icosphere(1)
    camera = WeakPerspectiveCamera(jnp.ones(1), jnp.zeros((1, 2)), jnp.array([[0.9, 0.1, 0.4, -0.1]]))

    def area(size):
        points = size * jnp.asarray(vertices[None], jnp.float32) * 0.7
        clip = camera.project(points)
        fragments = backend_nvdiffrast.rasterize(clip, faces, (256, 256))
        mask = (fragments.face_id >= 0).astype(jnp.float32)[..., None]
        return backend_nvdiffrast.antialias(mask, fragments, clip, faces).sum()

    value, slope = jax.jit(jax.value_and_grad(area))(1.0)
    np.testing.assert_allclose(slope, 2 * value, rtol=0.25)
