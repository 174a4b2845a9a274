"""A data set of parametric birds: shapes and plumages without end, from a seed, with nothing to download."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ast_jax.data.store import load_index
from ast_jax.files.writing import make_writable_folder
from ast_jax.process.ownership import owning
from ast_jax.shapes.birds.body import KEYPOINT_NAMES, draw_shape, make_bird
from ast_jax.shapes.birds.plumage import draw_plumage
from ast_jax.shapes.prepare import PictureSettings, prepare_objects
from ast_jax.shapes.source_mesh import SourceMesh

__all__ = ["KEYPOINT_NAMES", "ensure_dataset", "make_objects"]

# The bounding sphere of radius 0.5 then spans seven eighths of a picture taken from distance 2.732.
FOV_DEG = 24.0
# Most birds are for learning: what a small run lacks is variety, and 38 held-out birds from 5 pictures each are
# enough for an interval of +- 0.03 in 3D IoU.
SPLIT_FRACTIONS = (0.88, 0.04, 0.08)


def make_objects(num: int, seed: int) -> Iterator[SourceMesh]:
    """Different birds, the same ones for the same seed; object i does not depend on ``num``.

    Args:
      num: how many, >= 1.
      seed: >= 0.

    Yields:
      Textured meshes named ``bird_00000``, ``bird_00001``, ...

    Raises:
      ValueError: ``num`` is not positive.
    """
    if num < 1:
        raise ValueError(f"num: must be at least 1, is {num}.")
    for index in range(num):
        rng = np.random.default_rng([seed, index])
        yield make_bird(f"bird_{index:05d}", draw_shape(rng), draw_plumage(rng))


def ensure_dataset(
    root: str | Path,
    *,
    num_objects: int = 480,
    image_size: int = 64,
    num_views: int = 8,
    supersample: int = 2,
    view_layout: str = "ring",
    seed: int = 0,
    progress: bool = False,
) -> dict:
    """The index of the birds under ``root``; they are made first if they are not there.

    Args:
      root: folder of the data set.
      num_objects: how many birds, >= 1.
      image_size: pixels per side.
      num_views: cameras around each bird.
      supersample: samples per pixel side.
      view_layout: ``ring``, at equal steps of azimuth, 30 degrees above the horizon; or ``random``, see
        ``prepare_objects``.
      seed: of shapes and plumages, and of random views.
      progress: show a bar.

    Returns:
      The index, as in ``dataset.json``.

    Raises:
      ValueError: the folder holds another data set than the one asked for, or cannot be written to.
    """
    settings = {
        "image_size": image_size,
        "num_views": num_views,
        "supersample": supersample,
        "fov_deg": FOV_DEG,
        "view_layout": view_layout,
        "seed": seed,
    }
    if not (Path(root) / "dataset.json").is_file():
        make_writable_folder(root)
        with owning(root, wait=True):  # units of a sweep start together: one makes the data, the others find it there
            prepare_objects(
                make_objects(num_objects, seed),
                root,
                PictureSettings(**settings),
                category="bird",
                keypoint_names=KEYPOINT_NAMES,
                split_fractions=SPLIT_FRACTIONS,
                on_error="raise",
                progress=progress,
            )
    index = load_index(root)
    found = {"view_layout": "ring", **index, "num_objects": sum(len(ids) for ids in index["splits"].values())}
    wanted = {**settings, "category": "bird", "num_objects": num_objects}
    differing = [f"{name}={found.get(name)!r}" for name in wanted if found.get(name) != wanted[name]]
    if differing:
        raise ValueError(f"{root}: holds another data set ({', '.join(differing)}); choose another folder.")
    return index
