"""What became of the units of a sweep, as a Markdown table."""

import json
import sys
from pathlib import Path
from typing import Any

from ast_jax.files.writing import write_text
from ast_jax.process.outcome import DONE_FILE
from ast_jax.process.ownership import is_owned
from ast_jax.sweep.local import FAILED_FILE, LOG_FILE
from ast_jax.sweep.units import Unit, read_sweep, short_keys

FILE_NAME = "table.md"


def write_table(workdir: str | Path) -> str:
    """One row per unit: what it overrides, how far it is, its last loss and its metrics; also into ``table.md``.

    Args:
      workdir: of the sweep; its units may be in any state.

    Returns:
      the table, without a newline at the end.

    Raises:
      ValueError: there is no sweep.
    """
    sweep = read_sweep(workdir)
    short = short_keys(unit.overrides for unit in sweep.units)
    metrics = [_metrics(unit.folder) for unit in sweep.units]
    names = list(dict.fromkeys(name for row in metrics for name in row))
    header = ["unit", *short.values(), "status", "loss", *names]
    lines = [header, ["---"] * (len(short) + 2) + ["---:"] * (len(names) + 1)]
    for unit, row in zip(sweep.units, metrics):
        values = [_cell(unit.overrides[key]) if key in unit.overrides else "–" for key in short]
        status, loss = _progress(unit)
        number = unit.folder.name.partition("-")[0]
        lines.append([number, *values, status, _cell(loss), *(_interval(row.get(name)) for name in names)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    write_text(Path(workdir) / FILE_NAME, table + "\n")
    return table


def _progress(unit: Unit) -> tuple[str, Any]:
    """Status and last loss."""
    from ast_jax.training.monitoring.metrics import read_metrics  # NumPy and TensorBoard come along, for this alone

    lines = read_metrics(unit.folder)
    loss = next((line["loss"] for line in reversed(lines) if "loss" in line), None)
    if (unit.folder / DONE_FILE).is_file():
        return "done", loss
    if (unit.folder / FAILED_FILE).is_file():
        return "failed", loss
    has_log = (unit.folder / LOG_FILE).is_file()
    if not (has_log or lines):
        return "not started", loss
    # Without a log another launcher than ours is at work, which leaves no trace of it when it stops.
    state = "running" if is_owned(unit.folder) or not has_log else "stopped"
    return f"{state} at step {lines[-1]['step'] if lines else 0}", loss


def _metrics(folder: Path) -> dict[str, dict[str, float]]:
    """Of the run's own method, which its ``metrics.json`` names beside the baselines."""
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text())
        # In files of before they had this name, the run itself is the last row.
        return rows[rows["ours"]] if "ours" in rows else list(rows.values())[-1]
    except (ValueError, LookupError, AttributeError, TypeError):
        print(f"note: {path} is not whole; launch.evaluate --checkpoint={folder} makes it again.", file=sys.stderr)
        return {}


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval(value: dict[str, float] | None) -> str:
    if value is None:
        return "–"
    return _cell(value["mean"]) + (f" [{_cell(value['low'])}, {_cell(value['high'])}]" if "low" in value else "")
