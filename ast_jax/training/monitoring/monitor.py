"""What a run says of itself: progress, metrics, what its programs cost, its parameters, pictures."""

import time
from contextlib import AbstractContextManager
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jaxtyping import Int
from PIL import Image

from ast_jax.batch import Batch
from ast_jax.data.pipeline import DataSource
from ast_jax.files.writing import replacing, write_text
from ast_jax.process.watchdog import Watchdog
from ast_jax.training.compiled import CompiledFunction
from ast_jax.training.monitoring.metrics import MetricWriter
from ast_jax.training.monitoring.overview import parameter_table, size_of
from ast_jax.training.monitoring.preview import make_preview, preview_strips
from ast_jax.training.monitoring.progress import Progress
from ast_jax.training.monitoring.provenance import note_start
from ast_jax.training.monitoring.utilisation import model_flop_utilisation, peak_flops
from ast_jax.training.multiplex import GROUP
from ast_jax.training.program import Program
from ast_jax.training.stages import Stage
from ast_jax.training.state import TrainState, count_parameters

PARAMETERS_FILE = "parameters.md"
# A step's speed is that of so many steps after its first, which holds the compilation.
_TIMED_STEPS = 5


class Monitor:
    """Takes part in every turn of the loop; only the first process shows and writes anything.

    Args:
      workdir: the run.
      program: what is run.
      source: of the pictures that are learned from.
      state: at the start.
    """

    def __init__(self, workdir: str | Path, program: Program, *, source: DataSource, state: TrainState):
        self._workdir, self._program = Path(workdir), program
        self._is_first = jax.process_index() == 0
        self._writer = MetricWriter(workdir, enabled=self._is_first)
        start, config = int(state.step), program.config
        self._progress = Progress(program.num_steps, start, config.batch_size)
        self._timings: dict[str, list[float]] = {}
        self._watchdog = Watchdog(lambda sample: f"{sample} ({source.ids[source.object_of[sample]]})")
        self._preview = self._gather = None
        logging.info(
            "%d training objects, %s parameters, steps %d to %d",
            len(source.ids),
            f"{count_parameters(state.params):,}",
            start,
            program.num_steps,
        )
        self._write_parameters(state, start)
        if self._is_first:
            note_start(workdir, start)

    def waiting(self) -> AbstractContextManager[None]:
        """Around what fetches a batch."""
        return self._progress.waiting()

    def stepped(
        self, done: int, stage: Stage, step: CompiledFunction, metrics: dict, samples: Int[np.ndarray, " n"]
    ) -> None:
        """After every step.

        Args:
          done: steps that the run has now.
          stage: that the step belongs to.
          step: that was run.
          metrics: on the devices.
          samples: numbers of the samples that this process gave.

        Raises:
          Diverged: too many steps in a row were not finite.
        """
        self._watchdog.note(done - 1, metrics["skipped"], samples)
        self._progress.advance()
        self._time(done, step, metrics)
        config = self._program.config
        if done % config.log_every and done != self._program.num_steps:
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        values |= self._progress.report(done, stage.name, values["loss"])
        if self._watchdog.total:
            values["skipped_steps"] = self._watchdog.total
        self._writer.write(done, values)

    def validated(self, done: int, metrics: dict[str, float], state: TrainState, batch: Batch) -> None:
        """After a validation: its metrics, and pictures of the first samples of its first batch."""
        self._writer.write(done, metrics)
        logging.info("step %d %s", done, " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        params = state.params if state.average is None else state.average
        if self._preview is None:
            layout = self._program.layout
            # Every process takes part in bringing weights and pictures together; the first one draws.
            self._gather = jax.jit(lambda tree: tree, out_shardings=layout.replicated)
            self._preview = make_preview(self._program.graphdef, self._program.config)
        params, batch = jax.tree.map(lambda x: x.addressable_data(0), self._gather((params, batch)))
        if not self._is_first:
            return
        picture = preview_strips(self._preview, params, batch)
        self._writer.image(done, "preview", picture)
        folder = self._workdir / "figures"
        folder.mkdir(exist_ok=True)
        with replacing(folder / "preview.png") as partial:
            Image.fromarray(picture).save(partial, format="PNG")

    def finish(self) -> None:
        """After the last step; raises as `stepped` does, or an OSError where metrics could not be written."""
        self._watchdog.finish()
        self._writer.finish()

    def close(self) -> None:
        """Write what is left."""
        self._progress.close()
        self._writer.close()

    def _time(self, done: int, step: CompiledFunction, metrics: dict) -> None:
        """Say once what a step costs: at its first run the compilation, some runs later how fast it is."""
        times = self._timings.setdefault(step.name, [])
        if len(times) > _TIMED_STEPS:
            return
        jax.block_until_ready(metrics)
        times.append(time.perf_counter())
        if len(times) == 1:
            logging.info("%s", step.stats.describe())
            self._writer.write(done, {"compile_seconds": step.stats.seconds})
        if len(times) == _TIMED_STEPS + 1:
            # Where pose and shape take turns, two steps lie between two runs of one of them.
            steps = len(self._program.phases) * (len(times) - 1)
            self._log_utilisation(done, step, (times[-1] - times[0]) / steps)

    def _log_utilisation(self, done: int, step: CompiledFunction, seconds: float) -> None:
        if step.stats.flops is None:
            return
        mesh = self._program.layout.mesh
        device = mesh.devices.flat[0]
        # Fake devices share the cores of one CPU: its peak is there once.
        count = 1 if device.platform == "cpu" else mesh.size
        share = model_flop_utilisation(step.stats.flops, seconds, count, peak_flops(device))
        logging.info(
            "%s: %.3f s a step, %.1f %% of the devices' peak (loops, such as the renderer's, counted once)",
            step.name,
            seconds,
            100 * share,
        )
        self._writer.write(done, {"step_seconds": seconds, "model_flop_utilisation": share})

    def _write_parameters(self, state: TrainState, start: int) -> None:
        named = state.params if state.multiplex is None else {**state.params, GROUP: {"motion": state.multiplex.motion}}
        table = parameter_table(named)
        sizes = size_of(state.held)
        table += f"\n\nWith optimizer: {sizes.total:,} bytes, {sizes.per_device:,} on a device."
        if self._is_first:
            write_text(self._workdir / PARAMETERS_FILE, table + "\n")
        self._writer.text(start, "parameters", table)
