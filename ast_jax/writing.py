"""Files appear as a whole or not at all: written beside their place, then renamed into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    Args:
      path: the file to make or to replace; its folder exists.

    Yields:
      where to write; in the same folder, so that the renaming is one operation of the file system.

    Raises:
      OSError: the folder cannot be written to, or the disk is full; ``path`` is then what it was before.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, UTF-8, as a whole or not at all; raises OSError as :func:`replacing` does."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file as a whole or not at all; raises OSError as :func:`replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(content)
