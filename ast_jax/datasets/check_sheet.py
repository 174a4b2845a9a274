"""The contact sheet of a check: pictures with masks, key points and shapes drawn in, and how well they agree."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from ast_jax.data.pipeline import camera_of
from ast_jax.data.store import ObjectRecord

TILE_SIZE = 128
_COLUMNS = 8
_NUM_POINTS = 2000
_MASK_COLOUR, _SHAPE_COLOUR, _KEYPOINT_COLOUR = (230, 30, 150), (0, 160, 220), (255, 170, 0)


@dataclass(frozen=True)
class Tile:
    """One view with everything drawn in.

    Args:
      picture: RGB.
      share: of the points of the shape, how many fall on the mask; None where there is no shape.
      error: mean distance of the mean key points, seen by the camera, from the visible ones, as a fraction of the
        square's side; None where there is no mean shape or no camera.
    """

    picture: UInt8[np.ndarray, "t t 3"]
    share: float | None
    error: float | None


def draw_tile(record: ObjectRecord, camera_kind: str, mean_keypoints: Float[np.ndarray, "p 3"] | None) -> Tile:
    """One view of an object with its mask, its shape, and its key points beside those of the mean shape.

    Args:
      record: of the object.
      camera_kind: one of ``store.CAMERAS``.
      mean_keypoints: in the world of the cameras, or None.
    """
    view = len(record.images) // 12
    picture = Image.fromarray(record.images[view]).resize((TILE_SIZE, TILE_SIZE), Image.Resampling.BILINEAR)
    rgba = np.asarray(picture).astype(np.float32)
    # Outside of the mask the picture stays, faintly: a mask that cuts off a wing shows.
    weight = 0.4 + 0.6 * rgba[..., 3:] / 255
    tile = np.round(rgba[..., :3] * weight + 255 * (1 - weight)).astype(np.uint8)
    mask, share, error, points = rgba[..., 3] > 127, None, None, _shape_points(record)
    if points is not None and camera_kind != "unknown":
        x, y = np.floor(_project(record, camera_kind, view, points)).astype(int).T
        share = _share_on(mask, x, y)
        _dots(tile, x, y, _SHAPE_COLOUR, 0)
    tile[mask & ~binary_erosion(mask)] = _MASK_COLOUR
    seen = record.keypoints_ndc[view, :, 2] > 0.5
    places = _to_px(record.keypoints_ndc[view, :, :2])
    _dots(tile, *np.floor(places[seen]).astype(int).T, _KEYPOINT_COLOUR, 2)
    if mean_keypoints is not None and camera_kind != "unknown" and seen.any():
        expected = _project(record, camera_kind, view, mean_keypoints.astype(np.float32))
        error = float(np.linalg.norm((expected - places)[seen], axis=1).mean() / TILE_SIZE)
        tile = _crosses(tile, expected, places, seen)
    return Tile(tile, share, error)


def join_tiles(tiles: list[Tile]) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles row by row."""
    columns = min(_COLUMNS, len(tiles))
    blank = np.full((TILE_SIZE, TILE_SIZE, 3), 255, np.uint8)
    pictures = [tile.picture for tile in tiles] + [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, len(pictures), columns)]
    return np.concatenate(rows)


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


def _project(record: ObjectRecord, kind: str, view: int, points: np.ndarray) -> Float[np.ndarray, "m 2"]:
    """Where the camera of a view sees points, in pixels of the tile."""
    camera = camera_of(kind, *(getattr(record, n)[view] for n in ("rotation", "translation", "focal", "principal")))
    clip = np.asarray(camera.project(points))
    return _to_px(clip[:, :2] / clip[:, 3:])


def _to_px(points_ndc: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m 2"]:
    """Distances from the upper left corner of the tile."""
    return np.stack([points_ndc[:, 0] + 1, 1 - points_ndc[:, 1]], axis=1) / 2 * TILE_SIZE


def _share_on(mask: Bool[np.ndarray, "t t"], x: np.ndarray, y: np.ndarray) -> float:
    """Share of points on the mask, give or take two pixels of the tile; points outside of the picture do not count."""
    inside = (x >= 0) & (x < TILE_SIZE) & (y >= 0) & (y < TILE_SIZE)
    grown = binary_dilation(mask, iterations=2)
    return float(grown[y[inside], x[inside]].mean()) if inside.any() else 0.0


def _dots(tile: np.ndarray, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], radius: int) -> None:
    for dx in range(-radius, radius + 1):
        for dy in range(-radius, radius + 1):
            inside = (x + dx >= 0) & (x + dx < TILE_SIZE) & (y + dy >= 0) & (y + dy < TILE_SIZE)
            tile[y[inside] + dy, x[inside] + dx] = colour


def _crosses(tile: np.ndarray, expected: np.ndarray, places: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A cross at every key point of the mean shape, and a line from it to the key point where that is visible."""
    picture = Image.fromarray(tile)
    draw = ImageDraw.Draw(picture)
    for (x, y), place, visible in zip(expected.tolist(), places.tolist(), seen):
        if visible:
            draw.line([(x, y), tuple(place)], fill=_KEYPOINT_COLOUR)
        draw.line([(x - 3, y - 3), (x + 3, y + 3)], fill=_SHAPE_COLOUR)
        draw.line([(x - 3, y + 3), (x + 3, y - 3)], fill=_SHAPE_COLOUR)
    return np.array(picture)
