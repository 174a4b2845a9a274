"""The data set on disk: one ``dataset.json``, one ``objects/<id>.npz`` per object, one ``manifest.jsonl``.

Nothing is ever unpickled: the arrays are plain, the index is JSON.
"""

import json
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

from ast_jax.data.record_check import check_arrays
from ast_jax.files.archives import load_json
from ast_jax.files.inside import inside
from ast_jax.files.npz import load_npz
from ast_jax.files.writing import replacing, write_text

FORMAT_NAME = "ast-jax-dataset"
FORMAT_VERSION = 1
SPLITS = ("train", "val", "test")
# What the four camera arrays mean: a pinhole, parallel rays, or nothing (the model has to find the camera itself).
CAMERAS = ("perspective", "orthographic", "unknown")


# Stored as packed bits.
_BITS = {"occupancy", "query_inside"}


@dataclass(frozen=True)
class ObjectRecord:
    """Everything known of one object: ``n`` views, and as much of its 3D truth as the source has.

    A view is a picture in its own frame: cameras and key points are those of the stored square.

    Args:
      images: uint8 ``[n, h, w, 4]`` RGBA, colour not multiplied by alpha, alpha is the mask.
      rotation: float32 ``[n, 3, 3]``, world to view, ``x_view = R x_world + t``.
      translation: float32 ``[n, 3]``.
      focal: float32 ``[n, 2]``: ``x_ndc = focal_x * x_view / depth + principal_x`` of perspective cameras,
        ``x_ndc = focal_x * x_view + principal_x`` of orthographic ones; the index says which, under ``camera``.
      principal: float32 ``[n, 2]``, NDC.
      keypoints_ndc: float32 ``[n, p, 3]``: x, y in NDC and visible (0 or 1); p may be 0.
      occupancy: bool ``[r, r, r]`` indexed x, y, z over the cube [-0.5, 0.5]^3, solid inside; usually r = 32.
      surface_points: float32 ``[m, 3]``, uniform on the outer surface.
      surface_normals: float32 ``[m, 3]``, unit length.
      vertices, faces: the normalised mesh itself, float32 ``[v, 3]`` and int32 ``[f, 3]``.
      query_points, query_inside: float32 ``[m, 3]`` places in the cube, and whether they lie inside the object.
      box_share: float32 ``[n]``, longer side of the annotated bounding box as a fraction of the stored square.
      box: float32 ``[n, 4]``, left, top, right and lower side of the annotated bounding box, as fractions of the stored
        square's side from its upper left corner.
    """

    images: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray
    keypoints_ndc: np.ndarray
    occupancy: np.ndarray | None = None
    surface_points: np.ndarray | None = None
    surface_normals: np.ndarray | None = None
    vertices: np.ndarray | None = None
    faces: np.ndarray | None = None
    query_points: np.ndarray | None = None
    query_inside: np.ndarray | None = None
    box_share: np.ndarray | None = None
    box: np.ndarray | None = None


def object_path(root: str | Path, object_id: str) -> Path:
    """Where the arrays of one object lie; a ValueError where its name would lead out of the folder."""
    folder = Path(root) / "objects"
    path = inside(folder, f"{object_id}.npz")
    if path.parent != folder:
        raise ValueError(f"{folder}: {object_id!r} names no object.")
    return path


def save_object(root: str | Path, object_id: str, record: ObjectRecord) -> None:
    """Write one object; a crash in the middle leaves no half-written file behind."""
    path = object_path(root, object_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f.name: getattr(record, f.name) for f in fields(record)}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    for name in _BITS & set(arrays):
        arrays[name] = np.packbits(arrays[name])
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_object(root: str | Path, object_id: str) -> ObjectRecord:
    """Read one object.

    Raises:
      ValueError: the file is missing, truncated or not of this format; the message names it.
    """
    optional = {f.name for f in fields(ObjectRecord) if f.default is not MISSING}
    arrays = load_arrays(root, object_id, [f.name for f in fields(ObjectRecord)], optional)
    with _named(root, object_id):
        if "occupancy" in arrays:
            bits = np.unpackbits(arrays["occupancy"])
            side = round(len(bits) ** (1 / 3))
            arrays["occupancy"] = bits[: side**3].reshape(side, side, side).astype(bool)
        if "query_inside" in arrays:
            arrays["query_inside"] = np.unpackbits(arrays["query_inside"])[: len(arrays["query_points"])].astype(bool)
        check_arrays(arrays)
    return ObjectRecord(**arrays)


def load_arrays(
    root: str | Path, object_id: str, names: Sequence[str], optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Some arrays of one object as they are stored; the others are not read.

    Args:
      root: folder of the data set.
      object_id: of the object.
      names: fields of `ObjectRecord`.
      optional: those of them that may be missing.

    Raises:
      ValueError: the file is missing, truncated or not of this format; the message names it.
    """
    with _named(root, object_id):
        arrays = load_npz(object_path(root, object_id), names, optional)
        check_arrays(arrays, packed=True)
    return arrays


@contextmanager
def _named(root: str | Path, object_id: str) -> Generator[None]:
    """Errors name the file and say what to do."""
    try:
        yield
    except Exception as error:  # sizes that do not fit raise what numpy likes
        where = f"{Path(root) / 'objects' / f'{object_id}.npz'}"
        reason = str(error).removeprefix(f"{where}: ").rstrip(".") or type(error).__name__
        raise ValueError(f"{where}: not a readable object of this data set ({reason}); prepare it again.") from error


def save_index(root: str | Path, index: dict) -> None:
    """Write ``dataset.json``: category, image size, number of views, key-point names, splits (id lists)."""
    path = Path(root) / "dataset.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"format": FORMAT_NAME, "version": FORMAT_VERSION, **index}, indent=1) + "\n")


def load_index(root: str | Path) -> dict:
    """Read ``dataset.json``.

    Raises:
      ValueError: there is none, or it is not this format; the message says how to make one.
    """
    path = Path(root) / "dataset.json"
    if not path.is_file():
        raise ValueError(f"{root}: no dataset.json there. Make the data set with python -m launch.prepare_data.")
    index = load_json(path)
    if not isinstance(index, dict) or index.get("format") != FORMAT_NAME or index.get("version") != FORMAT_VERSION:
        raise ValueError(f"{path}: expected format {FORMAT_NAME!r} version {FORMAT_VERSION}.")
    splits = index.get("splits", {})
    if not isinstance(splits, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in splits.values()
    ):
        raise ValueError(f"{path}: splits are not lists of names of objects; prepare the data set again.")
    return index
