"""The training loop. Order of one turn: validate, save, fetch the batch, step, log; never change it.

What is saved after step n is what a run has before it fetches batch n, so weights and data agree after a restart.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from ast_jax.data.example import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.data.sources import data_root
from ast_jax.training.checkpoint import Checkpoints
from ast_jax.training.precision import check_precision
from ast_jax.training.preemption import Preempted, StopRequest
from ast_jax.training.profiling import ProfileWindow
from ast_jax.training.program import Program, make_program
from ast_jax.training.run_config import save_config
from ast_jax.training.sharding import Layout, local_rows, make_layout
from ast_jax.training.stages import Stage, stage_at
from ast_jax.training.state import TrainState
from ast_jax.training.validation import Validation, place_batch
from ast_jax.training.watch import Watch
from ast_jax.training.watchdog import Diverged


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
    root = _data_root(config)
    source = DataSource(root, "train", config.data)
    check_cameras(source, config)
    save_config(workdir, config, allow_change=allow_config_change, write=jax.process_index() == 0)
    profile = ProfileWindow(profile_steps, Path(workdir) / "profile")
    program = make_program(config, layout)
    checkpoints = Checkpoints(workdir, keep=config.keep_checkpoints)
    state = checkpoints.restore(program.first_state)
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
    watch = Watch(workdir, program, source=source, state=state)
    with StopRequest() as stop:  # to the end of the last save: a signal must not cut it short
        try:
            state = _run(state, batches, program, validation, checkpoints, watch, stop, profile)
        finally:
            profile.close()
            checkpoints.wait()
            watch.close()
    return int(state.step)


def check_config(config: ConfigDict, layout: Layout) -> None:
    """Raises a ValueError where keys of the config do not fit each other or the devices."""
    check_precision(config)
    parts = config.accumulate_steps * layout.batch_shares
    if config.accumulate_steps < 1 or config.batch_size < 1 or config.batch_size % parts:
        raise ValueError(
            f"config.batch_size={config.batch_size} must be a positive multiple of {layout.batch_shares} shares of the "
            f"devices times config.accumulate_steps={config.accumulate_steps}."
        )


def check_cameras(source: DataSource, config: ConfigDict) -> None:
    """Raises a ValueError when the config wants cameras that the data set does not know."""
    losses = dict(config.stage.shape.losses) | dict(config.stage.joint.losses)
    wants = config.model.camera.kind == "given" or config.model.camera.predict or losses.get("camera", 0)
    if source.camera_kind == "unknown" and wants:
        raise ValueError(
            f"{source.root}: knows no cameras; set config.model.camera.kind=candidates and config.model.camera.predict="
            "False, and take the loss 'camera' out."
        )


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
    watch: Watch,
    stop: StopRequest,
    profile: ProfileWindow,
) -> TrainState:
    config, start, last = program.config, int(state.step), program.num_steps
    try:
        for number in range(start, last):
            stage = stage_at(program.stages, number)
            score = None
            if number > start and config.eval_every > 0 and number % config.eval_every == 0:
                score = _validate(number, state, stage, program, validation, watch)
            asked = stop.agreed(number)
            if asked or (number > start and number % config.checkpoint_every == 0):
                checkpoints.save(state, score=score)
            if asked:
                raise Preempted(f"asked to stop, saved step {number}; the same command goes on from there.")
            with watch.waiting():
                local = next(batches)
                batch = place_batch(local, program.layout.by_batch)
            step = program.step(stage, number)
            with profile.step(number, state):
                state, metrics = step(state, batch, program.perceptual[stage.name])
            watch.stepped(number + 1, stage, step, metrics, local.index)
        watch.finish()
        score = None
        if last > start:
            score = _validate(last, state, stage_at(program.stages, last - 1), program, validation, watch)
        checkpoints.save(state, score=score)
    except Diverged:
        checkpoints.save(state)
        raise
    return state


def _validate(
    number: int, state: TrainState, stage: Stage, program: Program, validation: Validation, watch: Watch
) -> float | None:
    """Losses on the validation split, and pictures of it; gives the one that decides which checkpoint is best."""
    metrics = validation(state, stage, program.perceptual[stage.name])
    if not metrics:
        return None
    watch.validated(number, metrics, state, validation.batches[0])
    key = f"validation/{program.config.best_metric}"
    if key not in metrics:
        known = ", ".join(name.removeprefix("validation/") for name in metrics)
        raise ValueError(f"config.best_metric={program.config.best_metric!r}: stage {stage.name} has {known}.")
    return metrics[key]
