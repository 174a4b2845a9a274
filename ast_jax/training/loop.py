"""The training loop. Order of one turn: validate, save, fetch the batch, step, log; never change it.

What is saved after step n is what a run has before it fetches batch n, so weights and data agree after a restart.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.datasets.sources import data_root
from ast_jax.process.ownership import check_owned
from ast_jax.process.preemption import Preempted, StopRequest
from ast_jax.process.watchdog import Diverged
from ast_jax.training.checkpoint import Checkpoints
from ast_jax.training.checks import check_config, check_data
from ast_jax.training.memory import check_batches, check_step
from ast_jax.training.monitoring.monitor import Monitor
from ast_jax.training.monitoring.profiling import ProfileWindow
from ast_jax.training.program import Program, make_program
from ast_jax.training.run_config import save_config
from ast_jax.training.sharding import Layout, local_rows, make_layout
from ast_jax.training.stages import Stage, stage_at
from ast_jax.training.state import TrainState
from ast_jax.training.validation import Validation, place_batch
from ast_jax.training.workdir import check_room, owning_run


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    devices: list[jax.Device] | None = None,
    allow_config_change: bool = False,
    profile_steps: str = "",
) -> int:
    """Train, or go on training, the run at ``workdir``. With many processes each of them calls this.

    Args:
      config: the experiment.
      workdir: everything the run writes; the same call again resumes from the newest checkpoint.
      devices: for the mesh; None for all of all processes.
      allow_config_change: go on although the run was started with another config.
      profile_steps: ``"10:15"`` writes a trace of these steps.

    Returns:
      the number of steps that the run has now.

    Raises:
      ValueError: the config, the data, the devices or the run do not fit; the message says what to change.
      Preempted: a scheduler asked the process to stop; the state is saved.
      RuntimeError: losses stay non-finite, or a checkpoint could not be written.
    """
    layout = make_layout(config, devices)
    check_config(config, layout)
    first, end = local_rows(layout.by_batch, config.batch_size)
    check_batches(config, end - first)
    check_step(config, layout)
    profile = ProfileWindow(profile_steps, Path(workdir) / "profile")
    with owning_run(workdir):
        return _train(config, workdir, layout, profile, allow_config_change)


def _train(
    config: ConfigDict, workdir: str | Path, layout: Layout, profile: ProfileWindow, allow_config_change: bool
) -> int:
    save_config(workdir, config, allow_change=allow_config_change, write=False)
    program = make_program(config, layout)  # before the data, which may take minutes to make: it knows what is wrong
    check_room(workdir, program.first_state, config.keep_checkpoints)
    root = _data_root(config)
    source = DataSource(root, "train", config.data)
    check_data(source, config)
    save_config(workdir, config, allow_change=allow_config_change, write=jax.process_index() == 0)
    checkpoints = Checkpoints(workdir, keep=config.keep_checkpoints)
    state = program.start(len(source))
    check_room(workdir, state, config.keep_checkpoints)  # once more: the cameras of its pictures are part of it
    state = checkpoints.restore(state)
    program = replace(program, first_state=None)
    validation = Validation(program.graphdef, config, root, layout=layout, shardings=program.shardings)
    batches = make_batches(
        source,
        config.data,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=int(state.step),
        rows=local_rows(layout.by_batch, config.batch_size),
    )
    monitor = Monitor(workdir, program, source=source, state=state)
    with StopRequest() as stop:  # to the end of the last save: a signal must not cut it short
        try:
            state = _run(state, batches, program, validation, checkpoints, monitor, stop, profile)
        finally:
            profile.close()
            checkpoints.wait()
            monitor.close()
    return int(state.step)


def _data_root(config: ConfigDict) -> Path:
    """The folder of the data; the first process makes it where there is something to make, the others wait."""
    if jax.process_count() == 1:
        return data_root(config.data)
    if jax.process_index() == 0:
        root = data_root(config.data)
    multihost_utils.sync_global_devices("data")
    return root if jax.process_index() == 0 else data_root(config.data)


def _run(
    state: TrainState,
    batches: Iterator[Batch],
    program: Program,
    validation: Validation,
    checkpoints: Checkpoints,
    monitor: Monitor,
    stop: StopRequest,
    profile: ProfileWindow,
) -> TrainState:
    config, start, last = program.config, int(state.step), program.num_steps
    try:
        for number in range(start, last):
            stage = stage_at(program.stages, number)
            score = None
            if number > start and config.eval_every > 0 and number % config.eval_every == 0:
                score = _validate(number, state, stage, program, validation, monitor)
            asked = stop.agreed(number)
            if asked or (number > start and number % config.checkpoint_every == 0):
                _save(checkpoints, state, score)
            if asked:
                raise Preempted(f"asked to stop, saved step {number}; the same command goes on from there.")
            with monitor.waiting():
                local = next(batches)
                batch = place_batch(local, program.layout.by_batch)
            step = program.step(stage, number)
            with profile.step(number, state):
                state, metrics = step(state, batch, program.values[stage.name])
            monitor.stepped(number + 1, stage, step, metrics, local.index)
        monitor.finish()
        score = None
        if last > start:
            score = _validate(last, state, stage_at(program.stages, last - 1), program, validation, monitor)
        _save(checkpoints, state, score)
    except Diverged:
        _save(checkpoints, state)
        raise
    return state


def _save(checkpoints: Checkpoints, state: TrainState, score: float | None = None) -> None:
    if jax.process_index() == 0:
        check_owned(checkpoints.workdir)
    checkpoints.save(state, score=score)


def _validate(
    number: int, state: TrainState, stage: Stage, program: Program, validation: Validation, monitor: Monitor
) -> float | None:
    """Losses on the validation split, and pictures of it; gives the one that decides which checkpoint is best."""
    metrics = validation(state, stage, program.values[stage.name])
    if not metrics:
        return None
    monitor.validated(number, metrics, state, validation.batches[0])
    key = f"validation/{program.config.best_metric}"
    if key not in metrics:
        known = ", ".join(name.removeprefix("validation/") for name in metrics)
        raise ValueError(f"config.best_metric={program.config.best_metric!r}: stage {stage.name} has {known}.")
    return metrics[key]
