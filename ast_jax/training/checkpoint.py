"""Checkpoints of a run; the only file that imports Orbax."""

import itertools
import json
import math
from pathlib import Path

import jax
import numpy as np
from absl import logging
from flax import nnx
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as orbax

from ast_jax.model import Model
from ast_jax.near_match import hint
from ast_jax.process.ownership import is_owned
from ast_jax.training.release import find_release, read_release, shipped_names
from ast_jax.training.run_config import load_config
from ast_jax.training.seal import broken_file, is_sealed, seal
from ast_jax.training.state import TrainState
from ast_jax.training.workdir import DAMAGED

BEST = "best"
_SCORE = "score"
# Parts of a state that not every run has.
_OPTIONAL = ("average", "multiplex", "memory")
# What Orbax reads of every checkpoint when a folder is opened.
_METADATA = ("_CHECKPOINT_METADATA", "metrics/metrics")
# How often a reader looks anew where a training removes old checkpoints meanwhile.
_TRIES = 5
# What a failed save raises: TensorStore reports a full disk as a ValueError.
_SAVE_ERRORS = (OSError, ValueError)


class Checkpoints:
    """The checkpoints under ``workdir/checkpoints``: the newest few and the best, saved in the background.

    For the owner of the run: what a save that was cut short left there is removed. With many processes every one of
    them calls every method.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 2):
        """Open, or make, the folder.

        Args:
          workdir: the run.
          keep: how many of the newest to keep, beside the best.
        """
        self.workdir = Path(workdir)
        self._folder, self._keep = _folder(workdir), keep
        self._folder.mkdir(parents=True, exist_ok=True)
        _set_unreadable_aside(self._folder)
        self._open()

    def _open(self) -> None:
        policies = orbax.training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda metrics: -metrics[_SCORE], n=1, keep_checkpoints_without_metrics=False
        )
        self._checkpointer = orbax.training.Checkpointer(
            self._folder,
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(self._keep), best]),
            cleanup_tmp_directories=True,  # of saves that a kill or a full disk cut short
        )
        self._unsealed: int | None = None
        self._response = None

    def save(self, state: TrainState, *, score: float | None = None) -> None:
        """Save in the background; training goes on.

        Args:
          state: of the step that it says.
          score: how good it is, lower is better; None if nobody knows.

        Raises:
          RuntimeError: the disk is full or not writable; what was saved before stays as it is.
        """
        step = int(state.step)
        if self.latest_step() == step:
            return
        metrics = None if score is None or not math.isfinite(score) else {_SCORE: score}
        try:
            self._seal_last()
            self._response = self._checkpointer.save_checkpointables_async(
                step, _checkpointables(state), force=True, metrics=metrics
            )
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
        restored, _, damaged = _load_newest(self._checkpointer, _checkpointables(state))
        if damaged:
            self._set_aside(damaged)
        if restored is None:
            if had_some:
                raise ValueError(f"{self._folder}: every checkpoint is damaged; start anew in another --workdir.")
            return state
        rest = {name: restored.get(name) for name in _OPTIONAL}
        return TrainState(restored["progress"]["step"], restored["params"], restored["opt_state"], **rest)

    def _set_aside(self, damaged: list[int]) -> None:
        _wait_for_all("found damage")
        if jax.process_index() == 0:
            for step in damaged:
                _put_aside(self._folder / str(step))
        _wait_for_all("set aside")
        self._checkpointer.close()
        self._open()


def load_model(checkpoint: str | Path) -> tuple[Model, ConfigDict]:
    """The trained model of a run, weights only: their moving average if the run kept one.

    A training may be at work in the folder: it is not disturbed.

    Args:
      checkpoint: folder given to ``launch.train``, for the newest; or of one checkpoint, see `find_run`; or a model
        that comes with the package, see `ast_jax.training.release`.

    Returns:
      the model and the config of the run.

    Raises:
      ValueError: no run, or no checkpoint there.
    """
    return load_model_and_step(checkpoint)[:2]


def load_model_and_step(checkpoint: str | Path) -> tuple[Model, ConfigDict, int | None]:
    """As `load_model`, and the step of the checkpoint that was read; None for a model that comes with the package.

    It need not be the newest by then: that one may be damaged, and a training that is at work saves others.
    """
    release = find_release(checkpoint)
    if release is not None:
        return *read_release(release), None
    workdir, only = find_run(checkpoint)
    if not workdir.exists():
        near = hint(str(checkpoint), shipped_names())
        raise ValueError(f"{checkpoint}: not a training run, and no model of this name comes with us{near}")
    config = load_config(workdir)
    folder = _folder(workdir)
    if not folder.is_dir():
        raise ValueError(f"{workdir}: no checkpoint there yet.")
    if not is_owned(workdir):  # its owner is at work on them, and looked at them when it began
        _set_unreadable_aside(folder)
    graphdef, params = nnx.split(Model(config.model, rngs=nnx.Rngs(config.seed)))
    restored, step = _read_params(folder, nnx.to_pure_dict(params), only)
    return nnx.merge(graphdef, jax.tree.map(lambda x: x.addressable_data(0), restored)), config, step


def _read_params(folder: Path, like: dict, only: int | None) -> tuple[dict, int]:
    """The weights of the newest good checkpoint, or of one, and its step; looked for anew where one went meanwhile."""
    # On all devices of all processes while loading, since Orbax loads in all processes together.
    everywhere = jax.NamedSharding(jax.make_mesh((jax.device_count(),), ("all",)), jax.P())
    wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), like)
    for _ in range(_TRIES):
        checkpointer = _open_to_read(folder)
        if checkpointer.latest is None:
            raise ValueError(f"{folder.parent}: no complete checkpoint there yet.")
        name = "average" if (folder / str(only or checkpointer.latest.step) / "average").is_dir() else "params"
        restored, step, _ = _load_newest(checkpointer, {name: wanted}, only=only)
        if restored is not None:
            return restored[name], step
        listed = [folder / str(checkpoint.step) for checkpoint in checkpointer.checkpoints]
        if jax.process_count() > 1 or all(path.is_dir() for path in listed):
            break
    which = "every checkpoint" if only is None else f"checkpoint {only}"
    raise ValueError(f"{folder}: {which} is damaged; take another, or train again in another --workdir.")


def _open_to_read(folder: Path) -> orbax.training.Checkpointer:
    """Orbax reads a few files of every checkpoint that it lists; a training may remove one meanwhile."""
    problem = Exception()
    for _ in range(_TRIES):
        try:
            return orbax.training.Checkpointer(folder)
        except Exception as error:  # whatever the readers of its files raise
            problem = error
    raise ValueError(f"{folder}: its checkpoints cannot be listed ({_first_line(problem)}).") from problem


def find_run(checkpoint: str | Path) -> tuple[Path, int | None]:
    """The run that a checkpoint belongs to, and its step.

    Args:
      checkpoint: ``runs/x``, ``runs/x/checkpoints/1500`` or ``runs/x/checkpoints/best``.

    Returns:
      the folder of the run, and the step, None for the newest.

    Raises:
      ValueError: there is no such checkpoint.
    """
    path = Path(checkpoint)
    if path.parent.name != "checkpoints":
        return path, None
    if path.name == BEST:
        return path.parent.parent, _best_step(_open_to_read(path.parent.absolute()))
    if not (path.name.isdigit() and path.is_dir()):
        found = sorted(int(other.name) for other in path.parent.glob("*") if other.name.isdigit())
        raise ValueError(f"{path}: no such checkpoint; there are {', '.join(map(str, found)) or 'none'}, and {BEST}.")
    return path.parent.parent, int(path.name)


def init_params(params: dict, init_from: str) -> dict:
    """Start from the weights of another run where names and shapes fit, and report what did and what did not.

    Args:
      params: fresh parameters.
      init_from: folder of the other run, or "" for none.

    Raises:
      ValueError: nothing at all fits.
    """
    if not init_from:
        return params
    model, _ = load_model(init_from)
    found = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.split(model)[1]))
    table = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in found}
    fresh = []

    def pick(path, param):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        other = table.get(name)
        if other is not None and other.shape == param.shape:
            del table[name]
            return other
        fresh.append(f"{name} {param.shape}" + (f" (there {other.shape})" if other is not None else ""))
        return param

    merged = jax.tree_util.tree_map_with_path(pick, params)
    count = len(found) - len(table)
    if not count:
        raise ValueError(
            f"config.init_from={init_from}: no parameter there has the name and shape of one of this model."
        )
    logging.info("init_from %s: %d of %d arrays taken", init_from, count, len(jax.tree.leaves(params)))
    for title, names in (("stays as initialised", fresh), ("not used of the other run", sorted(table))):
        for name in names:
            logging.info("init_from: %s: %s", title, name)
    return merged


def _checkpointables(state: TrainState) -> dict:
    """Weights apart from the rest, so that they can be read alone."""
    items = {"params": state.params, "opt_state": state.opt_state, "progress": {"step": state.step}}
    return items | {name: getattr(state, name) for name in _OPTIONAL if getattr(state, name) is not None}


def _folder(workdir: str | Path) -> Path:
    return Path(workdir).absolute() / "checkpoints"


def _best_step(checkpointer: orbax.training.Checkpointer) -> int:
    scored = [checkpoint for checkpoint in checkpointer.checkpoints if checkpoint.metrics]
    if not scored:
        raise ValueError(
            f"{checkpointer.directory}: no checkpoint was compared on a validation split; take the newest."
        )
    return min(scored, key=lambda checkpoint: checkpoint.metrics[_SCORE]).step


def _load_newest(
    checkpointer: orbax.training.Checkpointer, like: dict, *, only: int | None = None
) -> tuple[dict | None, int, list[int]]:
    """The newest checkpoint that is good, or None; its step; and the steps of the damaged ones that are newer.

    The first process looks at the files and tells the others; whether a load went well is known when all are done.
    A checkpoint that is gone by then is no damaged one: the training that it belongs to has removed it.
    """
    damaged: list[int] = []
    steps = sorted((checkpoint.step for checkpoint in checkpointer.checkpoints), reverse=True)
    for step in steps if only is None else [only]:
        folder = Path(checkpointer.directory) / str(step)
        sealed, broken = _agree(_inspect(folder))
        problem, restored = (broken_file(folder) or "a file") if broken else None, None
        if problem is None:
            try:
                restored = _load(checkpointer, step, like)
            except (ValueError, OSError) as error:
                if sealed and broken_file(folder) is None:  # its files are as they were saved: it is another model's
                    raise
                problem = str(error.__cause__ or error).strip().splitlines()[0][:200]
        if _all_agree(restored is not None):
            return restored, step, damaged
        if folder.is_dir():
            logging.warning("%s is damaged (%s); the one before it is taken.", folder, problem)
            damaged.append(step)
    return None, -1, damaged


def _set_unreadable_aside(folder: Path) -> None:
    """Rename checkpoints whose metadata are no JSON object: Orbax could not even list the others beside them."""
    if jax.process_index() == 0:
        for path in [path for path in folder.iterdir() if path.name.isdigit()]:
            files = [path / name for name in _METADATA if (path / name).is_file()]
            if not all(map(_is_json_object, files)):
                logging.warning("%s is damaged (its metadata); the one before it is taken.", path)
                _put_aside(path)
    _wait_for_all("looked at the metadata")


def _put_aside(path: Path) -> None:
    """``5`` becomes ``damaged_5``, or ``damaged_5-2`` where the step was damaged before."""
    names = itertools.chain([DAMAGED + path.name], (f"{DAMAGED}{path.name}-{n}" for n in itertools.count(2)))
    path.rename(next(other for name in names if not (other := path.with_name(name)).exists()))


def _is_json_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError):
        return False


def _inspect(folder: Path) -> tuple[bool, bool]:
    """Whether a checkpoint is sealed, and whether a file is not as it was then."""
    if jax.process_index():
        return False, False
    sealed = is_sealed(folder)
    return sealed, sealed and broken_file(folder) is not None


def _agree(flags: tuple[bool, ...]) -> tuple[bool, ...]:
    """What the first process says."""
    if jax.process_count() == 1:
        return flags
    return tuple(bool(flag) for flag in multihost_utils.broadcast_one_to_all(np.array(flags)))


def _all_agree(flag: bool) -> bool:
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).all())


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


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


def _save_error(error: Exception) -> RuntimeError:
    # TensorStore's text holds the name of a temporary file and the system's reason, in this order.
    reason = getattr(error, "strerror", None) or _first_line(error).rsplit(": ", 1)[-1]
    return RuntimeError(
        f"could not save a checkpoint ({reason}); make room or choose another --workdir. "
        "Older checkpoints are untouched: the same command goes on from the newest."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
