"""How time grows with faces and with pixels, beside the pairs of a pixel and a face whose box holds it."""

from typing import NamedTuple

import numpy as np

from benchmarks.render.cases import CUTOFF, SIGMA, Case, Scene, dense_coverage, silhouettes, spheres, z_buffer
from benchmarks.render.measure import measure

# Pairs of pixels and faces beyond which the dense method is left out: it takes about 150 bytes for each.
DENSE_LIMIT = 2**25
SOFT, HARD, DENSE = "soft silhouette, forward + backward", "z-buffer, forward", "dense silhouette, forward + backward"
SOFT_PAIRS, HARD_PAIRS = "pairs within soft boxes", "pairs within boxes"


class Point(NamedTuple):
    """One scene.

    Attributes:
        x: faces, or pixels along a side of the image.
        seconds: by name of what is timed; the dense method is missing where it would not fit.
        pairs: by name, of a face and a pixel within its box.
        dense_pairs: faces times pixels.
    """

    x: int
    seconds: dict[str, float]
    pairs: dict[str, int]
    dense_pairs: int


def over_faces(quick: bool) -> list[Point]:
    """80 to 81,920 faces on 256 x 256 pixels."""
    return [
        _point(len(scene.faces), scene) for scene in (spheres(1, level, 256) for level in range(1, 4 if quick else 7))
    ]


def over_resolution(level: int, quick: bool) -> list[Point]:
    """64 x 64 to 1024 x 1024 pixels."""
    return [_point(size, spheres(1, level, size)) for size in (64, 128, 256, 512, 1024)[: 3 if quick else 5]]


def exponent(points: list[Point], name: str, against: str | None) -> float:
    """Slope of log(seconds) over log(pairs), by least squares over the scenes beyond the least.

    Args:
        points: scenes.
        name: what is timed.
        against: which pairs; None for faces times pixels.

    Returns:
        1 where the time is proportional to the pairs.
    """
    pairs = [
        point.dense_pairs if against is None else point.pairs[against] for point in points if name in point.seconds
    ]
    seconds = [point.seconds[name] for point in points if name in point.seconds]
    return float(np.polyfit(np.log(pairs), np.log(seconds), 1)[0])


def count_pairs(scene: Scene, radius_px: float) -> int:
    """Pairs of a face and a pixel whose centre lies within the face's box, grown by a radius."""
    clip = np.asarray(scene.camera.project(scene.points), np.float64)
    size = np.array(scene.image_size[::-1])
    pixels = (clip[..., :2] / clip[..., 3:] * [1, -1] + 1) / 2 * size - 0.5
    corners = pixels[:, scene.faces]
    first = np.maximum(np.ceil(corners.min(2) - radius_px), 0)
    last = np.minimum(np.floor(corners.max(2) + radius_px), size - 1)
    return int(np.maximum(last - first + 1, 0).prod(-1).sum())


def _point(x: int, scene: Scene) -> Point:
    _, soft = silhouettes(scene)
    cases: dict[str, Case] = {SOFT: soft, HARD: z_buffer(scene)}
    dense_pairs = len(scene.points) * len(scene.faces) * int(np.prod(scene.image_size))
    if dense_pairs <= DENSE_LIMIT:
        cases[DENSE] = silhouettes(scene, dense_coverage)[1]
    radius = np.sqrt(SIGMA * np.log(1 / CUTOFF - 1)) * 0.5 * min(scene.image_size)
    pairs = {SOFT_PAIRS: count_pairs(scene, radius), HARD_PAIRS: count_pairs(scene, 0.0)}
    return Point(x, {name: measure(case).wall for name, case in cases.items()}, pairs, dense_pairs)
