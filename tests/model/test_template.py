"""The symmetric icosphere and the interpolation between its levels."""

import numpy as np
import pytest
import scipy.spatial

from ast_jax.model.template import (
    at_level,
    carry_points,
    child_faces,
    face_half,
    interpolation_matrix,
    sphere,
    vertex_half,
)
from render import icosphere

FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.mark.parametrize("level", range(5))
def test_the_sphere_is_the_icosphere_and_its_own_mirror_image(level):
    ball = sphere(level)
    vertices, faces = icosphere(level)
    np.testing.assert_allclose(ball.vertices, vertices, atol=1e-15)
    np.testing.assert_array_equal(np.sort(ball.faces, 1), np.sort(faces, 1))
    assert (np.linalg.det(ball.vertices[ball.faces]) > 0).all(), "a face was turned inside out"
    # Exactly, bit by bit:
    np.testing.assert_array_equal(ball.vertices[ball.mirror_vertex] * FLIP, ball.vertices)
    partner = ball.faces[ball.mirror_face]
    np.testing.assert_array_equal(ball.mirror_vertex[ball.faces], partner[:, [0, 2, 1]])


def test_the_half_determines_the_whole():
    ball, half = sphere(2), vertex_half(2)
    assert (ball.vertices[half.members, 0] >= 0).all()
    whole = ball.vertices[half.members][half.source]
    whole[:, 0] *= half.sign
    np.testing.assert_array_equal(whole, ball.vertices)


@pytest.mark.parametrize("query_level, level", [(0, 2), (1, 3), (2, 3), (2, 2)])
def test_interpolation_keeps_coarse_values_constants_and_linear_maps(query_level, level):
    weights = interpolation_matrix(query_level, level)
    coarse, fine = sphere(query_level).vertices, sphere(level).vertices
    values = np.random.default_rng(0).normal(size=(len(coarse), 3))
    np.testing.assert_array_equal((weights @ values)[: len(coarse)], values)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    linear = np.random.default_rng(1).normal(size=(3, 3))
    np.testing.assert_allclose(weights @ (coarse @ linear), fine @ linear, atol=1e-12)


def test_interpolation_commutes_with_the_mirror():
    coarse, fine, weights = sphere(1), sphere(3), interpolation_matrix(1, 3)
    np.testing.assert_allclose(weights[fine.mirror_vertex][:, coarse.mirror_vertex], weights, atol=1e-12)


def test_interpolation_is_close_to_a_smooth_function_and_without_creases():
    coarse, fine, weights = sphere(2).vertices, sphere(3).vertices, interpolation_matrix(2, 3)

    def bumpy(x):
        return np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1]) + x[:, 2] ** 3

    smooth_error = np.abs(weights @ bumpy(coarse) - bumpy(fine)).max()
    # Piecewise linear: a new vertex is the mean of the ends of its edge, its two nearest coarse vertices.
    nearest = np.argsort(-fine @ coarse.T, axis=1)[:, :2]
    linear_error = np.abs(bumpy(coarse)[nearest].mean(1) - bumpy(fine))[len(coarse) :].max()
    assert smooth_error < 0.01 < 5 * smooth_error < linear_error


@pytest.mark.parametrize("query_level, level", [(0, 1), (1, 3), (2, 2)])
def test_children_lie_inside_their_parent(query_level, level):
    coarse, fine = sphere(query_level), sphere(level)
    children = child_faces(query_level, level)
    np.testing.assert_array_equal(np.sort(children.reshape(-1)), np.arange(len(fine.faces)))
    centres = fine.vertices[fine.faces[children]].mean(2)
    to_barycentric = np.linalg.inv(coarse.vertices[coarse.faces].transpose(0, 2, 1))
    assert (np.einsum("gij,gkj->gki", to_barycentric, centres) > 0).all()


@pytest.mark.parametrize("query_level, level", [(1, 1), (1, 2)])
def test_every_face_shows_itself_or_its_mirror_image(query_level, level):
    half, fine = face_half(query_level, level), sphere(level)
    predicted = child_faces(query_level, level)[half.members].reshape(-1)
    own, mirror = np.arange(len(fine.faces)), fine.mirror_face
    np.testing.assert_array_equal(predicted[half.direct], np.where(half.direct_flipped, mirror, own))
    np.testing.assert_array_equal(predicted[half.mirrored], np.where(half.mirrored_flipped, mirror, own))


def test_levels_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="query_level=3, level=2"):
        interpolation_matrix(3, 2)


def flat_vertices(level: int, to_level: int) -> np.ndarray:
    """Vertices of a finer level on the flat faces of a coarser one: middles of edges, found by where they are."""
    places = sphere(level).vertices
    for finer in range(level + 1, to_level + 1):
        coarse, fine = sphere(finer - 1), sphere(finer).vertices
        edges = np.unique(np.sort(coarse.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
        middles = coarse.vertices[edges].mean(1)
        order = scipy.spatial.cKDTree(middles / np.linalg.norm(middles, axis=1)[:, None]).query(fine[len(places) :])[1]
        places = np.concatenate([places, places[edges[order]].mean(1)])
    return places


@pytest.mark.parametrize("level, to_level", [(0, 2), (1, 2), (2, 4), (3, 3)])
def test_points_are_carried_to_finer_faces_and_back(level, to_level):
    rng = np.random.default_rng(level)
    faces = sphere(level).faces
    face, places = rng.integers(0, len(faces), 500), rng.dirichlet(np.ones(3), 500)
    fine_face, fine_places = carry_points(face, places, level, to_level)
    assert fine_places.min() > -1e-12
    np.testing.assert_allclose(fine_places.sum(1), 1)
    corners = flat_vertices(level, to_level)[sphere(to_level).faces[fine_face]]
    wanted = np.einsum("nk,nkc->nc", places, sphere(level).vertices[faces[face]])
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", fine_places, corners), wanted, atol=1e-12)
    back = carry_points(fine_face, fine_places, to_level, level)
    np.testing.assert_array_equal(back[0], face)
    np.testing.assert_allclose(back[1], places, atol=1e-12)


def test_values_of_a_level_stay_at_the_vertices_that_it_shares():
    values = np.random.default_rng(0).normal(size=(162, 2))
    np.testing.assert_allclose(at_level(values, 2, 4)[:162], values)
    np.testing.assert_array_equal(at_level(values, 2, 1), values[:42])
