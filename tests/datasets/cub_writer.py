"""Writes small archives like CUB's and CMR's: a rigid bird in photographs, drawn by numpy alone.

Poses, masks, boxes and key points are those of one weak-perspective camera per photograph:
``x = scale (R X)_xy + shift``, x right, y down, in distances from the upper left corner of the photograph.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.io import savemat

# x to the bird's left, y up, z to the front; one of each pair, the order of CUB's parts.txt.
_HALF = {
    "back": (0, 0.25, -0.1),
    "beak": (0, 0.35, 0.95),
    "belly": (0, -0.3, 0.0),
    "breast": (0, -0.1, 0.45),
    "crown": (0, 0.6, 0.65),
    "forehead": (0, 0.5, 0.8),
    "left eye": (0.12, 0.45, 0.75),
    "left leg": (0.12, -0.5, -0.05),
    "left wing": (0.3, 0.05, -0.1),
    "nape": (0, 0.5, 0.45),
    "right eye": (-0.12, 0.45, 0.75),
    "right leg": (-0.12, -0.5, -0.05),
    "right wing": (-0.3, 0.05, -0.1),
    "tail": (0, -0.05, -1.0),
    "throat": (0, 0.15, 0.7),
}
PART_NAMES = tuple(_HALF)
_RAW = np.array(list(_HALF.values()))
_SIZE = np.linalg.norm(_RAW[:, None] - _RAW, axis=-1).max()
_PITCH = np.arctan2(*(_HALF["beak"][axis] - _HALF["tail"][axis] for axis in (1, 2)))
_LEVEL = np.array([[1, 0, 0], [0, np.cos(_PITCH), -np.sin(_PITCH)], [0, np.sin(_PITCH), np.cos(_PITCH)]])


def _canonical(points: np.ndarray) -> np.ndarray:
    """Key points centred, the beak as high as the tail, size 2: as structure from motion gives them."""
    return (points - _RAW.mean(0)) @ _LEVEL.T * 2 / _SIZE


KEYPOINTS = _canonical(_RAW)


def bird_mesh() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (in the axes and the size of KEYPOINTS) and faces: body, head, tail, and a wing on the left alone."""
    blobs = [
        ((0, 0, 0), (0.28, 0.32, 0.55)),
        ((0, 0.42, 0.65), (0.16, 0.2, 0.2)),
        ((0, 0.0, -0.75), (0.12, 0.05, 0.4)),
        ((0.45, 0.05, -0.1), (0.35, 0.04, 0.2)),
    ]
    vertices, faces = [], []
    for k, (centre, size) in enumerate(blobs):
        sphere = trimesh.creation.icosphere(subdivisions=2)
        vertices.append(sphere.vertices * size + centre)
        faces.append(sphere.faces + k * len(sphere.vertices))
    return _canonical(np.concatenate(vertices)), np.concatenate(faces)


