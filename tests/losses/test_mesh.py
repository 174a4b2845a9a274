"""Mesh terms against loops over a topology that trimesh finds, and at degenerate meshes."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from ast_jax.losses.mesh import (
    cotangent_laplacian_loss,
    deformation_loss,
    edge_length_loss,
    flatness_loss,
    laplacian_loss,
    normal_consistency_loss,
)

MESH_TERMS = (laplacian_loss, normal_consistency_loss, edge_length_loss, flatness_loss)


def _bumpy_sphere(batch=2):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(batch, *mesh.vertices.shape))
    return mesh, np.asarray(mesh.vertices)[None] + noise, np.asarray(mesh.faces, np.int32)


@cache
def _value_and_gradient(term):
    """Compiled once for all shapes of the bumpy sphere."""
    faces = _bumpy_sphere()[2]
    return jax.jit(jax.value_and_grad(lambda vertices: term(vertices, faces).sum()))


def _laplacian_distances(mesh, vertices):
    return [
        np.linalg.norm(vertices[list(mesh.vertex_neighbors[i])].mean(0) - vertices[i]) for i in range(len(vertices))
    ]


def _unit_normals(vertices, faces):
    normals = np.array([np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a]) for a, b, c in faces])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_laplacian_equals_a_loop_over_neighbours():
    mesh, vertices, faces = _bumpy_sphere()
    distances = np.array([_laplacian_distances(mesh, v) for v in vertices])
    actual = laplacian_loss(vertices.astype(np.float32), faces)
    np.testing.assert_allclose(actual, distances.mean(1), rtol=1e-5)
    squared = laplacian_loss(vertices.astype(np.float32), faces, squared=True)
    np.testing.assert_allclose(squared, (distances**2).mean(1), rtol=1e-5)


def test_laplacian_of_a_displacement():
    mesh, vertices, faces = _bumpy_sphere()
    expected = [np.mean(_laplacian_distances(mesh, v - mesh.vertices)) for v in vertices]
    reference = np.asarray(mesh.vertices, np.float32)
    np.testing.assert_allclose(
        laplacian_loss(vertices.astype(np.float32), faces, reference=reference), expected, rtol=1e-4
    )


def test_laplacian_ignores_a_vertex_of_no_face():
    mesh, vertices, faces = _bumpy_sphere(1)
    expected = sum(_laplacian_distances(mesh, vertices[0])) / (len(vertices[0]) + 1)
    with_extra = np.concatenate([vertices, np.full((1, 1, 3), 7.0)], axis=1).astype(np.float32)
    np.testing.assert_allclose(laplacian_loss(with_extra, faces), [expected], rtol=1e-5)


def test_normal_consistency_equals_a_loop_over_adjacent_faces():
    mesh, vertices, faces = _bumpy_sphere()
    expected = []
    for points in vertices:
        normals = _unit_normals(points, faces)
        expected.append(np.mean([1 - normals[i] @ normals[j] for i, j in mesh.face_adjacency]))
    np.testing.assert_allclose(normal_consistency_loss(vertices.astype(np.float32), faces), expected, rtol=1e-4)


def test_normal_consistency_of_an_open_mesh():
    """Two triangles of a sheet folded by 90 degrees share one edge; the four outer edges do not count."""
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    faces = np.array([[0, 1, 2], [0, 3, 1]], np.int32)
    np.testing.assert_allclose(normal_consistency_loss(vertices, faces), [1.0], atol=1e-6)
    assert normal_consistency_loss(vertices, faces[:1])[0] == 0.0


@pytest.mark.parametrize("target_length", [0.0, 0.4])
def test_edge_length_equals_a_loop_over_edges(target_length):
    mesh, vertices, faces = _bumpy_sphere()
    expected = [
        np.mean([(np.linalg.norm(v[i] - v[j]) - target_length) ** 2 for i, j in mesh.edges_unique]) for v in vertices
    ]
    actual = edge_length_loss(vertices.astype(np.float32), faces, target_length=target_length)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_cotangents_of_a_loop_over_edges():
    mesh, vertices, faces = _bumpy_sphere()
    reference = np.asarray(mesh.vertices) * [1.0, 0.6, 0.8]
    angles = trimesh.triangles.angles(reference[faces])
    pulls = np.zeros_like(vertices)
    for face, angle in zip(faces, angles):
        for corner in range(3):
            i, j = face[(corner + 1) % 3], face[(corner + 2) % 3]
            for batch, v in enumerate(vertices):
                pulls[batch, i] += 0.5 / np.tan(angle[corner]) * (v[j] - v[i])
                pulls[batch, j] += 0.5 / np.tan(angle[corner]) * (v[i] - v[j])
    actual = cotangent_laplacian_loss(vertices.astype(np.float32), faces, reference)
    np.testing.assert_allclose(actual, np.linalg.norm(pulls, axis=-1).mean(1), rtol=1e-4)


def test_cotangents_see_no_curvature_in_a_plane():
    """However uneven its triangles are; neighbours of equal weight would pull its vertices along."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:5, :5].astype(float)
    inner = (rows > 0) & (rows < 4) & (columns > 0) & (columns < 4)
    plane = np.stack([rows, columns, 0 * rows], -1)
    plane[inner, :2] += rng.uniform(-0.3, 0.3, (9, 2))
    plane = plane.reshape(-1, 3)
    squares = [(5 * i + j, 5 * i + j + 1, 5 * i + j + 6, 5 * i + j + 5) for i in range(4) for j in range(4)]
    faces = np.array([face for a, b, c, d in squares for face in ((a, b, c), (a, c, d))])
    moved = plane.copy()
    moved[12, 2] += 1.0
    still, bent = (cotangent_laplacian_loss(v[None].astype(np.float32), faces, plane)[0] * 25 for v in (plane, moved))
    # What is left is the pull of the border, whose vertices have neighbours on one side only.
    border = np.flatnonzero(~inner.reshape(-1))
    gradient = jax.grad(lambda v: cotangent_laplacian_loss(v, faces, plane).sum())(plane[None].astype(np.float32))
    assert len(border) == 16 and bent - still > 1.0
    np.testing.assert_allclose(gradient[0, :, 2], 0, atol=1e-6)


