"""A small data set of random pictures, made without the renderer."""

import numpy as np
import pytest

from ast_jax.data.store import ObjectRecord, save_index, save_object

NAMES = ["beak", "left_wing", "right_wing"]
NUM_VIEWS = 4


def random_record(rng: np.random.Generator, size: int = 16) -> ObjectRecord:
    """Noise in a box of random place and size, cameras near the identity."""
    images = rng.integers(0, 256, (NUM_VIEWS, size, size, 4), dtype=np.uint8)
    images[..., 3] = 0
    for image in images:
        top, left = rng.integers(1, size // 2, 2)
        image[top : top + 6, left : left + 5, 3] = 255
    keypoints = rng.uniform(-0.5, 0.5, (NUM_VIEWS, len(NAMES), 3)).astype(np.float32)
    keypoints[..., 2] = keypoints[..., 2] > 0
    rotation = np.linalg.qr(rng.normal(size=(NUM_VIEWS, 3, 3)))[0]
    return ObjectRecord(
        images=images,
        rotation=(rotation * np.linalg.det(rotation)[:, None, None]).astype(np.float32),
        translation=rng.normal(size=(NUM_VIEWS, 3)).astype(np.float32) + np.float32([0, 0, -5]),
        focal=rng.uniform(1, 2, (NUM_VIEWS, 2)).astype(np.float32),
        principal=rng.uniform(-0.1, 0.1, (NUM_VIEWS, 2)).astype(np.float32),
        occupancy=rng.uniform(size=(32, 32, 32)) > 0.5,
        surface_points=rng.normal(size=(20, 3)).astype(np.float32),
        surface_normals=rng.normal(size=(20, 3)).astype(np.float32),
        keypoints_ndc=keypoints,
        vertices=rng.normal(size=(5, 3)).astype(np.float32),
        faces=np.array([[0, 1, 2], [2, 3, 4]], np.int32),
    )


@pytest.fixture
def record() -> ObjectRecord:
    return random_record(np.random.default_rng(0))


@pytest.fixture(scope="session")
def dataset_root(tmp_path_factory):
    """Five objects to train on, one to test with; do not write into it."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(1)
    ids = [f"object_{i}" for i in range(6)]
    for object_id in ids:
        save_object(root, object_id, random_record(rng))
    save_index(root, {"keypoint_names": NAMES, "splits": {"train": ids[:5], "val": [], "test": ids[5:]}})
    return root
