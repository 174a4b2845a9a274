"""Polygons against their area by the shoelace formula, and against points inside and outside."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_jax.shapes.mesh_files.triangulate import (
    MAX_CORNERS,
    MAX_WORK,
    strip_triangles,
    triangulate,
    triangulate_with_holes,
)

L_SHAPE = np.array([[2, 0, 0], [2, 1, 0], [1, 1, 0], [1, 2, 0], [0, 2, 0], [0, 0, 0]], float)
ARROW = np.array([[2, 1, 0], [0, 2, 0], [0.7, 1, 0], [0, 0, 0]], float)
ANGLES_RAD = np.arange(10) * np.pi / 5
STAR = (
    np.stack([np.cos(ANGLES_RAD), np.sin(ANGLES_RAD), 0 * ANGLES_RAD], -1)
    * np.where(np.arange(10) % 2, 0.4, 1)[:, None]
)
# A rotation that is parallel to no axis.
TURN = np.linalg.qr(np.array([[2.0, 1, 0], [-1, 3, 1], [1, 0, 4]]))[0]


def cut(points: np.ndarray) -> np.ndarray:
    triangles, owner = triangulate(points, np.array([len(points)]), np.arange(len(points)))
    assert not owner.any()
    return triangles


def area_vectors(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a) / 2


def shoelace(points: np.ndarray) -> np.ndarray:
    return np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0) / 2


@pytest.mark.parametrize(("polygon", "area"), [(L_SHAPE, 3.0), (ARROW, 1.3), (STAR, 10 * 0.4 * np.sin(np.pi / 5) / 2)])
@pytest.mark.parametrize("turn", [np.eye(3), TURN, 1e-9 * TURN, 1e9 * TURN])
def test_concave_polygons_are_covered_once_from_any_corner_in_their_winding(polygon, area, turn):
    size = np.linalg.norm(turn[0])
    for first in range(len(polygon)):
        for way in (1, -1):
            points = np.roll(polygon[::way], first, axis=0) @ turn
            parts = area_vectors(points, cut(points)) / size**2
            # All parts look the same way as the whole, so that nothing overlaps and nothing lies outside.
            np.testing.assert_allclose(np.linalg.norm(parts, axis=-1).sum(), area)
            np.testing.assert_allclose(parts.sum(axis=0), shoelace(points / size), atol=1e-9)
            assert len(parts) == len(polygon) - 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 1.0), min_size=4, max_size=12), st.integers(0, 11))
def test_polygons_that_are_seen_from_a_point_have_their_area(radii, first):
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    points = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1) * np.array(radii)[:, None]
    points = np.roll(points, first, axis=0) @ TURN
    parts = area_vectors(points, cut(points))
    np.testing.assert_allclose(np.linalg.norm(parts, axis=-1).sum(), np.linalg.norm(shoelace(points)))


def test_convex_polygons_stay_fans_and_quads_are_cut_along_the_diagonal_inside():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    np.testing.assert_array_equal(cut(square), [[0, 1, 2], [0, 2, 3]])
    dart = np.array([[0, 0, 0], [2, 0, 0], [0.5, 0.5, 0], [0, 2, 0]], float)  # the third corner points inwards
    for first in range(4):
        diagonal = set(map(tuple, np.sort(cut(np.roll(dart, -first, axis=0)))))
        reflex, opposite = sorted(((2 - first) % 4, (0 - first) % 4))
        assert all({reflex, opposite} <= set(triangle) for triangle in diagonal)


def test_polygons_of_many_sizes_keep_their_order_and_corners():
    points = np.concatenate([L_SHAPE, ARROW[::-1] + [5, 0, 0], L_SHAPE[:3], L_SHAPE[:2], L_SHAPE + [0, 0, 4]])
    triangles, owner = triangulate(points, np.array([6, 4, 3, 2, 6]), np.arange(len(points)))
    np.testing.assert_array_equal(owner, [0] * 4 + [1] * 2 + [2] + [4] * 4)
    sums = np.bincount(owner, area_vectors(points, triangles)[:, 2])
    np.testing.assert_allclose(sums, [3, -1.3, 0.5, 0, 3])


def test_polygons_without_area_give_nothing_and_repeated_corners_do_not_matter():
    assert not len(cut(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]], float)))
    assert not len(cut(np.zeros((5, 3))))
    twice = np.repeat(L_SHAPE, 2, axis=0)
    triangles, _ = triangulate(twice, np.array([12]), np.repeat(np.arange(6), 2))
    np.testing.assert_allclose(np.linalg.norm(area_vectors(twice, triangles), axis=-1).sum(), 3)
    folded, _ = triangulate(L_SHAPE[[0, 1, 1, 0]], np.array([4]), np.array([0, 1, 1, 0]))
    assert not len(folded)
    triangle, _ = triangulate(L_SHAPE[[5, 0, 1, 1]], np.array([4]), np.array([5, 0, 1, 1]))  # f 1 2 3 3
    assert len(triangle) == 1


def test_polygons_that_cross_themselves_or_are_bent_still_give_triangles():
    eight = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], float)
    assert len(cut(eight))
    bent = L_SHAPE + np.array([0, 0, 0.1]) * np.arange(6)[:, None]
    parts = area_vectors(bent, cut(bent))
    assert len(parts) == 4 and (parts[:, 2] > 0).all()
    np.testing.assert_allclose(parts[:, 2].sum(), 3)


@pytest.mark.parametrize("way", [1, -1])
def test_holes_are_left_open(way):
    outline = 4 * np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float) @ TURN
    hole = np.array([[1, 1, 0], [2, 1, 0], [2, 2, 0], [1, 2, 0]], float)[::way] @ TURN
    points = np.concatenate([outline, hole])
    parts = area_vectors(points, triangulate_with_holes([outline, hole]))
    np.testing.assert_allclose(np.linalg.norm(parts, axis=-1).sum(), 15)
    np.testing.assert_allclose(parts.sum(axis=0) / 15, shoelace(outline) / 16, atol=1e-12)


def test_strips_keep_one_winding():
    np.testing.assert_array_equal(strip_triangles(np.arange(5)), [[0, 1, 2], [2, 1, 3], [2, 3, 4]])
    assert not len(strip_triangles(np.arange(2)))


def test_a_hundred_thousand_quads_and_one_polygon_of_ten_thousand_corners_take_no_time():
    quads = np.tile([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], (100_000, 1))
    comb = np.stack([np.arange(10_000) / 1e4, np.arange(10_000) % 2 + np.arange(10_000) / 1e5, np.zeros(10_000)], -1)
    comb = np.concatenate([comb, [[1.0, -1, 0], [0, -1, 0]]])
    begin = time.process_time()
    assert len(triangulate(quads, np.full(100_000, 4), np.arange(400_000))[0]) == 200_000
    parts = area_vectors(comb, cut(comb))
    np.testing.assert_allclose(np.linalg.norm(parts, axis=-1).sum(), np.linalg.norm(shoelace(comb)))
    assert time.process_time() - begin < 10


def test_work_is_bounded():
    """Ears of a polygon that runs along itself take the cube of its corners: 185 s for 9,000 of three points."""
    round_and_round = np.tile([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], (3000, 1))
    for names in (np.tile(np.arange(3), 3000), np.arange(9000)):
        start = time.process_time()
        triangle, _ = triangulate(round_and_round, np.array([9000]), names)
        assert time.process_time() - start < 5
        ((a, b, c),) = round_and_round[triangle]
        np.testing.assert_array_equal(np.cross(b - a, c - a), [0, 0, 1])
    rng = np.random.default_rng(0)
    many = rng.random((MAX_CORNERS + 1, 3))
    with pytest.raises(ValueError, match="a polygon of 20,001 corners that is not convex, at most 20,000"):
        triangulate(many, np.array([len(many)]), np.arange(len(many)))
    sizes = np.full(MAX_WORK // 200**2 + 1, 200)
    with pytest.raises(ValueError, match="too many polygons"):
        triangulate(np.tile(many[:200], (len(sizes), 1)), sizes, np.arange(sizes.sum()))
    # Convex ones are never cut by their ears.
    angle = np.arange(30_000) * 2 * np.pi / 30_000
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    assert len(triangulate(circle, np.array([30_000]), np.arange(30_000))[0]) == 29_998
