"""The mean over classes that papers on ShapeNet print: from the results of one run per class."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ast_jax.evaluation.protocols import find_protocol
from ast_jax.evaluation.tables import format_latex_rows, format_table_rows
from ast_jax.files.writing import write_texts

FILES = ("metrics.json", "table.md", "table.tex")
# What must be the same for a mean to be one of the same measure.
_SHARED = ("protocol", "split", "description", "seed")


def average_classes(runs: Sequence[str | Path], protocol_name: str) -> list[Path]:
    """One row per class, and their mean, as a table beside the published means.

    Args:
      runs: folders of runs that were evaluated by the protocol before, one per class.
      protocol_name: see ``PROTOCOLS``.

    Returns:
      the files written, in ``average/PROTOCOL`` beside the first run.

    Raises:
      ValueError: a run has no results, or two of them are of one class or were measured differently.
    """
    protocol = find_protocol(protocol_name)
    results = [read_result(Path(run), protocol_name) for run in runs]
    categories = _checked(runs, results)
    counts = [result["objects"] for result in results]
    mean = mean_of_classes([result["metrics"] for result in results])
    rows = [(f"{Path(r).name}, {c}", n, x["metrics"]) for r, c, n, x in zip(runs, categories, counts, results)]
    rows.append((f"mean of {len(results)} classes", sum(counts), mean))
    names = [name for name in (*protocol.columns, *(n for n in mean if n not in protocol.columns)) if name in mean]
    published = tuple(row for row in protocol.published if row.category in ("", *categories))
    notes = list(dict.fromkeys(note for result in results for note in result["notes"]))
    numbers = {
        "what": {name: results[0]["what"][name] for name in _SHARED} | {"categories": categories},
        "objects": sum(counts),
        "metrics": mean,
        "classes": dict(zip(categories, (result["metrics"] for result in results))),
        "notes": notes,
        "published": [vars(row) for row in published],
    }
    text = "\n\n".join([protocol.description, format_table_rows(rows, names, published), *notes]) + "\n"
    folder = Path(runs[0]).parent / "average" / protocol_name
    contents = (json.dumps(numbers, indent=1) + "\n", text, format_latex_rows(rows, names, published) + "\n")
    files = write_texts(folder, dict(zip(FILES, contents)))
    print(text, flush=True)
    return files


def mean_of_classes(classes: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean of the means, each class counting once, with the interval of independent classes.

    ``low = m - sqrt(sum_c (m_c - low_c)^2) / n``, and high likewise: the objects of one class say nothing of those of
    another.

    Args:
      classes: metric -> ``mean`` and, where it has an interval, ``low`` and ``high``, as `summary.summarize` gives.

    Returns:
      the same, of the metrics that all classes have.
    """
    result = {}
    for name in (name for name in classes[0] if all(name in metrics for metrics in classes)):
        values = [metrics[name] for metrics in classes]
        mean = float(np.mean([value["mean"] for value in values]))
        result[name] = {"mean": mean}
        if all("low" in value for value in values):
            below = np.linalg.norm([value["mean"] - value["low"] for value in values]) / len(values)
            above = np.linalg.norm([value["high"] - value["mean"] for value in values]) / len(values)
            result[name] |= {"low": mean - float(below), "high": mean + float(above)}
    return result


def read_result(run: Path, protocol_name: str) -> dict:
    """What `launch.evaluate --protocol` left in the folder of a run.

    Raises:
      ValueError: nothing; the message says how to get it.
    """
    path = run / "evaluation" / protocol_name / FILES[0]
    if not path.is_file():
        raise ValueError(
            f"{path} is not there: first run launch.evaluate --checkpoint={run} --protocol={protocol_name}."
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path}: not whole ({error}); run launch.evaluate --protocol={protocol_name} again."
        ) from error


def _checked(runs: Sequence[str | Path], results: list[dict]) -> list[str]:
    """The categories, if the results belong together."""
    categories = [result["what"].get("category", "") for result in results]
    for run, category, result in zip(runs, categories, results):
        if categories.count(category) > 1:
            raise ValueError(
                f"average: {run} and another run are both of category {category!r}; give one run per class."
            )
        for name in _SHARED:
            expected, found = results[0]["what"].get(name), result["what"].get(name)
            if found != expected:
                raise ValueError(f"average: {run} was measured with {name} {found!r}, {runs[0]} with {expected!r}.")
    return categories
