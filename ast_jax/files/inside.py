"""Paths that stand in files: they stay inside the folder of the data set."""

from pathlib import Path, PureWindowsPath

# Of one name in a folder, bytes: what Linux, macOS and Windows can store.
MAX_NAME = 255


def inside(root: str | Path, relative: str | Path) -> Path:
    """The path of a file that a list, an archive or an index names, below its folder.

    What is looked at is the text: links that the user made inside the folder may lead anywhere, as they do on clusters;
    those in archives are never made (see ``archives``).

    Args:
      root: the folder.
      relative: what the file says; ``/`` or a backslash between names.

    Raises:
      ValueError: absolute, climbing with ``..``, empty, or nothing that can name a file.
    """
    text = str(relative)
    path = PureWindowsPath(text)  # knows both kinds of slashes, and drives
    if path.is_absolute() or path.drive or path.root or ".." in path.parts:
        raise ValueError(f"{root}: refused, {text!r} leads outside of it.")
    if not path.parts or "\0" in text or not all(0 < _length(part) <= MAX_NAME for part in path.parts):
        raise ValueError(f"{root}: {text[:80]!r} cannot name a file.")
    return Path(root) / text


def _length(part: str) -> int:
    """Bytes that the file system gets; 0 where there is half a character in it."""
    try:
        return len(part.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return 0
