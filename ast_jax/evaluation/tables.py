"""Evaluations as tables, Markdown and LaTeX, beside rows of the literature."""

from collections.abc import Mapping, Sequence

from ast_jax.evaluation.metrics import METRICS
from ast_jax.evaluation.published import PublishedRow
from ast_jax.evaluation.results import Evaluation, summarize

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
    **{name: heading for metric in METRICS for name, heading in metric.headings.items()},
    "fid": ("FID ↓", 2),
    "kid": ("KID ↓", 4),
    **{f"frechet_{name}": (f"Fréchet distance, {name} ↓", 2) for name in ("efficientnet_lite0", "alexnet", "vgg16")},
    **{f"kernel_{name}": (f"kernel distance, {name} ↓", 4) for name in ("efficientnet_lite0", "alexnet", "vgg16")},
}
# What a run is told by at first sight; the rest of its two dozen numbers is for those who look for them.
_HEADLINE = (
    "iou_3d",
    "iou_hidden",
    "f_score",
    "mask_iou",
    "mask_iou_soft",
    "mask_iou_seen",
    "mask_iou_unseen",
    "pck_10",
    "psnr",
    "psnr_overlap",
    "camera_error_deg",
)
# Method, number of objects, and what `summarize` gives.
Row = tuple[str, int, Mapping[str, Mapping[str, float]]]


def headline(rows: Mapping[str, Evaluation]) -> tuple[str, ...]:
    """The few metrics of these evaluations that are shown first; all of them where none is among those."""
    present = _present(rows, None)
    return tuple(name for name in present if name in _HEADLINE) or tuple(present)


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
