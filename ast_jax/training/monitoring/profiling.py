"""A trace of a few steps, for TensorBoard's profiler, XProf or Perfetto."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from absl import logging


class ProfileWindow:
    """Traces the steps ``first`` to ``stop - 1`` of a run into a folder.

    Steps have the run's own numbers: a run that resumes within the window traces what is left of it, one that resumes
    behind it traces nothing.

    Args:
      steps: ``"first:stop"``, or ``""`` for no trace.
      folder: receives ``plugins/profile/<time>``; made when needed.
      all_hosts: every process traces, each into a folder of its own; else only process 0.

    Raises:
      ValueError: steps is not of this form or an empty range.

    Example:
      >>> with ProfileWindow("10:15", workdir / "profile") as profile:
      ...     for step in range(start, num_steps):
      ...         with profile.step(step, state):
      ...             state, metrics = train_step(state, next(batches))
      ...     profile.close(state)
    """

    def __init__(self, steps: str, folder: str | Path, *, all_hosts: bool = False):
        self._first, self._stop = _parse(steps)
        self._folder = Path(folder)
        if all_hosts and jax.process_count() > 1:  # processes on one host would overwrite each other's files
            self._folder = self._folder / f"process{jax.process_index()}"
        if not all_hosts and jax.process_index() != 0:
            self._first = self._stop = 0
        self._is_tracing = self._has_traced = False

    def __enter__(self) -> "ProfileWindow":
        return self

    def __exit__(self, *_) -> None:
        self._end()

    @contextmanager
    def step(self, step: int, results: Any = None) -> Generator[None]:
        """One step of the run; starts or ends the trace where the window does.

        Args:
          step: number of the step that is done inside.
          results: of the steps before, such as the state. They are waited for before the trace starts and before it
            ends, so that it holds whole steps and no others.
        """
        if self._is_tracing and step >= self._stop:
            self.close(results)
        if not self._is_tracing and self._first <= step < self._stop:
            jax.block_until_ready(results)
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = self._has_traced = True
        if not self._is_tracing:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield

    def close(self, results: Any = None) -> None:
        """End the trace if one is under way, after the results are there; says so when no step was in the window."""
        if self._is_tracing:
            jax.block_until_ready(results)
        elif self._stop and not self._has_traced:
            logging.warning("profile_steps=%d:%d: this run did none of these steps.", self._first, self._stop)
            self._stop = 0
        self._end()

    def _end(self) -> None:
        if self._is_tracing:
            self._is_tracing = False
            jax.profiler.stop_trace()
            logging.info("trace of steps %d to %d: %s", self._first, self._stop - 1, self._folder)


def _parse(steps: str) -> tuple[int, int]:
    """First step and the step after the last; (0, 0) for none."""
    if not steps:
        return 0, 0
    match = re.fullmatch(r"(\d+):(\d+)", steps)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(
            f"profile_steps={steps!r}: give the first step and the one after the last, such as 10:15, or nothing."
        )
    return int(match[1]), int(match[2])
