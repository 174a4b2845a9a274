import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from render import Mesh, edge_face_pairs, face_normals, gather_corners, icosphere, unique_edges, vertex_normals


@pytest.mark.parametrize("level", range(4))
def test_icosphere_is_a_sphere_like_that_of_trimesh(level):
    vertices, faces = icosphere(level)
    ours = trimesh.Trimesh(vertices, faces, process=False)
    theirs = trimesh.creation.icosphere(subdivisions=level)
    assert len(vertices) == 10 * 4**level + 2 == len(theirs.vertices)
    assert len(faces) == 20 * 4**level == len(theirs.faces)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1, atol=1e-12)
    assert ours.is_watertight and ours.is_winding_consistent and ours.volume > 0
    np.testing.assert_allclose(ours.volume, theirs.volume, rtol=1e-9)
    np.testing.assert_allclose(np.sort(ours.area_faces), np.sort(theirs.area_faces), rtol=1e-9)


def test_coarse_vertices_come_first():
    for level in range(3):
        coarse, fine = icosphere(level)[0], icosphere(level + 1)[0]
        np.testing.assert_array_equal(fine[: len(coarse)], coarse)


def test_edges_and_pairs_agree_with_trimesh():
    vertices, faces = icosphere(1)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    np.testing.assert_array_equal(unique_edges(faces), np.unique(np.sort(mesh.edges_unique, axis=1), axis=0))
    pairs = edge_face_pairs(faces)
    assert {tuple(pair) for pair in pairs} == {tuple(pair) for pair in np.sort(mesh.face_adjacency, axis=1)}


def test_boundary_edges_have_no_pair():
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    np.testing.assert_array_equal(unique_edges(faces), [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]])
    np.testing.assert_array_equal(edge_face_pairs(faces), [[0, 1]])


def test_normals_agree_with_trimesh():
    vertices, faces = icosphere(1)
    vertices = vertices * [1.0, 0.5, 2.0]
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    batch = jnp.asarray(np.stack([vertices, 3 * vertices]))
    for faces_ in (faces, jnp.asarray(np.stack([faces, faces]))):
        np.testing.assert_allclose(face_normals(batch, faces_), np.stack([mesh.face_normals] * 2), atol=1e-5)
        area = mesh.area_faces[:, None] * mesh.face_normals
        expected = np.zeros_like(vertices)
        np.add.at(expected, faces.reshape(-1), np.repeat(area, 3, axis=0))
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(vertex_normals(batch, faces_), np.stack([expected] * 2), atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-37, 1e-32, 1e-25, 1e-19, 1e-17, 1e-10, 1e18, 1e37])
def test_normals_of_faces_of_every_size(scale):
    # A right angle, no area, and hardly any.
    vertices = scale * jnp.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0], [1, 1e-7, 0]]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    for normals in (face_normals, vertex_normals):
        value, gradient = jax.jit(jax.value_and_grad(lambda v, normals=normals: normals(v, faces)[:, :, 1:].sum()))(
            vertices
        )
        assert np.isfinite(value) and np.isfinite(gradient).all()
    if scale > 1e-30:  # smaller ones times 1e-7 are zero in float32
        np.testing.assert_allclose(face_normals(vertices, faces)[0], [[0, 0, 1], [0, 0, 0], [0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e-18, 1.0, 1e15])
def test_gradients_of_normals_scale_with_the_mesh(scale):
    corners, faces = jnp.array([[[0.1, 0, 0], [1, 0.2, 0], [0, 1, 0.3]]]), np.array([[0, 1, 2]])
    for normals in (face_normals, vertex_normals):
        slope = jax.jit(jax.grad(lambda v, normals=normals: normals(v, faces)[..., 0].sum()))
        assert np.abs(slope(corners)).max() > 0.1
        np.testing.assert_allclose(scale * slope(scale * corners), slope(corners), rtol=1e-4, atol=1e-5)


def test_normals_of_numpy_vertices():
    vertices, faces = icosphere(0)
    for normals in (face_normals, vertex_normals):
        np.testing.assert_array_equal(
            normals(vertices[None].astype(np.float32), faces), normals(jnp.asarray(vertices[None], jnp.float32), faces)
        )
    np.testing.assert_array_equal(gather_corners(vertices[None], faces), jnp.asarray(vertices[faces][None]))


def test_topology_is_static_and_compared_by_content():
    vertices, faces = icosphere(0)
    batch = jnp.asarray(vertices[None])
    compiled = []

    @jax.jit
    def area(mesh):
        compiled.append(1)
        return mesh.vertices.sum() + len(mesh.faces)

    area(Mesh(batch, faces))
    area(Mesh(batch + 1, faces.copy()))
    assert len(compiled) == 1
    area(Mesh(batch, faces[:3]))
    assert len(compiled) == 2
    assert len(jax.tree.leaves(Mesh(batch, faces))) == 1
    assert len(jax.tree.leaves(Mesh(batch, jnp.asarray(faces[None]), jnp.ones((1, 20), bool)))) == 3


@pytest.mark.parametrize(
    "faces, mask, words",
    [
        (np.array([[0, 1, 4]]), None, "0..4"),
        (np.array([[0, -1, 2]]), None, "-1..2"),
        (np.zeros((1, 4), int), None, "shape"),
        (np.zeros((3, 1, 3), int), None, "batch"),
        (np.zeros((2, 1, 3), int), np.ones((2, 2), bool), "face_mask"),
        (np.zeros((1, 3), int), np.ones((2, 1), bool), "face_mask"),
    ],
)
def test_bad_meshes_are_named(faces, mask, words):
    # Not through the constructor, where the type checker of the tests would be the first to object.
    mesh = Mesh.tree_unflatten(None, (jnp.zeros((2, 4, 3)), faces, mask))
    with pytest.raises(ValueError, match=words):
        mesh.__post_init__()


def test_shared_faces_must_be_static():
    with pytest.raises(ValueError, match="numpy"):
        Mesh(jnp.zeros((1, 4, 3)), jnp.zeros((1, 3), int))
    with pytest.raises(ValueError, match="level"):
        icosphere(-1)
