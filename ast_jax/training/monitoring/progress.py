"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere."""

import datetime
import io
import shutil
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import jax
from absl import logging
from tqdm import tqdm

# The speed that the time left is computed from is the median over so many reports: the first holds the compilation,
# others a save or an evaluation.
_REMEMBERED_REPORTS = 9
# Ours tells the time left, tqdm's would count the compilation.
_BAR_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Meter:
    """Images per second, and the share of the time that went into waiting for data."""

    def __init__(self, batch_size: int, *, clock: Callable[[], float] = time.perf_counter):
        """Start now.

        Args:
          batch_size: images of one step in all processes.
          clock: seconds.
        """
        self._batch_size, self._clock = batch_size, clock
        self._reset()

    def _reset(self) -> None:
        self._start, self._steps, self._waited = self._clock(), 0, 0.0

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Around what fetches a batch."""
        since = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - since

    def count(self) -> None:
        """A step is done."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Averages since the last reading: ``images_per_second`` and ``data_wait_share``."""
        seconds = max(self._clock() - self._start, 1e-9)
        values = {
            "images_per_second": self._steps * self._batch_size / seconds,
            "data_wait_share": self._waited / seconds,
        }
        self._reset()
        return values


class Progress:
    """Shows how far a run is: stage, loss, images per second, time left. Only process 0 shows anything.

    Example:
      >>> progress = Progress(num_steps, start, config.batch_size)
      >>> for step in range(start, num_steps):
      ...     with progress.waiting():
      ...         batch = next(batches)
      ...     state, metrics = train_step(state, batch)
      ...     progress.advance()
      ...     if (step + 1) % log_every == 0:
      ...         metrics |= progress.report(step + 1, stage.name, float(metrics["loss"]))
      >>> progress.close()
    """

    def __init__(
        self,
        total: int,
        start: int,
        batch_size: int,
        *,
        stream: io.TextIOBase | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        """Open the bar where ``stream`` is a terminal.

        Args:
          total: steps of the whole run.
          start: steps that were done before.
          batch_size: images of one step in all processes.
          stream: of the bar; None is the standard output.
          clock: seconds.
        """
        stream = sys.stdout if stream is None else stream  # ty: ignore[invalid-assignment]
        self._total, self._batch_size = total, batch_size
        self._meter = Meter(batch_size, clock=clock)
        self._is_shown = jax.process_index() == 0
        self._speeds: deque[float] = deque(maxlen=_REMEMBERED_REPORTS)
        has_bar = self._is_shown and stream.isatty()
        options = dict(total=total, initial=start, mininterval=1.0, bar_format=_BAR_FORMAT, file=stream)
        # Some terminals, as of containers, say that they are 0 wide and high; tqdm would show nothing.
        width = dict(dynamic_ncols=True) if shutil.get_terminal_size((0, 0)).columns else dict(ncols=80, nrows=20)
        self._bar = tqdm(**options, **width) if has_bar else None

    def waiting(self) -> AbstractContextManager[None]:
        """A context around what fetches a batch."""
        return self._meter.waiting()

    def advance(self) -> None:
        """A step is done."""
        self._meter.count()
        if self._bar is not None:
            self._bar.update()

    def report(self, step: int, stage: str, loss: float) -> dict[str, float]:
        """Show the state of the run.

        Args:
          step: steps that are done.
          stage: its name.
          loss: of the last step.

        Returns:
          averages since the last report, for the metrics: ``images_per_second`` and ``data_wait_share``.
        """
        rates = self._meter.read()
        self._speeds.append(rates["images_per_second"])
        speed = rates["images_per_second"]
        text = f"{stage} loss {loss:.4f} {speed:.{0 if speed >= 10 else 1}f} img/s"
        left = f"eta {self._time_left(step)}"
        if self._bar is not None:
            self._bar.set_postfix_str(f"{text} {left}")
        elif self._is_shown:
            waits = f"waits {100 * rates['data_wait_share']:.1f} %"
            logging.info("step %d/%d %s %s %s", step, self._total, text, left, waits)
        return rates

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self._bar is not None:
            self._bar.close()

    def _time_left(self, step: int) -> str:
        speed = statistics.median(self._speeds)
        if speed <= 0:
            return "unknown"
        seconds = (self._total - step) * self._batch_size / speed
        return str(datetime.timedelta(seconds=round(seconds)))
