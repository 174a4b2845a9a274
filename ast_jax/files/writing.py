"""Files appear as a whole or not at all: written beside their place, then renamed into it."""

import os
import re
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ast_jax.machine import is_alive, machine

_PARTIAL = re.compile(r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.partial", re.DOTALL)
_LONGEST_NAME = 100  # bytes of a name that its partial file repeats: file systems take 255 in all
_ABANDONED_SECONDS = 24 * 3600  # chosen: no file takes a day to write; for those of other machines


@contextmanager
def replacing(path: str | Path) -> Generator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    What was written is on the disk before it is renamed, so that a power cut leaves the old file or the new one.

    Args:
      path: the file to make or to replace; its folder exists.

    Yields:
      where to write; in the same folder, so that the renaming is one operation of the file system.

    Raises:
      OSError: the folder cannot be written to, or the disk is full; ``path`` is then what it was before.
    """
    path = Path(path)
    name = os.fsencode(path.name)[:_LONGEST_NAME].decode(errors="ignore")
    # Process ids repeat from machine to machine, and threads may write the same file.
    partial = path.with_name(f".{name}.{machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        _name(error, path, str(partial))
        raise
    finally:
        partial.unlink(missing_ok=True)


def check_can_be_written(path: str | Path) -> None:
    """Raises a ValueError where a file cannot be written: known before the work, not after it."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file.")
    try:
        _try_to_write(path.parent)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); name another file.") from error


def make_writable_folder(folder: str | Path) -> None:
    """Make a folder; raises a ValueError where it cannot be made or written to: known before the work, not after it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _try_to_write(folder)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written to ({error.strerror}); name another folder.") from error


def _try_to_write(folder: str | Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b" ")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, UTF-8, as a whole or not at all; raises OSError as :func:`replacing` does."""
    write_bytes(path, text.encode())


def write_texts(folder: str | Path, contents: dict[str, str]) -> list[Path]:
    """Write text files by their names; what a killed process left in the folder is removed first.

    Args:
      folder: made where it is not there.
      contents: of each file.

    Returns:
      the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, below=False)
    for name, text in contents.items():
        write_text(folder / name, text)
    return [folder / name for name in contents]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file as a whole or not at all; raises OSError as :func:`replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def append_lines(path: str | Path, text: str) -> None:
    """Append whole lines to a file; where an earlier append was cut short, what is left of it is removed first.

    Args:
      path: made where it is not there.
      text: lines, the last one ends, too.

    Raises:
      OSError: the disk is full; the file is then what it was before, or ends in a line that the next call mends.
    """
    with open(path, "a+b", buffering=0) as file:
        end = _end_of_lines(file)
        if end < file.seek(0, os.SEEK_END):
            file.truncate(end)
        content = memoryview(text.encode())
        try:
            while content:
                content = content[file.write(content) :]
        except OSError as error:
            file.truncate(end)
            _name(error, path)
            raise


def _name(error: OSError, path: str | Path, *others: str) -> None:
    """Let an error say which file it is about: where the disk is full, the system does not."""
    if error.errno is not None and error.filename in (None, *others):
        error.filename = str(path)


def _end_of_lines(file) -> int:
    """Where the last whole line ends, bytes from the start."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def remove_leftovers(folder: str | Path, *, below: bool = True) -> None:
    """Remove partial files whose process is dead: it was killed while it wrote them.

    Args:
      folder: where; it may be missing.
      below: in the folders below, too.
    """
    for path in Path(folder).glob("**/.*.partial" if below else ".*.partial"):
        match = _PARTIAL.fullmatch(path.name)
        if match is None:
            continue
        try:
            ours, age = match["machine"] == machine(), time.time() - path.stat().st_mtime
            if not is_alive(int(match["pid"])) if ours else age > _ABANDONED_SECONDS:
                path.unlink()
        except OSError:  # somebody else was faster, or may, and we may not
            continue
