"""Which machine this is, and whether a process on it still runs."""

import functools
import hashlib
import os
import socket
from pathlib import Path


@functools.cache
def machine() -> str:
    """Eight hexadecimal digits of the place in which process ids mean something.

    Another host, another start of it, or a container with process ids of its own is another place.
    """
    parts = [socket.gethostname()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(), lambda: os.readlink("/proc/self/ns/pid")):
        try:
            parts.append(read())
        except OSError:  # not Linux: the name of the host has to do
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def start_of(pid: int) -> str:
    """When a process of this machine started, in the system's own ticks; empty where that cannot be known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # proc(5): the second field is the name in parentheses, which may hold anything; starttime is the 22nd.
    return stat.rpartition(")")[2].split()[19]


def is_alive(pid: int, start: str = "") -> bool:
    """Whether a process of this machine runs.

    Args:
      pid: its number.
      start: as of `start_of`; where it is given, a later process with the same number is not taken for it.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        state = ""
    if state == "Z":  # it has ended, and nobody has asked how
        return False
    return not (start and start_of(pid) and start_of(pid) != start)
