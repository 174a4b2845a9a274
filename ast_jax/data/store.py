"""The data set on disk: one ``dataset.json``, one ``objects/<id>.npz`` per object, one ``manifest.jsonl``.

Nothing is ever unpickled: the arrays are plain, the index is JSON.
"""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

FORMAT_NAME = "ast-jax-dataset"
FORMAT_VERSION = 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ObjectRecord:
    """Everything known of one object, ``n`` rendered views and its 3D truth.

    Args:
      images: uint8 ``[n, h, w, 4]`` RGBA, colour not multiplied by alpha, alpha is the mask.
      rotation: float32 ``[n, 3, 3]``, world to view, ``x_view = R x_world + t``.
      translation: float32 ``[n, 3]``.
      focal: float32 ``[n, 2]``, ``x_ndc = focal_x * x_view / depth + principal_x``.
      principal: float32 ``[n, 2]``, NDC.
      occupancy: bool ``[32, 32, 32]`` indexed x, y, z over the cube [-0.5, 0.5]^3, solid inside.
      surface_points: float32 ``[m, 3]``, uniform on the outer surface.
      surface_normals: float32 ``[m, 3]``, unit length.
      keypoints_ndc: float32 ``[n, p, 3]``: x, y in NDC and visible (0 or 1); p may be 0.
      vertices, faces: the normalised mesh itself, float32 ``[v, 3]`` and int32 ``[f, 3]``.
    """

    images: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray
    occupancy: np.ndarray
    surface_points: np.ndarray
    surface_normals: np.ndarray
    keypoints_ndc: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray


def object_path(root: str | Path, object_id: str) -> Path:
    """Where the arrays of one object lie."""
    return Path(root) / "objects" / f"{object_id}.npz"


def save_object(root: str | Path, object_id: str, record: ObjectRecord) -> None:
    """Write one object; a crash in the middle leaves no half-written file behind."""
    path = object_path(root, object_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f.name: getattr(record, f.name) for f in fields(record)}
    arrays["occupancy"] = np.packbits(record.occupancy)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    os.replace(partial, path)


def load_object(root: str | Path, object_id: str) -> ObjectRecord:
    """Read one object.

    Raises:
      ValueError: the file is missing, truncated or not of this format; the message names it.
    """
    path = object_path(root, object_id)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {f.name: file[f.name] for f in fields(ObjectRecord)}
    except Exception as error:  # flipped bytes can raise anything: zlib, zip, the header's parser
        raise ValueError(f"{path}: not a readable object of this data set ({error}); prepare it again.") from error
    bits = np.unpackbits(arrays["occupancy"])
    side = round(len(bits) ** (1 / 3))
    arrays["occupancy"] = bits.reshape(side, side, side).astype(bool)
    return ObjectRecord(**arrays)


def save_index(root: str | Path, index: dict) -> None:
    """Write ``dataset.json``: category, image size, number of views, key-point names, splits (id lists)."""
    path = Path(root) / "dataset.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"format": FORMAT_NAME, "version": FORMAT_VERSION, **index}, indent=1) + "\n")
    os.replace(partial, path)


def load_index(root: str | Path) -> dict:
    """Read ``dataset.json``.

    Raises:
      ValueError: there is none, or it is not this format; the message says how to make one.
    """
    path = Path(root) / "dataset.json"
    if not path.is_file():
        raise ValueError(f"{root}: no dataset.json there. Make the data set with python -m launch.prepare_data.")
    try:
        index = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}).") from error
    if index.get("format") != FORMAT_NAME or index.get("version") != FORMAT_VERSION:
        raise ValueError(f"{path}: expected format {FORMAT_NAME!r} version {FORMAT_VERSION}.")
    return index
