"""Checksums of a finished checkpoint: TensorStore does not notice a byte that changed within the weights."""

import hashlib
import json
from pathlib import Path

from ast_jax.files.writing import write_text

FILE_NAME = "SEAL.json"


def seal(folder: Path) -> None:
    """Note size and SHA-256 of every file below a finished checkpoint."""
    digests = {str(path.relative_to(folder)): _digest(path) for path in _files(folder)}
    write_text(folder / FILE_NAME, json.dumps(digests, indent=1) + "\n")


def is_sealed(folder: Path) -> bool:
    """Whether the save got as far as its seal; without one nothing is known of the files."""
    return (folder / FILE_NAME).is_file()


def broken_file(folder: Path) -> str | None:
    """The first file that is not what it was when the checkpoint was sealed, or None if all are."""
    try:
        digests = dict(json.loads((folder / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return FILE_NAME
    if not digests:
        return FILE_NAME
    for name, digest in digests.items():
        try:
            found = _digest(folder / name)
        except OSError:  # gone, or no file
            return name
        if found != digest:
            return name
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE_NAME)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"
