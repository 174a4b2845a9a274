"""The symmetric icosphere and the interpolation between its levels."""

import numpy as np
import pytest

from ast_jax.model.template import (
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