def draw_mask(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose centre lies in a triangle; corners ``[f, 3, 2]`` in distances from the upper left corner."""
    mask = np.zeros((height, width), bool)
    for triangle in corners:
        low = np.maximum(np.floor(triangle.min(0)).astype(int), 0)
        high = np.ceil(triangle.max(0)).astype(int) + 1
        rows, columns = np.mgrid[low[1] : min(high[1], height), low[0] : min(high[0], width)] + 0.5
        sides = []
        for a, b in ((0, 1), (1, 2), (2, 0)):
            (ax, ay), (bx, by) = triangle[a], triangle[b]
            sides.append((bx - ax) * (rows - ay) - (by - ay) * (columns - ax))
        inside = np.all(np.array(sides) >= 0, axis=0) | np.all(np.array(sides) <= 0, axis=0)
        mask[low[1] : min(high[1], height), low[0] : min(high[0], width)] |= inside
    return mask


@dataclass
class Photo:
    """One photograph; key points in distances from the upper left corner, box as first and last pixel from 0."""

    name: str
    rgb: np.ndarray
    mask: np.ndarray
    scale: float
    shift: np.ndarray
    rotation: np.ndarray
    xy: np.ndarray
    visible: np.ndarray
    box: np.ndarray


def make_photos(count: int, *, size: tuple[int, int] = (360, 450), scale: float = 140.0, seed: int = 0) -> list[Photo]:
    """Birds seen from all sides, more or less upright."""
    rng = np.random.default_rng(seed)
    vertices, faces = bird_mesh()
    return [_photo(f"001.Bird/Bird_{k:04d}.jpg", vertices, faces, size, scale, rng) for k in range(count)]


def _photo(name, vertices, faces, size, scale, rng) -> Photo:
    height, width = size
    turn, tilt, roll = rng.uniform(-np.pi, np.pi), *rng.normal(0, 0.3, 2)
    c, s = np.cos([turn, tilt, roll]), np.sin([turn, tilt, roll])
    about_y = np.array([[c[0], 0, s[0]], [0, 1, 0], [-s[0], 0, c[0]]])
    about_x = np.array([[1, 0, 0], [0, c[1], -s[1]], [0, s[1], c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    rotation = np.diag([1, -1, -1]) @ about_z @ about_x @ about_y
    scale = scale * rng.uniform(0.8, 1.1)
    shift = np.array([width, height]) / 2 + rng.uniform(-8, 8, 2)
    place = scale * (vertices @ rotation[:2].T) + shift
    mask = draw_mask(place[faces], height, width)
    rgb = rng.integers(0, 120, (height, width, 3)).astype(np.uint8)
    rgb[mask] = rgb[mask] // 2 + 130
    xy = scale * (KEYPOINTS @ rotation[:2].T) + shift
    visible = rng.permutation(len(xy)) >= 4
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    return Photo(name, rgb, mask, scale, shift, rotation, xy, visible, box)


def write_images(folder: Path, photos: list[Photo]) -> None:
    for photo in photos:
        path = folder / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo.rgb).save(path, quality=95)


def structs(rows: list[dict]) -> np.ndarray:
    """A MATLAB struct array."""
    array = np.zeros(len(rows), [(name, object) for name in rows[0]])
    for k, row in enumerate(rows):
        for name, value in row.items():
            array[k][name] = value
    return array


def image_row(photo: Photo, number: int) -> dict:
    """An element of ``images``: pixel numbers begin with 1, as MATLAB has them."""
    x1, y1, x2, y2 = (photo.box + 1).astype(float)
    parts = np.vstack([(photo.xy + 0.5).T, photo.visible]) * photo.visible
    return {
        "id": number,
        "rel_path": photo.name,
        "train": 1,
        "test": 0,
        "bbox": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "width": photo.rgb.shape[1],
        "height": photo.rgb.shape[0],
        "parts": parts,
        "mask": photo.mask.astype(np.uint8),
        "class_id": 1,
    }


# CMR's world: x to the left, y to the back, z up.
TO_CMR_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def camera_row(photo: Photo) -> dict:
    """An element of ``sfm_anno``: pixel numbers begin with 1."""
    return {"scale": photo.scale, "trans": photo.shift + 0.5, "rot": photo.rotation @ TO_CMR_WORLD.T}


def write_cache(images: Path, cameras: Path, photos: list[Photo]) -> None:
    """The two MATLAB files of one split."""
    for path in (images, cameras):
        path.parent.mkdir(parents=True, exist_ok=True)
    savemat(images, {"images": structs([image_row(photo, k + 1) for k, photo in enumerate(photos)])})
    shape = TO_CMR_WORLD @ KEYPOINTS.T
    savemat(cameras, {"sfm_anno": structs([camera_row(photo) for photo in photos]), "S": shape})


def write_official(root: Path, photos: list[Photo], train: list[bool]) -> None:
    """CUB's own text files and segmentations below ``root``; pixel numbers begin with 0."""
    base = root / "CUB_200_2011"
    write_images(base / "images", photos)
    (base / "parts").mkdir()
    numbered = list(enumerate(photos, start=1))
    lines = {
        "images.txt": [f"{k} {photo.name}" for k, photo in numbered],
        "train_test_split.txt": [f"{k} {int(flag)}" for (k, _), flag in zip(numbered, train)],
        "classes.txt": ["1 001.Bird"],
        "image_class_labels.txt": [f"{k} 1" for k, _ in numbered],
        "bounding_boxes.txt": [
            f"{k} {p.box[0]:.1f} {p.box[1]:.1f} {p.box[2] - p.box[0]:.1f} {p.box[3] - p.box[1]:.1f}"
            for k, p in numbered
        ],
        "parts/parts.txt": [f"{k} {name}" for k, name in enumerate(PART_NAMES, start=1)],
        "parts/part_locs.txt": [
            f"{k} {j + 1} {(x - 0.5) * seen:.6f} {(y - 0.5) * seen:.6f} {int(seen)}"
            for k, p in numbered
            for j, ((x, y), seen) in enumerate(zip(p.xy, p.visible))
        ],
    }
    for name, text in lines.items():
        (base / name).write_text("\n".join(text) + "\n")
    for photo in photos:
        path = (root / "segmentations" / photo.name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Four of five annotators agree on the bird, one saw a little more of it.
        grey = np.where(photo.mask, 204, 0).astype(np.uint8)
        grey[:3] = 51
        Image.fromarray(grey).save(path)
