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
from ast_jax.training.seal import broken_file, is_sealed, seal
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
        self._folder, self._keep = _folder(workdir), keep
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._checkpointer = orbax.training.Checkpointer(
            self._folder, preservation_policy=orbax.training.preservation_policies.LatestN(self._keep)
        )
        self._unsealed: int | None = None
        self._response = None

    def save(self, state: TrainState) -> None:
        """Save in the background; training goes on.

        Raises:
          RuntimeError: the disk is full or not writable; what was saved before stays as it is.
        """
        step = int(state.step)
        if self.latest_step() == step:
            return
        try:
            self._seal_last()
            self._response = self._checkpointer.save_checkpointables_async(step, _checkpointables(state), force=True)
            self._unsealed = step
        except _SAVE_ERRORS as error:
            raise _save_error(error) from error

    def _seal_last(self) -> None:
        """Wait for the last save and note the checksums of its files."""
        if self._unsealed is None:
            return
        self._response.result()
        if jax.process_index() == 0:
            seal(self._folder / str(self._unsealed))
        self._unsealed = None

    def wait(self) -> None:
        """Wait until the last save is on disk; raises what went wrong with it."""
        try:
            self._seal_last()
            self._checkpointer.close()
        except _SAVE_ERRORS as error:
            raise _save_error(error) from error

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def restore(self, state: TrainState) -> TrainState:
        """The newest good checkpoint in the shape and sharding of ``state``; ``state`` itself where there is none.

        Damaged ones are renamed to ``damaged_<step>`` with a warning and never loaded.

        Raises:
          ValueError: the checkpoint belongs to another model, or all are damaged.
        """
        had_some = self.latest_step() is not None
        restored, damaged = _load_newest(self._checkpointer, _checkpointables(state))
        if damaged and jax.process_index() == 0:
            for step in damaged:
                (self._folder / str(step)).rename(self._folder / f"damaged_{step}")
        if damaged:
            self._checkpointer.close()
            self._open()
        if restored is None:
            if had_some:
                raise ValueError(f"{self._folder}: every checkpoint is damaged; start anew in another --workdir.")
            return state
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
    folder = _folder(workdir)
    if not folder.is_dir():
        raise ValueError(f"{workdir}: no checkpoint there yet.")
    model = Model(config.model, rngs=nnx.Rngs(config.seed))
    graphdef, params = nnx.split(model)
    checkpointer = orbax.training.Checkpointer(folder)
    if checkpointer.latest is None:
        raise ValueError(f"{workdir}: no complete checkpoint there yet.")
    wanted = {"params": jax.tree.map(jax.numpy.asarray, nnx.to_pure_dict(params))}
    restored, _ = _load_newest(checkpointer, wanted)
    if restored is None:
        raise ValueError(f"{folder}: every checkpoint is damaged; train again in another --workdir.")
    return nnx.merge(graphdef, restored["params"]), config


def latest_step(workdir: str | Path) -> int | None:
    """Step of the newest checkpoint of a run, or None; nothing is loaded."""
    folder = _folder(workdir)
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


def _folder(workdir: str | Path) -> Path:
    return Path(workdir).absolute() / "checkpoints"


def _load_newest(checkpointer: orbax.training.Checkpointer, like: dict) -> tuple[dict | None, list[int]]:
    """The newest checkpoint that is good, or None, and the steps of the damaged ones that are newer."""
    damaged: list[int] = []
    for step in sorted((checkpoint.step for checkpoint in checkpointer.checkpoints), reverse=True):
        folder = Path(checkpointer.directory) / str(step)
        sealed, problem = is_sealed(folder), None
        if sealed:
            problem = broken_file(folder)
        if problem is None:
            try:
                return _load(checkpointer, step, like), damaged
            except ValueError as error:
                if sealed:  # its files are as they were saved: it is another model's
                    raise
                problem = str(error.__cause__ or error).strip().splitlines()[0][:200]
        logging.warning("%s is damaged (%s); the one before it is taken.", folder, problem)
        damaged.append(step)
    return None, damaged


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
