"""Means over objects with their uncertainty, and the table that papers print."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# name -> heading, digits after the point; the arrow says which way is better.
COLUMNS = {
    "iou_3d": ("3D IoU ↑", 3),
    "chamfer_l1": ("Chamfer-L1 ↓", 4),
    "f_score": ("F-score ↑", 3),
    "mask_iou_seen": ("mask IoU, input view ↑", 3),
    "mask_iou_unseen": ("mask IoU, other views ↑", 3),
    "psnr_unseen": ("PSNR, other views ↑", 2),
}
_NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Evaluation:
    """The metrics of each object, averaged over its input views.

    Args:
      object_ids: the ``n`` objects.
      metrics: name -> one value per object.
    """

    object_ids: tuple[str, ...]
    metrics: dict[str, Float[np.ndarray, "n"]]


def bootstrap_interval(values: Float[np.ndarray, "n"], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Where the mean would lie with other objects of the same kind.

    Percentiles of the means of samples drawn with replacement from the objects.

    Args:
      values: one per object.
      level: probability that the interval holds the mean.
      seed: the same seed gives the same interval.

    Returns:
      lower and upper end.

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
    """
    choice = np.random.default_rng(seed).integers(len(values), size=(_NUM_RESAMPLES, len(values)))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(np.asarray(values)[choice].mean(axis=1), [tail, 100.0 - tail])
    return float(low), float(high)


def summarize(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval over objects of each metric, ready for JSON.

    Args:
      evaluation: of at least one object.

    Returns:
      metric -> ``mean``, ``low``, ``high``.
    """
    summary = {}
    for name, values in evaluation.metrics.items():
        low, high = bootstrap_interval(values)
        summary[name] = {"mean": float(values.mean()), "low": low, "high": high}
    return summary


def format_table(rows: Mapping[str, Evaluation]) -> str:
    """A Markdown table: one row per method, mean and 95 % interval over objects.

    Args:
      rows: name of the method -> its evaluation; a metric that one of them lacks is shown as a dash.

    Returns:
      the table, without a newline at the end.
    """
    present = [name for name in COLUMNS if any(name in row.metrics for row in rows.values())]
    header = ["method", "objects", *(COLUMNS[name][0] for name in present)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for method, row in rows.items():
        summary = summarize(row)
        cells = [_cell(summary[name], COLUMNS[name][1]) if name in summary else "–" for name in present]
        lines.append([method, str(len(row.object_ids)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: dict[str, float], digits: int) -> str:
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
