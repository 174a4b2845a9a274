"""Checkpoints of a run; the only file that imports Orbax."""

import json
from pathlib import Path
from typing import Any

import jax
from absl import logging
from flax import nnx
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as orbax

from ast_jax.model import Model
from ast_jax.training.state import TrainState

CONFIG_FILE = "config.json"
# What a failed save raises: TensorStore reports a full disk as a ValueError.
_SAVE_ERRORS = (OSError, ValueError)


class Checkpoints:
    """The checkpoints under ``workdir/checkpoints``: keeps the newest few, saves in the background."""

    def __init__(self, workdir: str | Path, *, keep: int = 2):
        """Open, or make, the folder.

        Args:
          workdir: the run.
          keep: how many of the newest to keep.
        """
        folder = Path(workdir).absolute() / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpointer = orbax.training.Checkpointer(
            folder, preservation_policy=orbax.training.preservation_policies.LatestN(keep)
        )

    def save(self, state: TrainState) -> None:
        """Save in the background; training goes on.

        Raises:
          RuntimeError: the disk is full or not writable; what was saved before stays as it is.
        """
        step = int(state.step)
        if self.latest_step() == step:
            return
        try:
            self._checkpointer.save_checkpointables_async(step, _checkpointables(state), force=True)
        except _SAVE_ERRORS as error:
            raise _save_error(error) from error

    def wait(self) -> None:
        """Wait until the last save is on disk; raises what went wrong with it."""
        try:
            self._checkpointer.close()
        except _SAVE_ERRORS as error:
            raise _save_error(error) from error

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def restore(self, state: TrainState) -> TrainState:
        """The newest checkpoint in the shape and sharding of ``state``; ``state`` itself where there is none.

        Raises:
          ValueError: the checkpoint belongs to another model.
        """
        step = self.latest_step()
        if step is None:
            return state
        restored = _load(self._checkpointer, step, _checkpointables(state))
        return TrainState(restored["progress"]["step"], restored["params"], restored["opt_state"])


def save_config(workdir: str | Path, config: ConfigDict, *, allow_change: bool = False) -> None:
    """Write ``config.json``, or check that the run that is there has the same.

    Raises:
      ValueError: the run was started with another config; the message lists what differs.
    """
    path = Path(workdir) / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    new = json.loads(config.to_json())
    if path.is_file() and not allow_change:
        old = json.loads(path.read_text())
        changes = list(_differences(old, new))
        if changes:
            raise ValueError(
                f"{workdir} was started with another config: {'; '.join(changes[:8])}. "
                "Use another --workdir, or --allow_config_change."
            )
    path.write_text(json.dumps(new, indent=1) + "\n")


def load_config(workdir: str | Path) -> ConfigDict:
    """The config that a run was started with.

    Raises:
      ValueError: there is no run at ``workdir``.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{workdir}: not a training run (no {CONFIG_FILE} there).")
    return ConfigDict(_tuples(json.loads(path.read_text())))


def load_model(workdir: str | Path) -> tuple[Model, ConfigDict]:
    """The trained model of a run, newest checkpoint, weights only.

    Args:
      workdir: folder given to ``launch.train``.

    Returns:
      the model and the config of the run.

    Raises:
      ValueError: no run, or no checkpoint there.
    """
    config = load_config(workdir)
    folder = Path(workdir).absolute() / "checkpoints"
    if not folder.is_dir():
        raise ValueError(f"{workdir}: no checkpoint there yet.")
    model = Model(config.model, rngs=nnx.Rngs(config.seed))
    graphdef, params = nnx.split(model)
    checkpointer = orbax.training.Checkpointer(folder)
    if checkpointer.latest is None:
        raise ValueError(f"{workdir}: no complete checkpoint there yet.")
    wanted = {"params": jax.tree.map(jax.numpy.asarray, nnx.to_pure_dict(params))}
    restored = _load(checkpointer, checkpointer.latest.step, wanted)
    return nnx.merge(graphdef, restored["params"]), config


def latest_step(workdir: str | Path) -> int | None:
    """Step of the newest checkpoint of a run, or None; nothing is loaded."""
    folder = Path(workdir).absolute() / "checkpoints"
    latest = orbax.training.Checkpointer(folder).latest if folder.is_dir() else None
    return None if latest is None else latest.step


def init_params(params: dict, init_from: str) -> dict:
    """Start from the weights of another run where names and shapes fit, and say what did not.

    Args:
      params: fresh parameters.
      init_from: folder of the other run, or "" for none.
    """
    if not init_from:
        return params
    model, _ = load_model(init_from)
    found = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.split(model)[1]))
    table = {jax.tree_util.keystr(path): leaf for path, leaf in found}
    missed = []

    def pick(path, fresh):
        other = table.get(jax.tree_util.keystr(path))
        if other is not None and other.shape == fresh.shape:
            return other
        missed.append(jax.tree_util.keystr(path))
        return fresh

    merged = jax.tree_util.tree_map_with_path(pick, params)
    logging.info("init_from %s: %d arrays, fresh: %s", init_from, len(table) - len(missed), missed or "none")
    return merged


def _checkpointables(state: TrainState) -> dict:
    """Weights apart from the rest, so that they can be read alone."""
    return {"params": state.params, "opt_state": state.opt_state, "progress": {"step": state.step}}


def _load(checkpointer: orbax.training.Checkpointer, step: int, like: dict) -> dict:
    """Read a checkpoint in the shapes and shardings of ``like``."""
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
    try:
        return checkpointer.load_checkpointables(step, abstract)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{checkpointer.directory}: checkpoint {step} does not fit the model of this config; use another "
            f"--workdir, or the config that it was trained with ({_first_line(error)})"
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


def _save_error(error: Exception) -> RuntimeError:
    # TensorStore's text holds the name of a temporary file and the system's reason, in this order.
    reason = getattr(error, "strerror", None) or _first_line(error).rsplit(": ", 1)[-1]
    return RuntimeError(
        f"could not save a checkpoint ({reason}); make room or choose another --workdir. "
        "Older checkpoints are untouched: the same command goes on from the newest."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
