"""Means over objects with their uncertainty, and the tables that papers print."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

_NUM_RESAMPLES = 2000
# Resamples weighed at once: bounds the memory for ten thousand pairs of pictures.
_RESAMPLES_AT_ONCE = 200


@dataclass(frozen=True)
class Evaluation:
    """What was measured, entry by entry; an entry is an object, or a pair of objects.

    The mean of a metric is ``sum_n w_n v_n / sum_n w_n``; with key points, ``[n, p]``, the mean of that over the
    key points that have any weight.

    Args:
      object_ids: the objects.
      metrics: name -> values of the entries, ``[n]`` or ``[n, p]``.
      weights: name -> weights of the entries, of the same shape; one where a name is missing.
      units: name -> the objects that each entry depends on, ``[n, k]``; entry i is object i where it is missing.
      totals: name -> what only the whole set has, without an interval, such as the FID.
      details: name -> anything else that a reader of ``metrics.json`` may want, ready for JSON.
    """

    object_ids: tuple[str, ...]
    metrics: dict[str, Float[np.ndarray, " n *p"]]
    weights: dict[str, Float[np.ndarray, " n *p"]] = field(default_factory=dict)
    units: dict[str, Int[np.ndarray, "n k"]] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """The mean of a metric; NaN if nothing has any weight."""
        return float(self._means(name, np.ones((1, len(self.metrics[name]))))[0])

    def interval(self, name: str, *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Where the mean would lie with other objects of the same kind.

        Percentiles of the means of samples drawn with replacement from the objects; an entry that depends on
        several objects counts as often as all of them together were drawn.

        Args:
          name: of the metric.
          level: probability that the interval holds the mean.
          seed: the same seed gives the same interval.

        Returns:
          lower and upper end.

        Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
        """
        rng, count, means = np.random.default_rng(seed), len(self.object_ids), []
        units = self.units.get(name)
        for _ in range(_NUM_RESAMPLES // _RESAMPLES_AT_ONCE):
            drawn = rng.integers(count, size=(_RESAMPLES_AT_ONCE, count))
            times = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)
            means.append(self._means(name, times if units is None else times[:, units].prod(axis=2)))
        tail = 50.0 * (1.0 - level)
        low, high = np.nanpercentile(np.concatenate(means), [tail, 100.0 - tail])
        return float(low), float(high)

    def _means(self, name: str, times: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """Means of samples that hold each entry so many times."""
        values = np.asarray(self.metrics[name], np.float64)
        weights = np.asarray(self.weights.get(name, np.ones_like(values)), np.float64)
        # What has no weight may be anything, NaN too.
        products = np.where(weights > 0, weights * values, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (times @ products) / (times @ weights)
        if ratios.ndim == 1:
            return ratios
        known = np.isfinite(ratios)
        counts = known.sum(axis=1)
        return np.where(counts > 0, np.where(known, ratios, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def bootstrap_interval(values: Float[np.ndarray, " n"], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """`Evaluation.interval` of one value per object."""
    ids = tuple(map(str, range(len(values))))
    return Evaluation(ids, {"values": np.asarray(values)}).interval("values", level=level, seed=seed)


def summarize(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval over objects of each metric, ready for JSON.

    Args:
      evaluation: of at least one object.

    Returns:
      metric -> ``mean``, ``low``, ``high``; numbers of the whole set have only a ``mean``.
    """
    summary = {name: {"mean": value} for name, value in evaluation.totals.items()}
    for name in evaluation.metrics:
        low, high = evaluation.interval(name)
        summary[name] = {"mean": evaluation.mean(name), "low": low, "high": high}
    return summary
