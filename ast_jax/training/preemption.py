"""A scheduler that wants the machine back sends a signal: the run saves, and ends with a code that says so."""

import signal
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# Processes ask each other whether one of them was signalled; not at every step, for that waits for the slowest.
AGREE_EVERY = 10


class Preempted(Exception):
    """The run was asked to stop, and has saved."""


class StopRequest:
    """Notes a signal while it is entered; the step that is under way is finished first."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def agreed(self, step: int) -> bool:
        """Whether some process was signalled; the same answer in all of them at the same step.

        Args:
          step: the next one to train.
        """
        if jax.process_count() == 1:
            return self._asked
        if step % AGREE_EVERY:
            return False
        return bool(np.any(multihost_utils.process_allgather(np.array(self._asked))))
