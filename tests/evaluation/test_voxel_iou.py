"""NMR's voxels against its rule written as loops over lattice lines, and boxes worked out by hand."""

from itertools import product
from math import floor

import numpy as np
import pytest
import trimesh

from ast_jax.evaluation.voxel_iou import mesh_occupancy


def _box(low, high):
    box = trimesh.creation.box(bounds=[low, high])
    return np.asarray(box.vertices), np.asarray(box.faces, np.int32)


def _loops(vertices, faces, side):
    """One lattice line, one face at a time; 2 x 2 systems solved by numpy; the fill walks a stack."""
    surface = set()
    for triangle in (np.asarray(vertices, float) * (side - 1) + side / 2)[faces]:
        surface |= {tuple(floor(x) for x in corner) for corner in triangle}
        for axis in range(3):
            p, q = [i for i in range(3) if i != axis]
            edges = np.array([triangle[1] - triangle[0], triangle[2] - triangle[0]]).T
            if np.linalg.det(edges[[p, q]]) == 0.0:
                continue
            for i, j in product(range(side), repeat=2):
                b, c = np.linalg.solve(edges[[p, q]], np.array([i, j]) - triangle[0, [p, q]])
                if b < 0 or c < 0 or b + c > 1:
                    continue
                height = floor((triangle[0] + edges @ [b, c])[axis])
                for di, dj in product((0, 1), repeat=2):
                    voxel = [0, 0, 0]
                    voxel[p], voxel[q], voxel[axis] = i - di, j - dj, height
                    surface.add(tuple(voxel))
    cells = set(product(range(side), repeat=3))
    stack = [c for c in cells - surface if min(c) == 0 or max(c) == side - 1]
    outside = set(stack)
    while stack:
        cell = stack.pop()
        for axis, step in product(range(3), (-1, 1)):
            near = tuple(x + step * (k == axis) for k, x in enumerate(cell))
            if near in cells and near not in surface and near not in outside:
                outside.add(near)
                stack.append(near)
    solid = np.zeros((side,) * 3, bool)
    for cell in cells - outside:
        solid[cell] = True
    return solid


@pytest.mark.parametrize("seed, shift", [(0, 0.0), (1, 0.3)])
def test_nmr_rule_equals_loops(seed, shift):
    """A dented, turned ellipsoid; the second one leaves the grid."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    turn = trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))[:3, :3]
    direction = np.asarray(ball.vertices)
    vertices = direction * (1.0 + 0.3 * np.sin(5 * direction[:, :1])) * [0.4, 0.25, 0.15] @ turn.T + shift
    actual = mesh_occupancy(vertices, np.asarray(ball.faces, np.int32), 12, "nmr")
    assert 30 < actual.sum() < 12**3 / 2
    np.testing.assert_array_equal(actual, _loops(vertices, ball.faces, 12))


def test_nmr_rule_on_a_box_by_hand():
    # 31 x + 16: x from 6.7 to 25.3, y from 0.5 to 16.0 (a face on a lattice plane), z from 12.59 to 19.41.
    actual = mesh_occupancy(*_box([-0.3, -0.5, -0.11], [0.3, 0.0, 0.11]), 32, "nmr")
    expected = np.zeros((32, 32, 32), bool)
    # Lattice lines in y are 1 .. 16 and mark the voxels on both sides: 0 .. 16.
    expected[6:26, 0:17, 12:20] = True
    np.testing.assert_array_equal(actual, expected)


def test_the_two_rules_differ_by_half_a_voxel():
    """Of a box whose sides lie on the voxels of one rule, that rule gives just these voxels."""
    vertices, faces = _box([-0.249] * 3, [0.249] * 3)
    touch = mesh_occupancy(vertices, faces, 32)
    assert touch.sum() == 16**3 and touch[8:24, 8:24, 8:24].all()
    nmr = mesh_occupancy(vertices, faces, 32, "nmr")  # 8.28 .. 23.72
    assert nmr.sum() == 16**3 and nmr[8:24, 8:24, 8:24].all()
    vertices, faces = _box([-0.251] * 3, [0.251] * 3)
    assert mesh_occupancy(vertices, faces, 32).sum() == 18**3
    assert mesh_occupancy(vertices, faces, 32, "nmr").sum() == 16**3  # 8.22 .. 23.78


def test_wrong_rule_and_empty_mesh():
    vertices, faces = _box([-0.1] * 3, [0.1] * 3)
    with pytest.raises(ValueError, match="rule='binvox': choose one of touch, nmr"):
        mesh_occupancy(vertices, faces, 32, "binvox")
    with pytest.raises(ValueError, match="finite vertices"):
        mesh_occupancy(vertices * np.nan, faces, 32, "nmr")
