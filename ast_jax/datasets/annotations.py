"""The files that a user writes beside the own photographs, cameras and key points; and names of objects."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.files.archives import load_json
from render import PerspectiveCamera, from_opencv

OPENCV_KEYS = ("K", "R", "t")
OWN_KEYS = ("rotation", "translation", "focal", "principal")
CSV_COLUMNS = ("image", "name", "x", "y")
# Of key points.
MAX_NAMES = 1000


@dataclass(frozen=True)
class Keypoints:
    """Key points of all pictures.

    Args:
      names: in order.
      points: picture -> x, y in its pixels (upright; the centre of the first pixel is at 0.5, 0.5), and visible.
      path: of the file, for messages.
    """

    names: tuple[str, ...] = ()
    points: dict[str, np.ndarray] = field(default_factory=dict)
    path: Path = Path()

    def of(self, picture: str) -> Float[np.ndarray, "p 3"]:
        """Those of one picture; none visible where it has none.

        Raises:
          ValueError: a number is not finite.
        """
        points = self.points.get(picture, np.zeros((len(self.names), 3), np.float32))
        if not np.isfinite(points).all():
            raise ValueError(f"{self.path}: a key point of {picture} is not finite.")
        return points


def read_cameras(root: Path) -> dict[str, dict] | None:
    """Picture -> its entry in ``cameras.json``; None where there is no such file.

    The file: ``{"cameras": {"a.jpg": {"K": 3x3, "R": 3x3, "t": 3}}}``, OpenCV's numbers in pixels of the whole
    upright picture with the centre of the first pixel at (0.5, 0.5); or ours, ``{"rotation": 3x3, "translation": 3,
    "focal": 2, "principal": 2}`` in NDC of the whole picture. See docs/conventions.md.

    Raises:
      ValueError: not such a file.
    """
    path = root / "cameras.json"
    if not path.is_file():
        return None
    content = load_json(path)
    entries = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ValueError(f'{path}: expected {{"cameras": {{"NAME.jpg": {{"K": .., "R": .., "t": ..}}}}}}.')
    return entries


def make_camera(entry: dict, image_size: tuple[int, int], where: str) -> PerspectiveCamera:
    """The camera of a picture, leading axis [1].

    Args:
      entry: of ``read_cameras``.
      image_size: height and width of the picture, px.
      where: for messages: file and picture.

    Raises:
      ValueError: numbers are missing, of the wrong shape, or no camera.
    """
    if all(key in entry for key in OPENCV_KEYS):
        arrays = [_array(entry, key, shape, where) for key, shape in zip(OPENCV_KEYS, ((3, 3), (3, 3), (3,)))]
        try:
            return from_opencv(*arrays, image_size)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if all(key in entry for key in OWN_KEYS):
        shapes = ((3, 3), (3,), (2,), (2,))
        return PerspectiveCamera(*[_array(entry, key, shape, where) for key, shape in zip(OWN_KEYS, shapes)])
    raise ValueError(f"{where}: needs {', '.join(OPENCV_KEYS)}, or {', '.join(OWN_KEYS)}.")


def _array(entry: dict, key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        array = np.array(entry[key], np.float32).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {key} is not {' x '.join(map(str, shape))} numbers.") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: {key} has a number that is not finite.")
    return array[None]


def read_keypoints(root: Path) -> Keypoints:
    """Key points of ``keypoints.json`` or ``keypoints.csv``; none where there is no such file.

    JSON: ``{"names": ["beak", "left_eye"], "keypoints": {"a.jpg": [[x, y, visible], ..]}}``. CSV: the columns
    ``image,name,x,y`` and, if need be, ``visible``, one row per key point; what has no row is not visible.

    Raises:
      ValueError: not such a file.
    """
    if (root / "keypoints.json").is_file():
        return _from_json(root / "keypoints.json")
    if (root / "keypoints.csv").is_file():
        return _from_csv(root / "keypoints.csv")
    return Keypoints()


def _from_json(path: Path) -> Keypoints:
    content = load_json(path)
    try:
        names = tuple(str(name) for name in content["names"])
        _check_count(len(names))
        points = {key: np.array(rows, np.float32).reshape(len(names), 3) for key, rows in content["keypoints"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f'{path}: expected {{"names": [..], "keypoints": {{"NAME.jpg": [[x, y, visible], ..]}}}} with a row for '
            f"each name ({error})."
        ) from error
    return Keypoints(names, points, path)


def _check_count(count: int) -> None:
    """Each picture has room for all names, so their number counts twice."""
    if count > MAX_NAMES:
        raise ValueError(f"{count} names of key points, at most {MAX_NAMES} can be read")


def _from_csv(path: Path) -> Keypoints:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        names = tuple(dict.fromkeys(row["name"] for row in rows))
        _check_count(len(names))
        points: dict[str, np.ndarray] = {}
        for row in rows:
            place = points.setdefault(row["image"], np.zeros((len(names), 3), np.float32))
            place[names.index(row["name"])] = float(row["x"]), float(row["y"]), float(row.get("visible") or 1)
    except (OSError, KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path}: expected the columns {','.join(CSV_COLUMNS)} ({error}).") from error
    return Keypoints(names, points, path)


def safe_id(text: str) -> str:
    """A path or name as an object id: ``__`` for ``/``, ``_`` for what cannot be in a file's name."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "_" for c in text.replace("/", "__"))
    return name if name[:1].isalnum() else "x" + name
