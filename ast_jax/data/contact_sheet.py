"""One picture that shows a whole data set at a glance."""

from pathlib import Path

import numpy as np
from PIL import Image

from ast_jax.data.store import load_object
from ast_jax.files.writing import replacing

FILE_NAME = "contact.png"
COLUMNS = 16
# Larger sets show an even choice of this many objects.
MAX_OBJECTS = 512
# A little to the side of the front: azimuth 30 to 45 deg shows front, side and top.
VIEW_SHARE = 1 / 12


def save_contact_sheet(root: str | Path, ids: list[str], columns: int = COLUMNS) -> Path:
    """Write ``contact.png``: one view of each object on white, row by row in the order of ``ids``."""
    chosen = [ids[k] for k in np.unique(np.linspace(0, len(ids) - 1, min(len(ids), MAX_OBJECTS)).round().astype(int))]
    tiles = [_on_white(load_object(root, object_id).images) for object_id in chosen]
    columns = min(columns, len(tiles))
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    path = Path(root) / FILE_NAME
    with replacing(path) as partial:
        Image.fromarray(sheet).save(partial, format="PNG")
    return path


def _on_white(images: np.ndarray) -> np.ndarray:
    rgba = images[round(len(images) * VIEW_SHARE) % len(images)].astype(np.float32)
    alpha = rgba[..., 3:] / 255
    return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
