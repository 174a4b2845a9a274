"""How time grows with faces, with pixels and with images, beside the pairs of a pixel and a face whose box holds it."""

from typing import NamedTuple

import numpy as np
import scipy.optimize

from benchmarks.render.cases import CUTOFF, SIGMA, Case, Scene, dense_coverage, silhouettes, spheres, z_buffer
from benchmarks.render.measure import measure

# Pairs of pixels and faces beyond which the dense method is left out: it takes about 150 bytes for each.
DENSE_LIMIT = 2**25
SOFT, HARD, DENSE = "soft silhouette, forward + backward", "z-buffer, forward", "dense silhouette, forward + backward"
SOFT_PAIRS, HARD_PAIRS = "pairs within soft boxes", "pairs within boxes"


class Point(NamedTuple):
    """One scene.

    Attributes:
        faces: of the mesh.
        pixels: of the image.
        seconds: by name of what is timed; the dense method is missing where it would not fit.
        pairs: by name, of a face and a pixel within its box.
    """

    faces: int
    pixels: int
    seconds: dict[str, float]
    pairs: dict[str, int]

    @property
    def dense_pairs(self) -> int:
        """Faces times pixels."""
        return self.faces * self.pixels


def over_faces(quick: bool) -> list[Point]:
    """80 to 81,920 faces on 256 x 256 pixels."""
    return [_point(spheres(1, level, 256)) for level in range(1, 4 if quick else 7)]


def over_resolution(level: int, quick: bool) -> list[Point]:
    """64 x 64 to 1024 x 1024 pixels."""
    return [_point(spheres(1, level, size)) for size in (64, 128, 256, 512, 1024)[: 3 if quick else 5]]


def over_batch(quick: bool) -> dict[int, dict[str, float]]:
    """Seconds of each image by their number, of 64 x 64 pixels and 1,280 faces, and by name of what is timed."""
    seconds = {}
    for batch in (1, 4) if quick else (1, 8, 32, 192):
        scene = spheres(batch, 3, 64)
        cases = {SOFT: silhouettes(scene)[1], HARD: z_buffer(scene)}
        seconds[batch] = {name: measure(case).wall / batch for name, case in cases.items()}
    return seconds


def exponent(points: list[Point], name: str, pairs: str) -> float:
    """Slope of log(seconds) over log(pairs) by least squares: 1 where the time is proportional to the pairs.

    Args:
        points: scenes.
        name: what is timed.
        pairs: which pairs.
    """
    counts, seconds = [point.pairs[pairs] for point in points], [point.seconds[name] for point in points]
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def costs(points: list[Point], name: str, pairs: str) -> dict[str, float]:
    """Seconds for each call, face, pixel and pair: the sum that fits the times best, relative to them.

    Args:
        points: scenes.
        name: what is timed.
        pairs: which pairs.

    Returns:
        Seconds by "call", "face", "pixel", "pair", none negative.
    """
    seconds = np.array([point.seconds[name] for point in points])
    counts = np.array([[1, point.faces, point.pixels, point.pairs[pairs]] for point in points], np.float64)
    solution, _ = scipy.optimize.nnls(counts / seconds[:, None], np.ones(len(points)))
    return dict(zip(("call", "face", "pixel", "pair"), solution.tolist()))


def count_pairs(scene: Scene, radius_px: float) -> int:
    """Pairs of a face and a pixel whose centre lies within the face's box, grown by a radius."""
    clip = np.asarray(scene.camera.project(scene.points), np.float64)
    size = np.array(scene.image_size[::-1])
    pixels = (clip[..., :2] / clip[..., 3:] * [1, -1] + 1) / 2 * size - 0.5
    corners = pixels[:, scene.faces]
    first = np.maximum(np.ceil(corners.min(2) - radius_px), 0)
    last = np.minimum(np.floor(corners.max(2) + radius_px), size - 1)
    return int(np.maximum(last - first + 1, 0).prod(-1).sum())


def _point(scene: Scene) -> Point:
    cases: dict[str, Case] = {SOFT: silhouettes(scene)[1], HARD: z_buffer(scene)}
    faces, pixels = len(scene.faces), int(np.prod(scene.image_size))
    if faces * pixels <= DENSE_LIMIT:
        cases[DENSE] = silhouettes(scene, dense_coverage)[1]
    radius = np.sqrt(SIGMA * np.log(1 / CUTOFF - 1)) * 0.5 * min(scene.image_size)
    pairs = {SOFT_PAIRS: count_pairs(scene, radius), HARD_PAIRS: count_pairs(scene, 0.0)}
    return Point(faces, pixels, {name: measure(case).wall for name, case in cases.items()}, pairs)
