"""Broken files made of good ones, and the bounds within which a reader has to answer."""

import copy
import json
import random
import re
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Of one file of a few kilobytes: seconds, and bytes of address space beside what the process has.
MOST_SECONDS, MOST_MEMORY = 20.0, 2**30
# Written over numbers in binary files.
EXTREMES = [b"\0" * 8, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\x40"]
# Written for numbers in text.
NUMBERS = [
    b"-1",
    b"0",
    b"1e9",
    b"-1e300",
    b"nan",
    b"inf",
    b"4294967295",
    b"99999999999",
    b"9" * 5000,
    b"x",
    b"",
    b"1e-320",
]
_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?")
_VALUES = [
    None,
    True,
    -1,
    0,
    1e9,
    1e300,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "../x",
    "\ud800",
    [],
    {},
    [[]],
    "9" * 5000,
]

Change = tuple[int, int, int]


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where the system has such: thousands of small files are written."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


class Hang(BaseException):
    """Not an Exception: readers catch those."""


def try_each(check: Callable[[int], None], examples: int) -> None:
    """Calls a check with so many seeds of mutations, always the same; what it raises says which seed it was.

    A loop, for hypothesis takes longer to draw and to keep a number than most readers take for their file.
    """
    rng = random.Random(0)
    for seed in (rng.randrange(2**63) for _ in range(examples)):
        try:
            check(seed)
        except BaseException as error:
            error.add_note(f"It was the mutation with the seed {seed}.")
            raise


def _changes(seed: int) -> list[Change]:
    rng = random.Random(seed)
    return [(rng.randrange(7), rng.randrange(2**31), rng.randrange(2**16)) for _ in range(rng.randrange(1, 5))]


def mutate(content: bytes, changes: list[Change]) -> bytes:
    """Bytes flipped, cut, inserted, doubled, moved; sizes and numbers made extreme."""
    for kind, place, amount in changes:
        place, length = place % (len(content) + 1), amount % 64 + 1
        head, tail = content[:place], content[place:]
        if kind == 0 and tail:  # one byte
            content = head + bytes([tail[0] ^ (amount % 255 + 1)]) + tail[1:]
        elif kind == 1:
            content = head if amount % 2 else head + tail[length:]
        elif kind == 2:
            content = head + bytes([amount % 256]) * length + tail
        elif kind == 3:
            content = head + tail[:length] * (amount % 5 + 2) + tail[length:]
        elif kind == 4:
            number = EXTREMES[amount % len(EXTREMES)]
            content = head + number + tail[len(number) :]
        elif kind == 5:
            found = list(_NUMBER.finditer(content, place)) or list(_NUMBER.finditer(content))
            if found:
                match = found[amount % min(len(found), 8)]
                content = content[: match.start()] + NUMBERS[amount % len(NUMBERS)] + content[match.end() :]
        elif kind == 6:
            other = amount % (len(content) + 1)
            content = head + content[other : other + length] + tail[length:]
    return content


def mutate_json(content: bytes, changes: list[Change]) -> bytes:
    """Values, somewhere in the tree, exchanged for others, left out, or doubled."""
    value = json.loads(content)
    for kind, place, amount in changes:
        spots = list(_spots(value))
        if not spots:
            break
        parent, key = spots[place % len(spots)]
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, parent[key])
        elif kind == 2:
            for _ in range(amount % 300):
                parent[key] = [parent[key]]
        else:
            parent[key] = copy.deepcopy(_VALUES[amount % len(_VALUES)])
    return json.dumps(value).encode()


def _spots(value) -> Iterator[tuple]:
    """Every place in a tree, as its parent and the key."""
    nodes = [value]
    while nodes:
        node = nodes.pop()
        if isinstance(node, (dict, list)):
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                yield node, key
                nodes.append(node[key])


@contextmanager
def bounds() -> Iterator[None]:
    """Address space and time are limited; what hangs ends with `Hang`."""

    def stop(*_):
        raise Hang(f"no answer within {MOST_SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def feed(files: list[Path], read: Callable[[], object], examples: int, change=mutate, named: bool = True) -> int:
    """Reads mutations of good files, one file changed at a time; only results and ValueErrors are right.

    Args:
      files: the good ones; they are good again at the end.
      read: reads them, to the last object.
      examples: how many mutations.
      change: `mutate` or `mutate_json`.
      named: each message has the folder of the files in it.

    Returns:
      How many were refused: a test that feeds nothing but good files, or only such as are, proves little.
    """
    good = {path: path.read_bytes() for path in files}
    refused, broken = 0, files[0]

    def run(seed: int) -> None:
        nonlocal refused, broken
        path = files[seed % len(files)]
        if broken != path:
            broken.write_bytes(good[broken])
            broken = path
        path.write_bytes(change(good[path], _changes(seed)))
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        try:
            read()
        except ValueError as error:
            refused += 1
            assert not named or str(files[0].parent) in str(error), f"which file is it? {error}"
            chain = error
            while chain is not None:
                assert not isinstance(chain, MemoryError), f"memory was taken before it was known to be enough: {error}"
                chain = chain.__cause__
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    read()
    with bounds():
        try_each(run, examples)
    broken.write_bytes(good[broken])
    return refused
