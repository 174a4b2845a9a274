"""A gallery of photographs that a model has never seen, good and bad, as one picture.

    python -m benchmarks.photographs --images=photographs/ --output=docs/images/photographs.png

Of each: the photograph as it is cut out, the mesh from the camera that was found, its outline and the mask's on the
photograph, and the mesh from its left side and from behind. Prints a table of overlaps.
"""

import sys

import numpy as np
from absl import app, flags
from PIL import Image

import ast_jax
from ast_jax.datasets.photo_list import list_photos
from ast_jax.reconstruction import Reconstruction
from render import orbit

_CHECKPOINT = flags.DEFINE_string("checkpoint", "bird", "The model.")
_IMAGES = flags.DEFINE_multi_string("images", None, "Photographs, or folders of them.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "PNG to write.", required=True)
_COLUMNS = flags.DEFINE_integer("columns", 2, "Photographs beside each other.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 144, "Sides of each square, pixels.", lower_bound=16)
_REFINE_STEPS = flags.DEFINE_integer("refine_steps", 0, "Steps of fitting to each photograph.", lower_bound=0)


def row(result: Reconstruction, size: int) -> np.ndarray:
    """Six squares side by side."""
    azimuth = np.radians([90.0, 160.0])
    others = result.draw(orbit(2.732, np.full(2, np.radians(15.0)), azimuth, np.pi / 6))
    squares = [*np.split(result.overlay(), 4, axis=1), *others]
    small = [Image.fromarray(np.ascontiguousarray(s)).resize((size, size), Image.Resampling.LANCZOS) for s in squares]
    return np.concatenate([np.asarray(square) for square in small], axis=1)


def main(argv: list[str]) -> None:
    """Flags in, a picture and a table out."""
    del argv
    model = ast_jax.load(_CHECKPOINT.value)
    photos, problems, _ = list_photos(_IMAGES.value)
    rows, overlaps = [], []
    print("| photograph | overlap with the mask | found by |\n| --- | ---: | --- |")
    for image, mask in photos:
        try:
            result = model.reconstruct(image, mask, refine_steps=_REFINE_STEPS.value)
        except ValueError as error:
            problems.append(str(error))
            continue
        rows.append(row(result, _SIZE.value))
        overlaps.append(result.mask_iou)
        print(f"| {result.name} | {result.mask_iou:.3f} | {result.found_by} |", flush=True)
    if not rows:
        sys.exit("\n".join(problems))
    print(f"| mean of {len(rows)} | {np.mean(overlaps):.3f} | |", *problems, sep="\n")
    columns = _COLUMNS.value
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % columns)
    gap = np.full((_SIZE.value, _SIZE.value // 4, 3), 255, np.uint8)
    lines = [
        np.concatenate([part for r in rows[i : i + columns] for part in (r, gap)], 1)
        for i in range(0, len(rows), columns)
    ]
    Image.fromarray(np.concatenate(lines)).save(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
