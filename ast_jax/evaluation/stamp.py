"""What measured chunks depend on, as hashes: the same path and step may hold something else the next time."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ast_jax.data.store import object_path

# Whatever prepares a data set anew writes these; the manifest says where each object comes from.
_DATA_FILES = ("dataset.json", "manifest.jsonl", "settings.json")


def hash_files(paths: Iterable[Path]) -> str:
    """One SHA-256 of the names and contents of files; those that are not there count as such.

    Args:
      paths: in an order that is always the same.
    """
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if path.is_file() else b"absent"
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def hash_dataset(root: Path, ids: Iterable[str]) -> str:
    """One SHA-256 of a prepared data set: its index files, and the sizes of its objects' files.

    Args:
      root: folder of the data set.
      ids: of the objects that are measured.
    """
    digest = hashlib.sha256(hash_files(root / name for name in _DATA_FILES).encode())
    for object_id in ids:
        path = object_path(root, object_id)
        digest.update(f"{object_id} {path.stat().st_size if path.is_file() else -1}\n".encode())
    return digest.hexdigest()
