"""Runs units on this machine, one on each device at a time, until all are done or somebody wants the machine back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ast_jax.files.writing import write_text
from ast_jax.process.outcome import DONE_FILE, EXIT_CODE
from ast_jax.process.ownership import AlreadyOwned, Owner, claim, hand_over, release
from ast_jax.sweep.units import Unit

LOG_FILE = "log.txt"
FAILED_FILE = "FAILED"  # its text is why
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_LOOK_EVERY = 0.1  # seconds


def find_devices(max_parallel: int = 0) -> list[str | None]:
    """What units can run on at the same time.

    Args:
      max_parallel: at most so many; 0: as many as there are GPUs, one without a GPU.

    Returns:
      ``CUDA_VISIBLE_DEVICES`` of each place; None where there is nothing to choose.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = [name for name in visible.split(",") if name]
    elif shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
        devices = [str(index) for index in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    else:
        devices = []
    return devices[: max_parallel or None] or [None] * (max_parallel or 1)


def run_local(units: Sequence[Unit], *, devices: Sequence[str | None] = (None,), restart: bool = True) -> int:
    """Run the units that are not done; their output goes to ``log.txt`` in their folders.

    SIGTERM, SIGINT and SIGUSR1 are passed on; no unit is started after that.

    Args:
      units: in the order in which to start them.
      devices: as of `find_devices`; as many units run at a time.
      restart: start units again that were stopped from outside and have saved.

    Returns:
      exit code: 0 all are done, 1 some failed, 42 stopped: the same call goes on.
    """
    pool = _Pool(units, devices, restart)
    before = {number: signal.signal(number, pool.note_signal) for number in _SIGNALS}
    try:
        while pool.running or (pool.waiting and not pool.asked):
            pool.start_waiting()
            pool.pass_signal_on()
            pool.settle_ended()
            time.sleep(_LOOK_EVERY)
    finally:
        pool.asked = True
        pool.pass_signal_on()  # an error here, such as a full disk, leaves nothing running behind
        for number, handler in before.items():
            signal.signal(number, handler)
    return pool.exit_code()


class _Pool:
    """Units in four heaps: waiting, running, failed and stopped."""

    def __init__(self, units: Sequence[Unit], devices: Sequence[str | None], restart: bool):
        self.waiting = deque(unit for unit in units if not (unit.folder / DONE_FILE).is_file())
        self.running: dict[subprocess.Popen, tuple[Unit, int, Owner | None]] = {}
        self.failed: list[Unit] = []
        self.stopped: list[Unit] = []
        self.asked = self._told = self._lost = False
        self._devices, self._restart = devices, restart
        self._free = list(range(len(devices)))
        for unit in units:
            if unit not in self.waiting:
                _say(unit, "skipped, it is done")

    def note_signal(self, number: int, frame) -> None:
        """Signal handler; the loop does the rest."""
        self.asked = True

    def start_waiting(self) -> None:
        """A unit on every free device."""
        while self.waiting and self._free and not self.asked:
            unit = self.waiting.popleft()
            try:
                process, owner = _start(unit, self._environment(unit, self._free[0]))
            except AlreadyOwned as error:
                self.failed.append(unit)
                _say(unit, f"left alone, another process is running it ({error})")
                continue
            self.running[process] = unit, self._free.pop(0), owner
            _say(unit, "started")

    def _environment(self, unit: Unit, place: int) -> dict[str, str]:
        """Of a unit at one of the places, the first or a later one of the devices."""
        changed, device = {}, self._devices[place]
        if device is not None:
            changed["CUDA_VISIBLE_DEVICES"] = device
        if len(self._devices) > 1:
            # jax reads cached programs while other processes write them, and does not notice that they are cut short.
            cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", unit.folder.parent / "xla-cache")
            changed["JAX_COMPILATION_CACHE_DIR"] = str(Path(cache) / str(place))
        return os.environ | changed

    def pass_signal_on(self) -> None:
        """Once; a unit takes SIGTERM for a request to save and stop."""
        if self.asked and not self._told:
            self._told = True
            for process in self.running:
                process.terminate()

    def settle_ended(self) -> None:
        """Sort the units whose process has ended."""
        for process in [process for process in self.running if process.poll() is not None]:
            unit, place, owner = self.running.pop(process)
            if owner is not None:
                release(unit.folder, owner.token)
            self._free.append(place)
            # One that was too young, or too far, to save anything dies of the signal, and loses nothing by it.
            died = self.asked and -process.returncode in _SIGNALS
            if process.returncode == 0:
                _say(unit, "done")
            elif process.returncode == EXIT_CODE or died:
                self._settle_stopped(unit)
            else:
                self.failed.append(unit)
                self._lost |= self.asked
                reason = f"exit code {process.returncode}: {_last_line(_log_path(unit))}"
                write_text(unit.folder / FAILED_FILE, reason + "\n")
                _say(unit, f"failed with {reason}")

    def _settle_stopped(self, unit: Unit) -> None:
        if self._restart and not self.asked:
            _say(unit, "was stopped and has saved; it goes on")
            self.waiting.appendleft(unit)
        else:
            _say(unit, "stopped")
            self.stopped.append(unit)

    def exit_code(self) -> int:
        """That a scheduler should start all of this again counts for more than that a unit had failed before."""
        if self.failed:
            print(f"failed: {', '.join(unit.folder.name for unit in self.failed)}", flush=True)
        if (self.stopped or self.waiting) and not self._lost:
            return EXIT_CODE
        return 1 if self.failed else 0


def _start(unit: Unit, environment: dict[str, str]) -> tuple[subprocess.Popen, Owner | None]:
    """The process of a unit, which owns its folder, whatever happens to us.

    Raises:
      AlreadyOwned: another process, perhaps of an earlier sweep that was killed, is at it.
    """
    unit.folder.mkdir(parents=True, exist_ok=True)
    owner = None if _rank() else claim(unit.folder)  # of several processes for one unit the first one owns it
    (unit.folder / FAILED_FILE).unlink(missing_ok=True)
    first, *rest = unit.command
    try:
        with _log_path(unit).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable if first == "python" else first, *rest],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
                preexec_fn=_ignore_interrupt,
            )  # fmt: skip
    except OSError:
        if owner is not None:
            release(unit.folder, owner.token)
        raise
    return process, owner and hand_over(unit.folder, owner, process.pid)


def _ignore_interrupt() -> None:
    """Ctrl-C goes to all processes of a terminal; units hear of it from us, by the signal at which they save."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _rank() -> int:
    """Of this process among those that SLURM starts for one unit."""
    return int(os.environ.get("SLURM_PROCID", 0))


def _log_path(unit: Unit) -> Path:
    """Of several processes for one unit, each has its own, and the first has the usual one."""
    return unit.folder / (f"log-{_rank()}.txt" if _rank() else LOG_FILE)


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _say(unit: Unit, what: str) -> None:
    print(f"{unit.folder.name}: {what}", flush=True)
