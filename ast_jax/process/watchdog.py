"""Stops a run that cannot recover: several steps in a row whose loss or gradient is not finite."""

from collections import deque
from typing import Any

import jax
import numpy as np

MAX_SKIPPED = 3
# A step's verdict is read when two more are under way: reading it at once would make the devices wait for the host.
DELAY = 2


class Diverged(RuntimeError):
    """The run cannot go on; its state is sound."""


class Watchdog:
    """Counts the steps that were skipped.

    Args:
      names: of the samples, for the message: sample number -> text.
    """

    def __init__(self, names: Any = str):
        self._names = names
        self._pending: deque[tuple[int, Any, np.ndarray]] = deque()
        self._row: list[tuple[int, list[str]]] = []
        self.total = 0

    def note(self, step: int, skipped: Any, samples: np.ndarray) -> None:
        """Take down a step, and judge those of some steps ago.

        Args:
          step: number of the step.
          skipped: its metric, still on the device.
          samples: numbers of its samples, of this process.

        Raises:
          Diverged: ``MAX_SKIPPED`` steps in a row were skipped; names them and their samples.
        """
        self._pending.append((step, skipped, samples))
        while len(self._pending) > DELAY:
            self._judge(*self._pending.popleft())

    def finish(self) -> None:
        """Judge all that is left; raises as `note` does."""
        while self._pending:
            self._judge(*self._pending.popleft())

    def _judge(self, step: int, skipped: Any, samples: np.ndarray) -> None:
        if not jax.device_get(skipped):
            self._row.clear()
            return
        self.total += 1
        self._row.append((step, [self._names(sample) for sample in samples.tolist()]))
        if len(self._row) >= MAX_SKIPPED:
            steps = "; ".join(f"step {number}: {', '.join(names)}" for number, names in self._row)
            raise Diverged(
                f"loss or gradient not finite at {MAX_SKIPPED} steps in a row, which changed nothing; the state before "
                f"them is saved. Lower config.optimizer.learning_rate, or look at their samples ({steps})."
            )
