"""Which machine this is, how much memory it has left, and whether a process on it still runs."""

import functools
import hashlib
import os
import socket
from collections.abc import Iterator
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


def available_memory(root: str | Path = "/") -> int | None:
    """Bytes of memory that this process can still have, swap included; None where the system does not tell.

    The least of what the machine has left and of what the control groups allow that the process is in, as containers
    and schedulers set them.

    Args:
      root: of ``proc`` and ``sys``, for tests.
    """
    root = Path(root)
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        left = 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return max(0, min([left, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each control group above this process leaves; pages of files count as free, for they can be dropped."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mount, limit, usage, cached = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            mount, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        # In a container the path may be that outside of it, where the mount shows the group itself.
        folder = root / mount / path.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(root / mount):
                break
            try:
                stat = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
                left = int((group / limit).read_text()) - int((group / usage).read_text())
                yield left + int(stat.get(cached, 0))
            except (OSError, ValueError):  # none here, or "max"
                continue
