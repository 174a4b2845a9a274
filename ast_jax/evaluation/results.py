"""Means over objects with their uncertainty, and the tables that papers print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from ast_jax.evaluation.published import PublishedRow

# name -> heading, digits after the point; the arrow says which way is better.
COLUMNS = {
    "iou_3d": ("3D IoU ↑", 3),
    "iou_front": ("3D IoU, front half ↑", 3),
    "iou_hidden": ("3D IoU, hidden half ↑", 3),
    "iou_nmr": ("3D IoU, 32³ of NMR ↑", 4),
    "iou_points": ("point IoU ↑", 3),
    "chamfer_l1": ("Chamfer-L1 ↓", 4),
    "chamfer_l1_icp": ("Chamfer-L1 after ICP ↓", 4),
    "chamfer_l2": ("Chamfer-L2 ↓", 5),
    "normal_consistency": ("normal consistency ↑", 3),
    "f_score": ("F-score ↑", 3),  # at 2 %
    "f_score_hidden": ("F-score, unseen surface ↑", 3),
    **{f"f_score_{percent:02d}": (f"F-score, {percent} % ↑", 3) for percent in (1, 3, 4, 5)},
    "mask_iou": ("mask IoU ↑", 3),
    "mask_iou_soft": ("mask IoU, soft ↑", 3),
    "mask_iou_seen": ("mask IoU, input view ↑", 3),
    "mask_iou_unseen": ("mask IoU, other views ↑", 3),
    "pck_05": ("PCK@0.05 ↑", 3),
    "pck_10": ("PCK@0.10 ↑", 3),
    "pck_15": ("PCK@0.15 ↑", 3),
    "psnr": ("PSNR ↑", 2),
    "ssim": ("SSIM ↑", 3),
    "psnr_unseen": ("PSNR, other views ↑", 2),
    "psnr_overlap": ("PSNR, other views, where both cover ↑", 2),
    "ssim_unseen": ("SSIM, other views ↑", 3),
    "lpips": ("LPIPS ↓", 3),
    "camera_error_deg": ("camera error, deg ↓", 1),
    "camera_error_aligned_deg": ("camera error, own axes, deg ↓", 1),
    "azimuth_distance_deg": ("azimuths, deg apart ↓", 1),
    "elevation_distance_deg": ("elevations, deg apart ↓", 1),
    "fid": ("FID ↓", 2),
    "kid": ("KID ↓", 4),
    **{f"frechet_{name}": (f"Fréchet distance, {name} ↓", 2) for name in ("efficientnet_lite0", "alexnet", "vgg16")},
    **{f"kernel_{name}": (f"kernel distance, {name} ↓", 4) for name in ("efficientnet_lite0", "alexnet", "vgg16")},
}
# Method, number of objects, and what `summarize` gives.
Row = tuple[str, int, Mapping[str, Mapping[str, float]]]
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


def format_table(
    rows: Mapping[str, Evaluation], columns: tuple[str, ...] | None = None, published: tuple[PublishedRow, ...] = ()
) -> str:
    """A Markdown table: one row per method, mean and 95 % interval over objects.

    Args:
      rows: name of the method -> its evaluation; a metric that one of them lacks is shown as a dash.
      columns: which metrics, in their order; None: all of ``COLUMNS`` that are there.
      published: rows of the literature to put below, with their sources; they have no intervals.

    Returns:
      the table, without a newline at the end.
    """
    return format_table_rows(_summaries(rows), _present(rows, columns), published)


def format_table_rows(rows: Sequence[Row], columns: Sequence[str], published: tuple[PublishedRow, ...] = ()) -> str:
    """`format_table` of what `summarize` gave before.

    Args:
      rows: method, number of objects, metric -> ``mean`` and perhaps ``low`` and ``high``.
      columns: which metrics, in their order.
      published: as for `format_table`.
    """
    header = ["method", "objects", *(COLUMNS[name][0] for name in columns)]
    lines = [header + ["source"] * bool(published), ["---", *["---:"] * (len(header) - 1), *["---"] * bool(published)]]
    for method, count, summary in rows:
        cells = [_cell(summary[name], COLUMNS[name][1]) if name in summary else "–" for name in columns]
        lines.append([method, str(count), *cells, *["this run"] * bool(published)])
    for row in published:
        cells = [f"{row.values[name]:.{COLUMNS[name][1]}f}" if name in row.values else "–" for name in columns]
        lines.append([row.method, "", *cells, row.source])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_latex(
    rows: Mapping[str, Evaluation], columns: tuple[str, ...] | None = None, published: tuple[PublishedRow, ...] = ()
) -> str:
    """The same rows for a LaTeX tabular: published ones first, sources as comments, intervals in small print.

    Args:
      rows: as for `format_table`.
      columns: as for `format_table`.
      published: as for `format_table`.

    Returns:
      Lines ``method & value & ... \\\\``, the header among them.
    """
    return format_latex_rows(_summaries(rows), _present(rows, columns), published)


def format_latex_rows(rows: Sequence[Row], columns: Sequence[str], published: tuple[PublishedRow, ...] = ()) -> str:
    """`format_latex` of what `summarize` gave before; arguments as for `format_table_rows`."""
    arrows = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "³": "$^3$"}
    headings = [COLUMNS[name][0].replace("%", r"\%") for name in columns]
    lines = [" & ".join(["Method", *headings]) + r" \\ \midrule"]
    for row in published:
        cells = [f"{row.values[name]:.{COLUMNS[name][1]}f}" if name in row.values else "--" for name in columns]
        lines.append(" & ".join([_escape(row.method), *cells]) + rf" \\ % {row.source}")
    for method, _, summary in rows:
        cells = [_latex_cell(summary[name], COLUMNS[name][1]) if name in summary else "--" for name in columns]
        lines.append(" & ".join([_escape(method), *cells]) + r" \\")
    text = "\n".join(lines)
    for symbol, command in arrows.items():
        text = text.replace(symbol, command)
    return text


def _summaries(rows: Mapping[str, Evaluation]) -> list[Row]:
    return [(method, len(row.object_ids), summarize(row)) for method, row in rows.items()]


def _present(rows: Mapping[str, Evaluation], columns: tuple[str, ...] | None) -> list[str]:
    wanted = COLUMNS if columns is None else columns
    return [name for name in wanted if any(name in row.metrics or name in row.totals for row in rows.values())]


def _cell(value: dict[str, float], digits: int) -> str:
    interval = f" [{value['low']:.{digits}f}, {value['high']:.{digits}f}]" if "low" in value else ""
    return f"{value['mean']:.{digits}f}{interval}"


def _latex_cell(value: dict[str, float], digits: int) -> str:
    if "low" not in value:
        return f"{value['mean']:.{digits}f}"
    return rf"{value['mean']:.{digits}f} {{\scriptsize [{value['low']:.{digits}f}, {value['high']:.{digits}f}]}}"


def _escape(text: str) -> str:
    return "".join("\\" + letter if letter in "&%$#_{}" else letter for letter in text)
