"""Flags of `python -m benchmarks.gpu` and of its parts, which may also be started alone, and the clock they keep."""

import time
from pathlib import Path

from absl import flags

_TINY = flags.DEFINE_bool("tiny", False, "So small that a CPU core can do it: a trial of the kit, no measurement.")
_SECONDS = flags.DEFINE_float("seconds", 480.0, "After which nothing more is begun; what is left out is named.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/gpu", "Folder for data, runs, logs and traces.")
_START = time.monotonic()


def is_tiny() -> bool:
    """Whether this is a trial on a CPU."""
    return _TINY.value


def seconds_left() -> float:
    """Until the time is up, counted from the start of this process."""
    return _SECONDS.value - (time.monotonic() - _START)


def folder() -> Path:
    """The folder of this measurement, made if need be."""
    path = Path(_WORKDIR.value)
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(line: str = "") -> None:
    """A line of the page, at once: the part may be ended at any time."""
    print(line, flush=True)
