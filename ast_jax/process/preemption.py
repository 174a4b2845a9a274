"""A scheduler that wants the machine back sends a signal: the run saves, and ends with a code that says so.

jax.distributed has a handler of its own for SIGTERM, in C++, from its start to the end of the process: it notes the
signal and does nothing else, so that a process outside of its training loop could only be killed. `cluster.initialize`
switches it off. Where someone else has called jax.distributed.initialize, the handlers below replace it while they are
entered, and the system's default follows.
"""

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
    """Notes a signal while it is entered; the step that is under way is finished first.

    Left by `Preempted` it goes on noting them until the process ends: schedulers signal the processes of a run one
    after the other, and a process that died of its late signal would take the save of all others with it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind is not None and issubclass(kind, Preempted):
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def agreed(self, step: int) -> bool:
        """Whether some process was signalled; the same answer in all of them at the same step.

        Every process has to ask at the same steps. However many are signalled, and whenever, the first common question
        after the first signal stops all.

        Args:
          step: the next one to train.
        """
        if jax.process_count() == 1:
            return self._asked
        if step % AGREE_EVERY:
            return False
        return bool(np.any(multihost_utils.process_allgather(np.array(self._asked))))
