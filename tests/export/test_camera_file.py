"""camera.json puts points of the mesh where the camera of the crop sees them in the photograph."""

import json

import numpy as np
import pytest

from ast_jax.data.crop import Box, crop_camera, photo_camera
from ast_jax.export.camera_file import camera_json
from render import orbit

SIZE = (300, 420)  # height and width, px
BOX = Box(37.5, -12.25, 260.0)
POINTS = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))


def camera():
    found = orbit(2.7, np.array([0.3]), np.array([0.8]), 0.5)
    return type(found)(found.rotation, found.translation, found.focal * np.array([[1.1, 1.1]]), np.array([[0.1, -0.2]]))


def expected_px() -> np.ndarray:
    """By the camera of the crop: NDC, then pixels of the crop at any size, then the box."""
    clip = np.asarray(camera().project(POINTS[None].astype(np.float32)))[0]
    ndc = clip[:, :2] / clip[:, 3:]
    unit = np.stack([(ndc[:, 0] + 1) / 2, (1 - ndc[:, 1]) / 2], -1)
    return np.array([BOX.left, BOX.top]) + unit * BOX.side


def stored() -> dict:
    return json.loads(json.dumps(camera_json(camera(), BOX, SIZE)))


def test_opencv_numbers_project_the_mesh():
    numbers = stored()["opencv"]
    seen = POINTS @ np.array(numbers["rotation"]).T + numbers["translation"]
    assert (seen[:, 2] > 0).all()
    x = numbers["fx"] * seen[:, 0] / seen[:, 2] + numbers["cx"]
    y = numbers["fy"] * seen[:, 1] / seen[:, 2] + numbers["cy"]
    np.testing.assert_allclose(np.stack([x, y], -1), expected_px(), atol=1e-3)
    assert numbers["fx"] == pytest.approx(numbers["fy"])  # pixels are square
    homogeneous = np.concatenate([POINTS, np.ones((50, 1))], 1) @ np.array(numbers["projection"]).T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], expected_px(), atol=1e-3)


def test_opengl_matrices_project_the_mesh():
    numbers = stored()
    view, projection = (np.array(numbers["opengl"][name]) for name in ("view", "projection"))
    clip = np.concatenate([POINTS, np.ones((50, 1))], 1) @ view.T @ projection.T
    ndc = clip[:, :3] / clip[:, 3:]
    size = np.array([numbers["image_size_px"]["width"], numbers["image_size_px"]["height"]])
    px = np.stack([(ndc[:, 0] + 1) / 2, (1 - ndc[:, 1]) / 2], -1) * size
    np.testing.assert_allclose(px, expected_px(), atol=1e-3)
    assert (np.abs(ndc[:, 2]) < 1).all()
    eye = np.array(numbers["opengl"]["camera_to_world"])[:3, 3]
    np.testing.assert_allclose(eye, np.asarray(camera().position_world)[0], atol=1e-5)


def test_the_camera_sees_a_turned_and_scaled_mesh_where_it_saw_ours():
    numbers = camera_json(camera(), BOX, SIZE, up="z", scale=12.5)
    assert "+Z up" in numbers["conventions"]["world"]
    x, y, z = 12.5 * POINTS.T
    turned = np.stack([x, -z, y, np.ones(50)], 1)
    seen = turned @ np.array(numbers["opencv"]["projection"]).T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], expected_px(), atol=1e-3)
    clip = turned @ np.array(numbers["opengl"]["view"]).T @ np.array(numbers["opengl"]["projection"]).T
    assert (np.abs(clip[:, 2] / clip[:, 3]) < 1).all()
    eye = np.asarray(camera().position_world)[0]
    found = np.array(numbers["opengl"]["camera_to_world"])[:3, 3]
    np.testing.assert_allclose(found, 12.5 * np.array([eye[0], -eye[2], eye[1]]), atol=1e-4)


def test_photo_camera_undoes_crop_camera():
    there = photo_camera(camera(), [BOX], SIZE)
    back = crop_camera(there, [BOX], SIZE)
    for name in ("rotation", "translation", "focal", "principal"):
        np.testing.assert_allclose(getattr(back, name), getattr(camera(), name), atol=1e-6)
