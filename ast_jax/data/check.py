"""Is a download complete and right? Counts, missing files, and a picture with masks, key points and shapes drawn in."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from ast_jax.data.pipeline import camera_of
from ast_jax.data.records import Collection, check_collection, check_record
from ast_jax.data.store import SPLITS, ObjectRecord

SHEET_NAME = "check.png"
NUM_SAMPLES = 64
_TILE_SIZE = 128
_COLUMNS = 8
_NUM_POINTS = 2000
_MASK_COLOUR, _SHAPE_COLOUR, _KEYPOINT_COLOUR = (230, 30, 150), (0, 160, 220), (255, 170, 0)
# Of the points of a shape, which share has to fall on the mask; less means that axes or cameras are not understood.
_LEAST_INSIDE = 0.95


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
      lines: to print.
      problems: what is wrong; empty if all is well.
      sheet: the contact sheet.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    sheet: UInt8[np.ndarray, "h w 3"] | None


def check_download(collection: Collection, *, num_samples: int = NUM_SAMPLES) -> Report:
    """Count all objects, read an even choice of them, and draw these.

    Args:
      collection: from ``read_dataset``.
      num_samples: how many objects to read.

    Returns:
      The report; problems in it, not raised.
    """
    check_collection(collection)
    problems = list(collection.problems)
    lines = _count(collection, problems)
    chosen = np.unique(np.linspace(0, len(collection.records) - 1, num_samples).round().astype(int))
    tiles, shares = [], []
    for item in [collection.records[k] for k in chosen] if collection.records else []:
        try:
            record = item.load()
            check_record(record, len(collection.keypoint_names))
        except ValueError as error:
            problems.append(f"{item.object_id}: {error}")
            continue
        tile, share = _draw(record, collection.camera)
        tiles.append(tile)
        if share is not None:
            shares.append(share)
            if share < _LEAST_INSIDE:
                problems.append(f"{item.object_id}: only {share:.0%} of the shape falls on the mask.")
    lines.append(f"{len(tiles)} of {len(chosen) if collection.records else 0} sampled objects read well")
    if shares:
        lines.append(f"shapes fall on their masks: {np.mean(shares):.1%} of their points, at worst {min(shares):.1%}")
    return Report(tuple(lines), tuple(problems), _sheet(tiles) if tiles else None)


def save_report(report: Report, folder: str | Path) -> Path | None:
    """Write the contact sheet, if there is one, and tell where."""
    if report.sheet is None:
        return None
    path = Path(folder) / SHEET_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(report.sheet).save(path)
    return path


def _count(collection: Collection, problems: list[str]) -> list[str]:
    """One line for each split, beside the published number."""
    found, lines = Counter(item.split for item in collection.records), []
    for split in SPLITS:
        expected = collection.expected.get(split)
        lines.append(f"{split}: {found[split]} objects" + (f" of {expected}" if expected is not None else ""))
        if expected is not None and found[split] != expected:
            problems.append(f"{split}: {found[split]} objects, published are {expected}.")
    return lines


def _draw(record: ObjectRecord, camera_kind: str) -> tuple[UInt8[np.ndarray, "t t 3"], float | None]:
    """One view with everything drawn in, and the share of the shape that falls on the mask."""
    view = len(record.images) // 12
    picture = Image.fromarray(record.images[view]).resize((_TILE_SIZE, _TILE_SIZE), Image.Resampling.BILINEAR)
    rgba = np.asarray(picture).astype(np.float32)
    # Outside of the mask the picture stays, faintly: a mask that cuts off a wing shows.
    weight = 0.4 + 0.6 * rgba[..., 3:] / 255
    tile = np.round(rgba[..., :3] * weight + 255 * (1 - weight)).astype(np.uint8)
    mask, share, points = rgba[..., 3] > 127, None, _shape_points(record)
    if points is not None and camera_kind != "unknown":
        x, y = _project(record, camera_kind, view, points)
        share = _share_on(mask, x, y)
        _dots(tile, x, y, _SHAPE_COLOUR, 0)
    tile[mask & ~binary_erosion(mask)] = _MASK_COLOUR
    seen = record.keypoints_ndc[view]
    seen = seen[seen[:, 2] > 0.5]
    _dots(tile, *_to_px(seen[:, :2]), _KEYPOINT_COLOUR, 2)
    return tile, share


def _shape_points(record: ObjectRecord) -> Float[np.ndarray, "m 3"] | None:
    """Points of the object, whatever the source has of it."""
    if record.surface_points is not None:
        points = record.surface_points
    elif record.vertices is not None:
        points = record.vertices
    elif record.occupancy is not None:
        side = record.occupancy.shape[0]
        points = (np.argwhere(record.occupancy) + 0.5) / side - 0.5
    else:
        return None
    return points[:: max(len(points) // _NUM_POINTS, 1)].astype(np.float32)


def _project(record: ObjectRecord, kind: str, view: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    camera = camera_of(kind, *(getattr(record, n)[view] for n in ("rotation", "translation", "focal", "principal")))
    clip = np.asarray(camera.project(points))
    return _to_px(clip[:, :2] / clip[:, 3:])


def _to_px(points_ndc: Float[np.ndarray, "m 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a tile, as integers."""
    x, y = (points_ndc[:, 0] + 1) / 2 * _TILE_SIZE, (1 - points_ndc[:, 1]) / 2 * _TILE_SIZE
    return np.floor(x).astype(int), np.floor(y).astype(int)


def _share_on(mask: Bool[np.ndarray, "t t"], x: np.ndarray, y: np.ndarray) -> float:
    """Share of points on the mask, give or take two pixels of the tile; points outside of the picture do not count."""
    inside = (x >= 0) & (x < _TILE_SIZE) & (y >= 0) & (y < _TILE_SIZE)
    grown = binary_dilation(mask, iterations=2)
    return float(grown[y[inside], x[inside]].mean()) if inside.any() else 0.0


def _dots(tile: np.ndarray, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], radius: int) -> None:
    for dx in range(-radius, radius + 1):
        for dy in range(-radius, radius + 1):
            inside = (x + dx >= 0) & (x + dx < _TILE_SIZE) & (y + dy >= 0) & (y + dy < _TILE_SIZE)
            tile[y[inside] + dy, x[inside] + dx] = colour


def _sheet(tiles: list[np.ndarray]) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles row by row."""
    blank = np.full((_TILE_SIZE, _TILE_SIZE, 3), 255, np.uint8)
    tiles = tiles + [blank] * (-len(tiles) % min(_COLUMNS, len(tiles)))
    columns = min(_COLUMNS, len(tiles))
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)
