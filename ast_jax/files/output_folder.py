"""A folder of results in which nothing is replaced but what was written there before."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ast_jax.files.writing import make_writable_folder, remove_leftovers, write_bytes

LOG = "written.sha256"
# File systems take 255 bytes; numbers, suffixes and the names of files that are being written come on top.
MAX_NAME_BYTES = 180
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class OutputFolder:
    """Remembers in ``written.sha256``, as ``sha256sum`` writes it, which files it wrote and how they were.

    A file that is not in there, or has changed since, is the user's.

    Args:
      path: of the folder; made if it is missing.

    Raises:
      ValueError: no such folder can be made, or it has a file ``written.sha256`` of another kind.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._kept: set[str] = set()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be made a folder for the results ({error.strerror}).") from error
        remove_leftovers(self.path, below=False)  # the folder may be the user's, with all that is below it
        self._written = _read_log(self.path / LOG)
        self._names = {name for _, name in self._written}  # spares the reading of most files

    def check_writable(self) -> None:
        """Raises a ValueError where no file can be made in the folder: known before the work, not after it."""
        make_writable_folder(self.path)

    def keep(self, files: Iterable[str | Path]) -> None:
        """Files that are never replaced, even if they were written here: those that are read."""
        self._kept |= {os.path.realpath(file) for file in files}

    def is_ours(self, path: str | Path) -> bool:
        """Whether a file was written here, and is as it was then."""
        path = Path(path)
        if os.path.realpath(path.parent) != os.path.realpath(self.path) or path.is_symlink() or not path.is_file():
            return False
        return path.name in self._names and (_digest(path.read_bytes()), path.name) in self._written

    def is_free(self, name: str) -> bool:
        """Whether a file of this name may be written."""
        path = self.path / name
        if os.path.realpath(path) in self._kept:
            return False
        return not os.path.lexists(path) or self.is_ours(path)

    def write(self, name: str, content: bytes) -> None:
        """Write one file, as a whole or not at all.

        Raises:
          ValueError: there is a file of this name that was not written here.
          OSError: the folder cannot be written to.
        """
        if not self.is_free(name):
            raise ValueError(f"{self.path / name}: was not written by this command; choose another --output.")
        entry = (_digest(content), name)
        if entry not in self._written:  # noted first: a file that is there is then known, whenever the process ends
            with open(self.path / LOG, "a", encoding="utf-8") as log:
                log.write(f"{entry[0]}  {name}\n")
            self._written.add(entry)
            self._names.add(name)
        write_bytes(self.path / name, content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_log(path: Path) -> set[tuple[str, str]]:
    if not path.is_file():
        return set()
    content = path.read_bytes()
    lines = content.decode(errors="replace").split("\n")
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if not all(found):
        raise ValueError(f"{path}: was not written by this command; choose another --output.")
    if lines[-1]:  # cut by a crash
        write_bytes(path, content[: content.rfind(b"\n") + 1])
    return {(match[1], match[2]) for match in found}


def unique_names(files: Sequence[str | Path], is_free: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Names for results: the stem of the file, numbered from the second on where it repeats in whatever case.

    What cannot be in a name, or in text, becomes ``_``; a long one is cut.

    Args:
      files: paths.
      is_free: whether a name may be taken.

    Example:
      >>> unique_names(["a/cup.png", "b/Cup.jpg", "pot.png"])
      ['cup', 'Cup-2', 'pot']
    """
    names, taken = [], set()
    for file in files:
        stem, number = _clean(Path(file).stem), 1
        name = stem
        while _folded(name) in taken or not is_free(name):
            number += 1
            name = f"{stem}-{number}"
        taken.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    """Equal for names that one file system or another takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _clean(stem: str) -> str:
    text = "".join("_" if unicodedata.category(c) in ("Cc", "Cs") or c in '\\/:*?"<>|' else c for c in stem)
    return text.lstrip(".").encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(" .") or "picture"
