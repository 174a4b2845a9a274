"""A finished run under a published protocol: JSON, Markdown and LaTeX beside the rows of the literature."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from ast_jax.data.pipeline import DataSource
from ast_jax.data.sources import data_root
from ast_jax.evaluation.features import load_extractor, set_distances
from ast_jax.evaluation.protocols import PROTOCOLS, Protocol
from ast_jax.evaluation.run import WHOLE, Share, evaluate
from ast_jax.evaluation.summary import COLUMNS, Evaluation, format_latex, format_table, summarize
from ast_jax.summary import make_predictor
from ast_jax.training.checkpoint import latest_step, load_model

_FILES = ("metrics.json", "table.md", "table.tex")


def run_protocol(
    workdir: str | Path,
    name: str,
    *,
    root: str = "",
    split: str = "test",
    features: str = "",
    features_path: str = "",
    seed: int = 0,
    share: Share = WHOLE,
    progress: bool = False,
) -> list[Path]:
    """Evaluate the newest checkpoint of a run; a call that was interrupted goes on where it stopped.

    Args:
      workdir: folder of the run.
      name: of the protocol, see ``PROTOCOLS``.
      root: of the data set; empty: that of the run.
      split: of the data set.
      features: network whose features compare the set of pictures drawn with the set of photographs:
        ``inception`` (FID and KID), ``efficientnet_lite0``, ``alexnet``, ``vgg16``; empty: none.
      features_path: its weights, see ``evaluation.features``.
      seed: of everything random in the protocol.
      share: of this process; the one that finds all chunks done writes the tables.
      progress: show a bar.

    Returns:
      the files written; none while other processes are still at work.

    Raises:
      ValueError: unknown protocol, no run, or data that lacks what the protocol needs; the message says which.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name!r}: choose one of {', '.join(PROTOCOLS)}.")
    protocol, workdir = PROTOCOLS[name], Path(workdir)
    if features:
        protocol = with_set_distance(protocol, features, features_path or None)
    model, config = load_model(workdir)
    data = _data_config(config, protocol, root)
    source = DataSource(data_root(data), split, data)
    folder = workdir / "evaluation" / name
    stamp = {
        "protocol": name,
        "step": latest_step(workdir),
        "data": str(source.root.resolve()),
        "split": split,
        "description": protocol.description,
    }
    result = evaluate(
        protocol, make_predictor(model), model.template[1], source, folder / "chunks",
        stamp=stamp, seed=seed, share=share, progress=progress,
    )  # fmt: skip
    if result is None:
        return []
    return _write(folder, protocol, stamp | {"seed": seed}, f"{workdir.name} ({config.model.shape.kind})", result)


def with_set_distance(protocol: Protocol, network: str, path: str | None) -> Protocol:
    """The protocol, with distances between the sets of pictures besides; see `evaluation.features.set_distances`.

    Raises:
      ValueError: this protocol draws no pictures, or there are no weights; the message says how to get them.
    """
    load_extractor(network, path)  # a missing file is said before the work, not after it

    def finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
        if "picture" not in measured:
            raise ValueError(f"features={network}: this protocol draws no pictures, or the model has no texture.")
        result = protocol.finish(ids, measured)
        drawn, true = (measured[name].astype(np.float32) / 255 for name in ("picture", "target"))
        result.totals.update(set_distances(drawn, true, network, path))
        return result

    names = tuple(name for name in COLUMNS if name in ("fid", "kid") or name.endswith(f"_{network}"))
    return dataclasses.replace(protocol, finish=finish, columns=(*protocol.columns, *names))


def _data_config(config: ConfigDict, protocol: Protocol, root: str) -> ConfigDict:
    """The run's data config, as the protocol wants it."""
    data = config.data.copy_and_resolve_references()
    if root:
        data.source, data.root = "prepared", root
    data.num_target_views = 1
    if protocol.input_crop:
        data.input_crop = protocol.input_crop
    return data


def _write(folder: Path, protocol: Protocol, stamp: dict, method: str, result: Evaluation) -> list[Path]:
    """The three files, and the table on the terminal."""
    rows = {method: result}
    table = format_table(rows, protocol.columns, protocol.published)
    text = f"{protocol.description}\n\n{table}\n\n{protocol.note}".rstrip() + "\n"
    published = [vars(row) for row in protocol.published]
    numbers = {"what": stamp, "objects": len(result.object_ids), "metrics": summarize(result), "published": published}
    contents = (
        json.dumps(numbers, indent=1) + "\n",
        text,
        format_latex(rows, protocol.columns, protocol.published) + "\n",
    )
    for file_name, content in zip(_FILES, contents):
        (folder / file_name).write_text(content)
    print(text, flush=True)
    return [folder / file_name for file_name in _FILES]
