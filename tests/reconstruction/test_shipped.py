"""The shipped model on pictures of birds that it never saw: from the picture to files that other programs read."""

import json

import numpy as np
import pytest
import trimesh
from PIL import Image

import ast_jax
from ast_jax.reconstruction import Reconstruction
from ast_jax.shapes.birds.synthetic import FOV_DEG, make_objects
from ast_jax.shapes.normalise import normalise
from ast_jax.shapes.views import paint_views, ring_of_cameras, sample_views

SIZE, SUPERSAMPLE = 120, 2


@pytest.fixture(scope="module")
def pictures():
    """RGBA of two birds from two sides, on canvases that are larger than they are."""
    found = []
    for mesh, view in zip(make_objects(2, seed=77), (1, 3)):
        mesh = normalise(mesh)
        cameras = ring_of_cameras(8, fov_deg=FOV_DEG)
        samples = sample_views(mesh, cameras, SIZE * SUPERSAMPLE, 0.3)
        found.append(np.pad(paint_views(mesh, samples, SUPERSAMPLE)[view], ((10, 30), (40, 0), (0, 0))))
    return found


@pytest.fixture(scope="module")
def model():
    return ast_jax.load("bird", texture_size=128)


@pytest.fixture(scope="module")
def results(model, pictures):
    return [model.reconstruct(picture) for picture in pictures]


def test_the_outline_is_met(results):
    assert all(isinstance(result, Reconstruction) and result.mask_iou > 0.8 for result in results)
    assert all(result.found_by == "alpha channel" for result in results)


def test_a_batch_gives_what_each_gives_alone(model, pictures, results):
    for one, alone in zip(model.reconstruct_batch(pictures), results, strict=True):
        np.testing.assert_allclose(one.vertices, alone.vertices, atol=2e-3)
        assert abs(one.mask_iou - alone.mask_iou) < 0.02


def test_the_camera_of_the_file_puts_the_mesh_on_the_photograph(pictures, results, tmp_path):
    """Vertices projected with the numbers of camera.json lie on the bird in the uncropped picture."""
    result, alpha = results[0], pictures[0][..., 3] > 127
    result.save(tmp_path / "camera.json")
    camera = json.loads((tmp_path / "camera.json").read_text())
    points = np.concatenate([result.vertices, np.ones((len(result.vertices), 1))], 1)
    x, y, w = np.array(camera["opencv"]["projection"]) @ points.T
    rows, columns = np.floor(y / w).astype(int), np.floor(x / w).astype(int)
    height, width = alpha.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    on_bird = alpha[rows.clip(0, height - 1), columns.clip(0, width - 1)] & inside
    assert on_bird.mean() > 0.85
    seen_rows, seen_columns = np.nonzero(alpha)
    assert abs(rows.min() - seen_rows.min()) < 12 and abs(columns.max() - seen_columns.max()) < 12


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
def test_meshes_are_read_by_others(results, tmp_path, suffix):
    path = tmp_path / f"bird.{suffix}"
    results[0].save(path)
    mesh = trimesh.load(path, process=False)
    mesh = mesh.to_geometry() if isinstance(mesh, trimesh.Scene) else mesh
    found = np.sort(mesh.vertices[mesh.faces].reshape(-1, 9), axis=0)
    wanted = np.sort(results[0].vertices[results[0].faces].reshape(-1, 9), axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_pictures_and_page(results, tmp_path):
    results[0].save(tmp_path / "bird.png")
    assert Image.open(tmp_path / "bird.png").size == (4 * 256, 256)
    results[0].save(tmp_path / "bird.html")
    assert "overlap with the mask" in (tmp_path / "bird.html").read_text()
    with pytest.raises(ValueError, match=r"bird.gbl.*glb"):
        results[0].save(tmp_path / "bird.gbl")
    assert results[0].mesh.vertices.shape == (1, 642, 3) and results[0].texture.values.shape[:2] == (1, 1280)
