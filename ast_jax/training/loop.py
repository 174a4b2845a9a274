"""The training loop. Order of one turn: save, fetch the batch, step, log; never change it (weights and data agree)."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from ast_jax.data.example import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.data.sources import data_root
from ast_jax.losses.perceptual import (
    INSTALL_COMMAND,
    PerceptualNetwork,
    find_perceptual_weights,
    load_perceptual,
)
from ast_jax.training.checkpoint import Checkpoints, init_params, save_config
from ast_jax.training.metrics import MetricWriter
from ast_jax.training.optimizer import make_optimizer
from ast_jax.training.preemption import Preempted, StopRequest
from ast_jax.training.stages import Stage, make_stages, stage_at, total_steps
from ast_jax.training.state import TrainState, count_parameters, make_model, make_state
from ast_jax.training.step import TrainStep, make_train_step

MAX_SKIPPED = 3  # non-finite steps in a row before the run stops


def train(
    config: ConfigDict, workdir: str | Path, *, mesh: jax.sharding.Mesh, allow_config_change: bool = False
) -> int:
    """Train, or go on training, the run at ``workdir``.

    Args:
      config: the experiment.
      workdir: everything the run writes; the same call again resumes from the newest checkpoint.
      mesh: device mesh with the axis ``data``.
      allow_config_change: go on although the run was started with another config.

    Returns:
      the number of steps that the run has now.

    Raises:
      ValueError: the config, the data or the run do not fit; the message says what to change.
      Preempted: a scheduler asked the process to stop; the state is saved.
      RuntimeError: losses stay non-finite, or a checkpoint could not be written.
    """
    stages = make_stages(config)
    num_steps = total_steps(stages)
    if config.batch_size % mesh.size:
        raise ValueError(f"config.batch_size={config.batch_size} must be a multiple of the {mesh.size} devices.")
    source = DataSource(data_root(config.data), "train", config.data)
    check_cameras(source, config)
    save_config(workdir, config, allow_change=allow_config_change)
    graphdef, params = make_model(config)
    optimizer = make_optimizer(config, num_steps)
    replicated = jax.NamedSharding(mesh, jax.P())
    state = jax.device_put(make_state(init_params(params, config.init_from), optimizer), replicated)
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(state)
    start = int(state.step)
    logging.info(
        "%d training objects, %s parameters, steps %d to %d",
        len(source.ids),
        f"{count_parameters(params):,}",
        start,
        num_steps,
    )
    batches = make_batches(
        source,
        config.data,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    steps = _StepTable(graphdef, optimizer, config, mesh, num_steps)
    writer = MetricWriter(workdir)
    try:
        with StopRequest() as stop:
            state = _run(state, batches, steps, stages, config, mesh, checkpoints, writer, stop)
        checkpoints.save(state)
    finally:
        checkpoints.wait()
        writer.close()
    return int(state.step)


def check_cameras(source: DataSource, config: ConfigDict) -> None:
    """Raises a ValueError when the config wants cameras that the data set does not know."""
    losses = dict(config.stage.shape.losses) | dict(config.stage.joint.losses)
    wants = config.model.camera.kind == "given" or config.model.camera.predict or losses.get("camera", 0)
    if source.camera_kind == "unknown" and wants:
        raise ValueError(
            f"{source.root}: knows no cameras; set config.model.camera.kind=candidates and config.model.camera.predict="
            "False, and take the loss 'camera' out."
        )


def _run(
    state: TrainState,
    batches: Iterator[Batch],
    steps: "_StepTable",
    stages: tuple[Stage, ...],
    config: ConfigDict,
    mesh: jax.sharding.Mesh,
    checkpoints: Checkpoints,
    writer: MetricWriter,
    stop: StopRequest,
) -> TrainState:
    by_batch = jax.NamedSharding(mesh, jax.P("data"))
    start, num_steps = int(state.step), total_steps(stages)
    bar = tqdm(total=num_steps, initial=start, unit="step", disable=None, mininterval=1.0, file=sys.stdout)
    meter = _Meter(config.batch_size)
    for step in range(start, num_steps):
        asked = stop.agreed(step)
        if asked or (step > start and step % config.checkpoint_every == 0):
            checkpoints.save(state)
        if asked:
            raise Preempted(f"asked to stop, saved step {step}; the same command goes on from there.")
        with meter.waiting():
            batch = jax.tree.map(lambda x: jax.make_array_from_process_local_data(by_batch, x), next(batches))
        stage = stage_at(stages, step)
        state, metrics = steps.get(stage, step)(state, batch)
        meter.count()
        if (step + 1) % config.log_every == 0 or step + 1 == num_steps:
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()} | meter.read()
            writer.write(step + 1, metrics)
            steps.check(metrics, step, batch)
            bar.set_postfix_str(f"{stage.name} loss {metrics['loss']:.3f} {metrics['images_per_second']:.0f} img/s")
            if bar.disable:
                logging.info("step %d/%d %s loss %.4f", step + 1, num_steps, stage.name, metrics["loss"])
        bar.update()
    bar.close()
    return state


class _StepTable:
    """The compiled step of each stage and phase, built when first needed."""

    def __init__(self, graphdef, optimizer, config: ConfigDict, mesh: jax.sharding.Mesh, num_steps: int):
        self._args = (graphdef, optimizer, config)
        self._mesh, self._num_steps = mesh, num_steps
        # Unknown cameras: pose and shape take turns, as in the released AST code and Unicorn.
        self._phases = ("pose", "shape") if config.model.camera.kind == "candidates" else ("shape",)
        self._steps: dict[tuple[str, str], TrainStep] = {}
        self._skipped = 0

    def get(self, stage: Stage, step: int) -> TrainStep:
        """The train step for step number ``step``."""
        phase = self._phases[step % len(self._phases)]
        if (stage.name, phase) not in self._steps:
            config = self._args[2]
            stage, perceptual = _with_perceptual(stage, config)
            self._steps[stage.name, phase] = make_train_step(
                *self._args,
                stage,
                mesh=self._mesh,
                num_steps=self._num_steps,
                phase=phase,
                perceptual=perceptual,
            )
        return self._steps[stage.name, phase]

    def check(self, metrics: dict, step: int, batch: Batch) -> None:
        """Stop a run that cannot recover; the state saved last is sound."""
        self._skipped = self._skipped + 1 if metrics["skipped"] else 0
        if self._skipped >= MAX_SKIPPED:
            raise RuntimeError(
                f"loss or gradient not finite at {MAX_SKIPPED} logged steps in a row, last at step {step} "
                f"with the samples {np.asarray(batch.index).tolist()}; lower config.optimizer.learning_rate, "
                "or look at those samples."
            )


def _with_perceptual(stage: Stage, config: ConfigDict) -> tuple[Stage, PerceptualNetwork | None]:
    """The network of the perceptual term; without its weights the stage goes on without the term, and says so."""
    if "perceptual" not in dict(stage.losses):
        return stage, None
    name = config.perceptual.network
    if find_perceptual_weights(name) is None and not config.perceptual.required:
        message = "stage %s trains without its perceptual term: no weights of %s here; get them with %s"
        logging.warning(message, stage.name, name, INSTALL_COMMAND)
        return replace(stage, losses=tuple(term for term in stage.losses if term[0] != "perceptual")), None
    return stage, load_perceptual(name)


class _Meter:
    """Images per second, and the share of the time that went into waiting for data."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._reset()

    def _reset(self) -> None:
        self._start, self._steps, self._waited = time.perf_counter(), 0, 0.0

    def waiting(self) -> "_Meter":
        return self

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_) -> None:
        self._waited += time.perf_counter() - self._since

    def count(self) -> None:
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Averages since the last reading."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        values = {
            "images_per_second": self._steps * self._batch_size / seconds,
            "data_wait_share": self._waited / seconds,
        }
        self._reset()
        return values
