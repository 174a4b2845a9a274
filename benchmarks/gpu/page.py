"""The page as it is written, and the processes that write it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.gpu.parts import Part

# Of the memory of a GPU: PyTorch's renderers want some, too.
_MEMORY = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6"}
# Characters of an error that fit into a line of the page.
_LONGEST = 300


class Page:
    """Prints lines, and appends each to a file at once.

    Args:
        path: of the file, which begins anew; empty for none.
    """

    def __init__(self, path: str):
        self._path = Path(path) if path else None
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("")

    def __call__(self, line: str = "") -> None:
        print(line, flush=True)
        if self._path:
            with self._path.open("a") as file:
                file.write(line + "\n")


def run_part(page: Page, part: Part, seconds: float, *, tiny: bool, folder: Path) -> bool:
    """Runs a part in a process of its own; what it prints goes on the page, and so does what went wrong.

    Args:
        page: the page.
        part: what to run.
        seconds: after which it is ended.
        tiny: a trial.
        folder: of the measurement; receives what the part writes to its standard error, too.

    Returns:
        Whether it came to its end.
    """
    if seconds < 1:
        page("Not begun: the time is up.")
        return False
    log = folder / f"{part.name}.log"
    command = [sys.executable, "-m", part.module, *(part.tiny if tiny else part.options)]
    if part.is_ours:
        # It has a little less time than its process, to say what it leaves out.
        command += [f"--workdir={folder}", f"--seconds={seconds - 5:.0f}", f"--tiny={tiny}"]
    start = time.monotonic()
    with log.open("w") as errors:
        code, is_late = _run(page, command, errors, seconds)
    took = time.monotonic() - start
    page()
    if is_late:
        page(f"**Ended after {took:.0f} s: its time was up.**")
    elif code:
        page(f"**Failed** after {took:.0f} s, exit code {code}: `{_last_line(log)}`; all of it: {log}.")
    else:
        page(f"{took:.0f} s.")
    return not is_late and not code


def _run(page: Page, command: list[str], errors, seconds: float) -> tuple[int, bool]:
    """Exit code, and whether the time was up."""
    late = threading.Event()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=_MEMORY | os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # ended together with the processes that it starts
    )

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        for line in process.stdout:
            page(line.rstrip("\n"))
        return process.wait(), late.is_set()
    finally:
        timer.cancel()
        _kill(process)


def _kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_LONGEST].replace("`", "'") if lines else "it said nothing"
