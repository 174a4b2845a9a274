"""Grey discs, two views each: what a reader of a data set has to give."""

import numpy as np

from ast_jax.data.records import Collection, LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord
from ast_jax.datasets import ReadOptions

SIZE, VIEWS = 16, 2


def read(options: ReadOptions) -> Collection:
    """One object for each line of the file ``discs.txt``: its name, its split and its radius, NDC."""
    lines = (options.source / "discs.txt").read_text().splitlines()
    records = []
    for name, split, radius in map(str.split, lines):
        assert split in SPLITS
        records.append(LazyRecord(name, split, lambda radius=float(radius): draw(radius)))
    return Collection("disc", "perspective", tuple(records))


def draw(radius: float) -> ObjectRecord:
    """The views of one object, from one place."""
    axis = (2 * np.arange(SIZE) + 1) / SIZE - 1
    images = np.full((VIEWS, SIZE, SIZE, 4), 128, np.uint8)
    images[..., 3] = 255 * (np.hypot(*np.meshgrid(axis, axis)) < radius)
    one = np.ones((VIEWS, 1), np.float32)
    return ObjectRecord(
        images,
        rotation=one[..., None] * np.eye(3, dtype=np.float32),
        translation=one * np.float32([0, 0, -2.732]),
        focal=one * np.float32([3.7, 3.7]),
        principal=np.zeros((VIEWS, 2), np.float32),
        keypoints_ndc=np.zeros((VIEWS, 0, 3), np.float32),
    )
