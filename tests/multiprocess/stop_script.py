"""Steps without end, until a signal comes; python -m tests.multiprocess.stop_script, with the flags below."""

import sys
import time
from pathlib import Path

import jax
from absl import flags

from ast_jax.process import cluster, runtime
from ast_jax.process.preemption import Preempted, StopRequest

_PORT = flags.DEFINE_integer("port", None, "Of the first process.")
_INDEX = flags.DEFINE_integer("index", None, "Of this process.")
_GO_FILE = flags.DEFINE_string("go_file", None, "The loop begins when it is there.")


def main(argv: list[str]) -> None:
    """Waits for the file, then loops as the training loop does, and takes its time over the last save."""
    cluster.initialize(f"localhost:{_PORT.value}", 2, _INDEX.value)
    print(f"before the loop, {jax.device_count()} devices", flush=True)
    while not Path(_GO_FILE.value).exists():
        time.sleep(0.01)
    try:
        with StopRequest() as stop:
            _steps(stop)
    finally:
        # Whoever is done first waits for the other at its exit, where signals may reach it, too.
        time.sleep(2 if _INDEX.value == 0 else 0)


def _steps(stop: StopRequest) -> None:
    for step in range(sys.maxsize):
        if stop.agreed(step):
            print(f"saving step {step}", flush=True)
            raise Preempted("stopped")
        if step == 15:
            print("in the loop", flush=True)
        time.sleep(0.01)


if __name__ == "__main__":
    runtime.run_main(main)