def test_flatness_is_the_square_of_a_loop_over_edges():
    mesh, vertices, faces = _bumpy_sphere()
    expected = []
    for v in vertices:
        normals = _unit_normals(v, faces)
        expected.append(np.mean([(1 - normals[i] @ normals[j]) ** 2 for i, j in mesh.face_adjacency]))
    np.testing.assert_allclose(flatness_loss(vertices.astype(np.float32), faces), expected, rtol=1e-4)


def test_deformation_by_hand():
    displacement = jnp.asarray([[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]])
    assert deformation_loss(displacement)[0] == 3.0
    assert deformation_loss(displacement, squared=True)[0] == 13.0


@pytest.mark.parametrize("term", MESH_TERMS)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-18, 1e-12, 1e-6])
def test_finite_at_collapsed_meshes(term, scale):
    vertices = _bumpy_sphere(1)[1]
    value, gradient = _value_and_gradient(term)((scale * vertices).astype(np.float32))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_finite_at_zero_displacement():
    gradient = jax.grad(lambda d: deformation_loss(d).sum())(jnp.zeros((1, 4, 3)))
    np.testing.assert_array_equal(gradient, 0.0)


def test_sliver_faces_have_finite_normals():
    _, vertices, faces = _bumpy_sphere(1)
    vertices[0, faces[3]] = vertices[0, faces[3, 0]]  # one face is a point, its neighbours are lines
    gradient = _value_and_gradient(normal_consistency_loss)(vertices.astype(np.float32))[1]
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("term", MESH_TERMS)
def test_gradient_equals_finite_differences(term):
    vertices = _bumpy_sphere(1)[1]
    step = np.zeros_like(vertices)
    step[0, 5, 1] = 1e-6
    with jax.enable_x64(True):
        low, here, high = jax.device_get([_value_and_gradient(term)(vertices + k * step) for k in (-1, 0, 1)])
    np.testing.assert_allclose(here[1][0, 5, 1], (high[0] - low[0]) / 2e-6, rtol=1e-5)
