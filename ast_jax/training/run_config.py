"""The config of a run, as a file in its folder."""

import json
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from ast_jax.config import ExperimentConfig, complete
from ast_jax.files.writing import write_text

CONFIG_FILE = "config.json"


def save_config(workdir: str | Path, config: ConfigDict, *, allow_change: bool = False, write: bool = True) -> None:
    """Write ``config.json``, or check that the run that is there has the same.

    Args:
      workdir: the run.
      config: the experiment.
      allow_change: overwrite another config.
      write: False only checks, as all processes but the first do.

    Raises:
      ValueError: the run was started with another config; the message lists what differs.
    """
    path = Path(workdir) / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    new = json.loads(config.to_json())
    if path.is_file() and not allow_change:
        old, removed = complete(_read(path), ExperimentConfig)  # a key that is new since then has its default
        changes = [f"{key} was {value}, and is no key any more" for key, value in removed.items()]
        changes += _differences(json.loads(json.dumps(old)), new)
        if changes:
            raise ValueError(
                f"{workdir} was started with another config: {'; '.join(changes[:8])}. "
                "Use another --workdir, or --allow_config_change."
            )
    if write:
        write_text(path, json.dumps(new, indent=1) + "\n")


def load_config(workdir: str | Path) -> ConfigDict:
    """The config that a run was started with; keys that are new since then have their defaults.

    Raises:
      ValueError: there is no run at ``workdir``.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{workdir}: not a training run (no {CONFIG_FILE} there).")
    config, removed = complete(_tuples(_read(path)), ExperimentConfig)
    if removed:
        logging.warning("%s: left out what is no key of the config any more: %s.", path, ", ".join(removed))
    return ConfigDict(config)


def _read(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: empty or not whole ({error}). Remove it and run the command that started this run again, which "
            "writes it anew and goes on from the newest checkpoint."
        ) from error


def _tuples(value: Any) -> Any:
    """JSON knows no tuples, configs know no lists."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _differences(old: Any, new: Any, name: str = "config"):
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}")
    elif old != new:
        yield f"{name} was {old}, is {new}"
