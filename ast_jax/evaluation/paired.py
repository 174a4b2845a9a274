"""Differences between two methods on the same objects: what a comparison of two intervals hides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_NUM_RESAMPLES = 4000


@dataclass(frozen=True)
class PairedDifference:
    """Mean of ours minus theirs, its 95 % interval, and for how many objects ours is larger."""

    mean: float
    low: float
    high: float
    larger: int
    objects: int


def paired_difference(
    ours: Sequence[Float[np.ndarray, " _"]],
    theirs: Sequence[Float[np.ndarray, " _"]],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Bootstrap over objects and, where there are several, over seeds.

    Objects are drawn with replacement, the same ones for both methods; runs of each method are drawn likewise and
    apart, since seed 0 of one has nothing in common with seed 0 of the other.

    Args:
      ours: values of the objects, an array per run (seed).
      theirs: of the same objects in the same order.
      level: probability that the interval holds the mean.
      seed: of the resampling.

    Returns:
      the difference. Objects with a value that is not finite in some run are left out of it.

    Raises:
      ValueError: no run, or not the same number of objects everywhere.

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 8.
    """
    counts = {len(values) for values in (*ours, *theirs)}
    if not ours or not theirs or len(counts) != 1 or not min(counts):
        raise ValueError(f"paired_difference: runs of {sorted(counts)} objects; both need runs of the same objects.")
    a, b = np.stack(ours).astype(np.float64), np.stack(theirs).astype(np.float64)
    known = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    a, b = a[:, known], b[:, known]
    if not known.any():
        raise ValueError("paired_difference: no object has a finite value in every run.")
    rng, count = np.random.default_rng(seed), a.shape[1]
    means = np.empty(_NUM_RESAMPLES)
    for i in range(_NUM_RESAMPLES):
        objects = rng.integers(count, size=count)
        first, second = (x[rng.integers(len(x), size=len(x))].mean(axis=0) for x in (a, b))
        means[i] = (first - second)[objects].mean()
    difference = a.mean(axis=0) - b.mean(axis=0)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return PairedDifference(float(difference.mean()), float(low), float(high), int((difference > 0).sum()), count)
