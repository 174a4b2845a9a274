"""The layout of the template: one place for every point, cut along the plane of symmetry, alike on both sides."""

import numpy as np
import pytest

from ast_jax.export.unwrap import unwrap
from ast_jax.model.template import sphere
from render import edge_face_pairs, rasterize

LEVELS = [0, 1, 2, 3, 4]


def doubled_areas(corners: np.ndarray) -> np.ndarray:
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


@pytest.mark.parametrize("level", LEVELS)
def test_faces_are_the_templates(level):
    flat = unwrap(level)
    np.testing.assert_array_equal(flat.source[flat.faces], sphere(level).faces)
    assert set(flat.source) == set(range(len(sphere(level).vertices)))
    assert flat.uv.min() > 1 / 257 and flat.uv.max() < 1 - 1 / 257


@pytest.mark.parametrize("level", [0, 1, 3])
def test_no_face_is_turned_over_and_none_covers_another(level):
    flat = unwrap(level)
    assert (doubled_areas(flat.uv[flat.faces]) > 0).all()
    clip = np.concatenate([2 * flat.uv - 1, np.zeros((len(flat.uv), 1)), np.ones((len(flat.uv), 1))], -1)
    seen = rasterize(clip[None].astype(np.float32), flat.faces, (256, 256), layers=2, edge_rule="strict")
    first, second = np.asarray(seen.face_id)[0]
    assert (second == -1).all()
    assert set(first[first >= 0]) == set(range(len(flat.faces)))


@pytest.mark.parametrize("level", LEVELS)
def test_the_seam_is_the_plane_of_symmetry(level):
    flat, ball = unwrap(level), sphere(level)
    pairs = edge_face_pairs(ball.faces)
    astride = ball.mirror_face == np.arange(len(ball.faces))
    cut = []
    for faces in np.asarray(pairs):
        shared = set(ball.faces[faces[0]]) & set(ball.faces[faces[1]])
        copies = [{(flat.source[i], i) for i in flat.faces[face] if flat.source[i] in shared} for face in faces]
        if copies[0] != copies[1]:
            cut.append(faces)
            assert astride[faces].any() or (ball.vertices[list(shared), 0] == 0).all()
    assert len(flat.uv) - len(ball.vertices) == len(cut)  # one closed line: as many vertices as edges


@pytest.mark.parametrize("level", LEVELS)
def test_sides_are_laid_out_alike(level):
    flat, ball = unwrap(level), sphere(level)
    place = flat.uv[flat.faces]
    upper = (ball.vertices[ball.faces].mean(1)[:, 0] > 0) & (ball.mirror_face != np.arange(len(ball.faces)))
    mirrored = place[ball.mirror_face[upper]][:, [0, 2, 1]]  # corners in the order of the mirror image
    given = ball.faces[upper]
    np.testing.assert_array_equal(ball.mirror_vertex[ball.faces[ball.mirror_face[upper]]][:, [0, 2, 1]], given)
    np.testing.assert_allclose(mirrored, place[upper] * [-1, 1] + [1, -0.5], atol=1e-12)


def test_most_of_the_texture_is_used_and_evenly():
    flat, ball = unwrap(3), sphere(3)
    area = doubled_areas(flat.uv[flat.faces]) / 2
    assert area.sum() > 0.88
    corners = ball.vertices[ball.faces]
    solid = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2
    density = area / area.sum() / (solid / solid.sum())
    assert 0.7 < density.min() and density.max() < 1.5
