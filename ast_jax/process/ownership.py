"""One owner of a folder at a time: a file in it says which process that is, on this machine or another.

The file is made in one operation that fails where it exists, which network file systems keep to, and its owner renews
it every few seconds. A lock of the kernel would go with its process, but many network file systems grant one to each
host. Who finds the file asks whether its owner lives: on the same machine the system tells, on another one the file is
watched for a while.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from absl import logging

from ast_jax.machine import is_alive, machine, start_of

FILE_NAME = "owner.json"
RENEW_SECONDS = 10.0
# An owner on another machine that has not renewed its file for so long, while we watched, is dead.
WATCH_SECONDS = 60.0
# Nobody needs to watch a file of this age: longer than clocks of machines differ, and than a network stalls.
OLD_SECONDS = 1800.0
_POLL_SECONDS = 0.2


class AlreadyOwned(ValueError):
    """Another process is at work in the folder."""


@dataclass(frozen=True)
class Owner:
    """Who is at work in a folder.

    Args:
      host: name of the machine, for people.
      machine: as of `process.machine`.
      pid: of the process.
      start: as of `process.start_of`.
      since: local time, for people.
      token: of this ownership, like no other.
    """

    host: str
    machine: str
    pid: int
    start: str
    since: str
    token: str

    @classmethod
    def of_process(cls, pid: int) -> "Owner":
        """A process of this machine, from now on."""
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), machine(), pid, start_of(pid), since, uuid.uuid4().hex)

    def is_process(self, pid: int) -> bool:
        """Whether it is this process of this machine."""
        return (self.machine, self.pid, self.start) == (machine(), pid, start_of(pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def owning(folder: str | Path, *, wait: bool = False) -> Generator[None]:
    """Be the one process at work in a folder; within the same process it may be entered again.

    Args:
      folder: made where it is not there.
      wait: until another owner is done; False: refuse.

    Raises:
      AlreadyOwned: another process is at work there; one line that says which.
      OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = _read(folder)
    if found is not None and found.is_process(os.getpid()) and found.token in _HELD:
        yield
        return
    token = claim(folder, wait=wait).token
    _HELD.add(token)
    ended = threading.Event()
    renewer = threading.Thread(target=_renew, args=(folder, token, ended), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        _HELD.discard(token)
        release(folder, token)


# Tokens of what this process owns and renews.
_HELD: set[str] = set()


def check_owned(folder: str | Path) -> None:
    """Before anything is written that another owner must not find changed.

    Raises:
      RuntimeError: this process slept, or could not reach the folder, for so long that another one has taken it.
    """
    found = _read(Path(folder))
    if found is None or found.token not in _HELD:
        raise RuntimeError(
            f"{folder}: was taken over by {found or 'somebody'}, since this process gave no sign of life for a while; "
            "it stops without writing anything more."
        )


def claim(folder: Path, *, wait: bool = False) -> Owner:
    """Make this process the owner, until `release`; arguments and errors as for `owning`.

    A file that another process made for this one, as `hand_over` does, is kept.
    """
    announced = False
    while True:
        found = _read(folder)
        if found is not None and found.is_process(os.getpid()):
            return found
        owner = Owner.of_process(os.getpid())
        if _create(folder, owner):
            return owner
        if not (folder / FILE_NAME).exists():
            continue  # given back a moment ago
        if not _lives(folder, found) and _replace(folder, found, owner):
            return owner
        if not wait:
            raise AlreadyOwned(f"{folder}: {found or 'another process'} is at work there; wait for it, or stop it.")
        if not announced:
            logging.info("%s: waiting for %s", folder, found or "another process")
            announced = True
        time.sleep(_POLL_SECONDS)


def hand_over(folder: Path, owner: Owner, pid: int) -> Owner:
    """Make a child process, just started, the owner in place of this one."""
    child = replace(owner, pid=pid, start=start_of(pid))
    _overwrite(folder / FILE_NAME, child)
    return child


def release(folder: Path, token: str) -> None:
    """Give the folder back, unless another process has it by now."""
    found = _read(folder)
    if found is not None and found.token == token:
        with suppress(OSError):
            (folder / FILE_NAME).unlink()


def is_owned(folder: str | Path) -> bool:
    """Whether a process is at work in a folder, as far as can be told at once."""
    path, found = Path(folder) / FILE_NAME, _read(Path(folder))
    if found is not None and found.machine == machine():
        return is_alive(found.pid, found.start)
    return _age(path) < WATCH_SECONDS


def _lives(folder: Path, found: Owner | None) -> bool:
    """Whether the owner that was found lives; one on another machine is watched, which takes a while if it is dead."""
    path = folder / FILE_NAME
    if found is not None and found.machine == machine():
        return is_alive(found.pid, found.start)
    if _age(path) > OLD_SECONDS:
        return False
    logging.info("%s: is %s still at work? Looking for %.0f s at most.", folder, found or "its owner", WATCH_SECONDS)
    first, end = _stamp(path), time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        if _stamp(path) != first:
            return True  # renewed, or gone and made anew: look again
        time.sleep(_POLL_SECONDS)
    return False


def _stamp(path: Path) -> tuple | None:
    """Changes whenever the file is renewed; opened, for network file systems ask the server only then."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
    except OSError:
        return None


def _age(path: Path) -> float:
    stamp = _stamp(path)
    return float("inf") if stamp is None else time.time() - stamp[0] / 1e9


def _read(folder: Path) -> Owner | None:
    """Who the file names; None where there is none, or it was cut short by a crash."""
    try:
        return Owner(**json.loads((folder / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _create(folder: Path, owner: Owner) -> bool:
    """Make the file; False where there is one."""
    try:
        descriptor = os.open(folder / FILE_NAME, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "w") as file:
            file.write(json.dumps(asdict(owner)) + "\n")
    except OSError:
        (folder / FILE_NAME).unlink(missing_ok=True)
        raise
    return True


def _replace(folder: Path, dead: Owner | None, owner: Owner) -> bool:
    """Take the place of a dead owner; False where somebody else was faster."""
    with _alone(folder):
        if _read(folder) != dead:
            return False
        (folder / FILE_NAME).unlink(missing_ok=True)
        return _create(folder, owner)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """For the moment of taking over: two processes must not both find the same dead owner and the second remove the
    first. Where the file system has no locks that moment is short, and `check_owned` notices."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _overwrite(path: Path, owner: Owner) -> None:
    partial = path.with_name(f"{path.name}.{owner.token}")
    partial.write_text(json.dumps(asdict(owner)) + "\n")
    os.replace(partial, path)


def _renew(folder: Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        found = _read(folder)
        if found is not None and found.token == token:
            with suppress(OSError):
                os.utime(folder / FILE_NAME)
