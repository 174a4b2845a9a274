"""Several processes of one run on this machine, for tests that need real ones."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ast_jax.process.outcome import EXIT_CODE

ROOT = Path(__file__).resolve().parents[2]
# Processes side by side share a cache of compiled programs: the fewer they write, the less one reads half-written.
_ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}


@dataclass(frozen=True)
class Finished:
    """How a process ended: its exit code (negative: the signal) and what it wrote to stdout and stderr."""

    code: int
    output: str


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def by_hand(port: int, count: int, index: int) -> list[str]:
    """The flags that make a launch script process ``index`` of ``count``."""
    return [f"--coordinator=localhost:{port}", f"--num_processes={count}", f"--process_id={index}"]


class Processes:
    """Starts processes on entering and leaves none behind.

    Args:
      commands: arguments of Python, one list per process, such as ``["-m", "launch.train", ...]``.
      environments: variables of each process beside those of this one; None: no others.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]] | None = None):
        self._commands = [[sys.executable, *command] for command in commands]
        self._environments = environments or [{}] * len(commands)
        self._processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Processes":
        self._folder = tempfile.TemporaryDirectory()
        for index, (command, environment) in enumerate(zip(self._commands, self._environments, strict=True)):
            # A file cannot fill up and block its process, as a pipe can.
            with open(self._file(index), "w") as file:
                self._processes.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env={**os.environ, **_ENVIRONMENT, **environment},
                    )  # fmt: skip
                )
        return self

    def __exit__(self, *_) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._folder.cleanup()

    def _file(self, index: int) -> Path:
        return Path(self._folder.name) / f"{index}.txt"

    def output(self, index: int) -> str:
        """What a process has written so far."""
        return self._file(index).read_text(errors="replace")

    def signal(self, index: int, number: int) -> None:
        """Send a signal to one of them."""
        self._processes[index].send_signal(number)

    def wait_for(self, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait until something is so; an AssertionError with all output if one process ends before, or time is up."""
        deadline = time.monotonic() + timeout
        while not condition():
            ended = [index for index, process in enumerate(self._processes) if process.poll() is not None]
            assert not ended and time.monotonic() < deadline, f"{ended} ended\n{self._everything()}"
            time.sleep(0.05)

    def wait(self, *, timeout: float) -> list[Finished]:
        """Wait for all to end. One that fails takes the rest with it: they would wait for it for minutes."""
        deadline = time.monotonic() + timeout
        while None in (codes := [process.poll() for process in self._processes]):
            assert time.monotonic() < deadline, f"still running after {timeout} s\n{self._everything()}"
            if any(code not in (None, 0, EXIT_CODE) for code in codes):
                for process in self._processes:
                    process.kill()
            time.sleep(0.05)
        return [Finished(process.returncode, self.output(i)) for i, process in enumerate(self._processes)]

    def _everything(self) -> str:
        return "\n".join(f"--- process {i}\n{self.output(i)[-3000:]}" for i in range(len(self._processes)))


def run(
    commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]] | None = None, *, timeout: float = 120
) -> list[Finished]:
    """Start processes and wait for them; see `Processes`."""
    with Processes(commands, environments) as processes:
        return processes.wait(timeout=timeout)
