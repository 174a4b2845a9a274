"""The camera of what the model sees."""

import numpy as np
import pytest

from ast_jax.data.augment import Draw
from ast_jax.data.pipeline import DataSource, make_batch


@pytest.fixture
def plain(dataset_root):
    return DataSource(dataset_root, "train", {"image_size": 24, "render_size": 16})


@pytest.mark.parametrize("mirror", [False, True])
def test_camera_of_the_input_sees_key_points_where_the_crop_shows_them(plain, mirror):
    """Key points of the frame, carried into the crop by plain arithmetic on its box, are where its camera puts them."""
    sample = plain.sample_number(1, 2)
    draw = Draw((sample,), jitter=(0.05, -0.1, 1.1), mirror=mirror)
    batch = make_batch(plain, [draw], plain.config)
    box = plain.boxes[sample].moved(*draw.jitter)
    frame = plain.images.shape[1]
    points = np.random.default_rng(0).normal(scale=0.2, size=(1, 5, 3)).astype(np.float32)
    record = plain.truth(1)
    view = points @ record.rotation[2].T + record.translation[2]
    ndc = record.focal[2] * view[..., :2] / -view[..., 2:] + record.principal[2]
    px = np.stack([(ndc[..., 0] + 1) / 2 * frame, (1 - ndc[..., 1]) / 2 * frame], -1)
    expected = np.stack([2 * (px[..., 0] - box.left) / box.side - 1, 1 - 2 * (px[..., 1] - box.top) / box.side], -1)
    turn = np.array([-1, 1, 1], np.float32) if mirror else np.ones(3, np.float32)
    clip = np.asarray(batch.input_camera.project(points * turn))
    np.testing.assert_allclose(clip[..., :2] / clip[..., 3:] * turn[:2], expected, atol=1e-5)
