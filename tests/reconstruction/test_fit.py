"""Cameras and meshes found again from pictures that were rendered with known ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.reconstruction.fit import align_to_mask, camera_grid, estimate_camera, improve_camera, refine
from render import FaceTexels, Mesh, PerspectiveCamera, icosphere, orbit, render

SIZE = 64
VERTICES, FACES = icosphere(2)


def lopsided() -> np.ndarray:
    """A body with a beak and a fin: no two of its views look alike."""
    v = VERTICES * np.array([0.22, 0.2, 0.42])
    v = v + np.exp(-((VERTICES - [0, 0.3, 0.95]) ** 2).sum(-1, keepdims=True) * 6) * np.array([0.0, 0.05, 0.12])
    v = v + np.exp(-((VERTICES - [0.1, 0.9, -0.4]) ** 2).sum(-1, keepdims=True) * 6) * np.array([0.05, 0.2, 0.0])
    return v.astype(np.float32)


def texels_by_place() -> FaceTexels:
    colour = 0.5 + 0.5 * VERTICES[FACES].mean(1)
    values = np.broadcast_to(colour[None, :, None, None], (1, len(FACES), 2, 2, 3))
    return FaceTexels(np.ascontiguousarray(values, np.float32))


@jax.jit
def _draw(mesh, camera, texture):
    return render(mesh, camera, (SIZE, SIZE), blending="hard", texture=texture, sigma=1e-5)


def photograph(vertices: np.ndarray, camera: PerspectiveCamera) -> tuple[np.ndarray, np.ndarray]:
    drawn = _draw(Mesh(jnp.asarray(vertices)[None], FACES), camera, texels_by_place())
    return np.asarray(drawn.rgb[0]), np.asarray(drawn.face_id[0] >= 0).astype(np.float32)


def overlap_of(vertices: np.ndarray, camera: PerspectiveCamera, mask: np.ndarray) -> float:
    """Intersection over union of the hard silhouette with a mask."""
    drawn, wanted = photograph(vertices, camera)[1] > 0, mask > 0.5
    return (drawn & wanted).sum() / (drawn | wanted).sum()


def direction(camera: PerspectiveCamera) -> np.ndarray:
    """Unit vector from the object to the camera."""
    eye = -np.asarray(camera.rotation[0]).T @ np.asarray(camera.translation[0])
    return eye / np.linalg.norm(eye)


def test_aligned_object_fills_the_box_of_the_mask():
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 4:16] = 1
    vertices = lopsided()
    cameras = align_to_mask(camera_grid(), vertices, mask)
    clip = np.asarray(cameras.project(jnp.repeat(jnp.asarray(vertices)[None], cameras.focal.shape[0], axis=0)))
    ndc = clip[..., :2] / clip[..., 3:]
    centre = (ndc.min(1) + ndc.max(1)) / 2
    # box: columns 4 to 16 and rows 10 to 30 of 40
    np.testing.assert_allclose(centre, np.broadcast_to([-0.5, 0.0], centre.shape), atol=1e-5)
    area = np.prod(ndc.max(1) - ndc.min(1), -1)
    np.testing.assert_allclose(area, 0.6 * 1.0, rtol=1e-4)


@pytest.mark.parametrize(("azimuth_deg", "elevation_deg"), [(70.0, 25.0), (250.0, 5.0)])
def test_camera_is_found_again(azimuth_deg, elevation_deg):
    truth = orbit(2.732, np.radians([elevation_deg]), np.radians([azimuth_deg]), np.pi / 6)
    picture, mask = photograph(lopsided(), truth)
    found = estimate_camera(lopsided(), FACES, mask, texture=texels_by_place(), picture=picture)
    assert found.iou > 0.95
    assert np.degrees(np.arccos(direction(found.camera) @ direction(truth))) < 8
    np.testing.assert_allclose(found.iou, overlap_of(lopsided(), found.camera, mask), atol=1e-6)


def test_given_start_is_improved():
    truth = orbit(2.732, np.radians([25.0]), np.radians([70.0]), np.pi / 6)
    _, mask = photograph(lopsided(), truth)
    start = orbit(2.732, np.radians([20.0]), np.radians([85.0]), np.pi / 6)
    before = overlap_of(lopsided(), align_to_mask(start, lopsided(), mask), mask)
    found = overlap_of(lopsided(), improve_camera(lopsided(), FACES, mask, start), mask)
    assert found > before + 0.02 and found > 0.95


def test_a_start_is_tried_beside_the_grid():
    truth = orbit(2.732, np.radians([25.0]), np.radians([70.0]), np.pi / 6)
    _, mask = photograph(lopsided(), truth)
    found = estimate_camera(lopsided(), FACES, mask, start=truth, steps=1)
    assert found.iou >= overlap_of(lopsided(), truth, mask) - 0.01


def test_refinement_moves_shape_and_colour_to_the_picture():
    truth = orbit(2.732, np.radians([25.0]), np.radians([70.0]), np.pi / 6)
    picture, mask = photograph(lopsided(), truth)
    ball = (VERTICES * 0.3).astype(np.float32)
    grey = FaceTexels(np.full((1, len(FACES), 2, 2, 3), 0.5, np.float32))
    result = refine(ball, FACES, truth, picture, mask, texture=grey, steps=60)
    assert result.after["total"] < 0.5 * result.before["total"]
    assert result.after["l1"] < 0.5 * result.before["l1"]
    overlap = [overlap_of(v, c, mask) for v, c in ((ball, truth), (result.vertices, result.camera))]
    assert overlap[1] > 0.85 > overlap[0] + 0.2
    assert 0 <= result.texture.values.min() and result.texture.values.max() <= 1


def test_bad_input_is_named():
    truth = orbit(2.732, np.radians([25.0]), np.radians([70.0]), np.pi / 6)
    with pytest.raises(ValueError, match="no pixel"):
        estimate_camera(lopsided(), FACES, np.zeros((SIZE, SIZE), np.float32))
    with pytest.raises(ValueError, match="square"):
        estimate_camera(lopsided(), FACES, np.ones((SIZE, SIZE + 1), np.float32))
    with pytest.raises(ValueError, match="steps"):
        refine(lopsided(), FACES, truth, np.ones((8, 8, 3)), np.ones((8, 8)), steps=0)
