"""Two methods that were evaluated by one protocol before, object by object."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ast_jax.evaluation.average import read_result
from ast_jax.evaluation.paired import PairedDifference, paired_difference
from ast_jax.evaluation.tables import COLUMNS

# What must be the same for differences to be of the same objects, measured in the same way.
_SHARED = ("protocol", "split", "description", "data_hash")


def compare_runs(
    ours: Sequence[str | Path], theirs: Sequence[str | Path], protocol_name: str
) -> dict[str, PairedDifference]:
    """Paired differences of every metric that has one value per object.

    Args:
      ours: folders of runs of one method that differ by their seed.
      theirs: runs of the other method.
      protocol_name: by which all of them were evaluated.

    Returns:
      metric -> ours minus theirs, in the order of the tables.

    Raises:
      ValueError: a run has no results, or two of them were measured on other objects or in another way.
    """
    if not ours or not theirs:
        raise ValueError("compare: name the runs of both methods, --compare=RUN,RUN --against=RUN,RUN.")
    results = [read_result(Path(run), protocol_name) for run in (*ours, *theirs)]
    for run, result in zip((*ours, *theirs), results):
        if "values" not in result:
            raise ValueError(f"compare: {run} has means alone, from an older version; evaluate it again.")
        for name in _SHARED:
            found, expected = result["what"].get(name), results[0]["what"].get(name)
            if found != expected:
                raise ValueError(f"compare: {run} was measured with {name} {found!r}, {ours[0]} with {expected!r}.")
    values = [{name: np.array(x, np.float64) for name, x in result["values"].items()} for result in results]
    names = [name for name in COLUMNS if all(name in run for run in values)]
    mine, other = values[: len(ours)], values[len(ours) :]
    return {name: paired_difference([run[name] for run in mine], [run[name] for run in other]) for name in names}


def format_differences(differences: dict[str, PairedDifference]) -> str:
    """A Markdown table, a metric a row."""
    lines = ["| metric | ours - theirs [95 % interval] | larger for |", "| --- | ---: | ---: |"]
    for name, found in differences.items():
        heading, digits = COLUMNS[name]
        mean = f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
        lines.append(f"| {heading} | {mean} | {found.larger} of {found.objects} |")
    return "\n".join(lines)
