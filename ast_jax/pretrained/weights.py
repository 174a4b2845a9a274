"""Read pretrained weights from untrusted files without running anything that they contain: see `inert_pickle`."""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ast_jax.files.limits import check_memory, check_zip
from ast_jax.pretrained.inert_pickle import MAX_NODES, TOO_MANY, Resolver, Storage, Tensor, text_of, unpickled

# First pickle of torch's pre-1.6 files (torch/serialization.py, MAGIC_NUMBER).
_TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_LEGACY_PROTOCOL = 1001


def _no_storage(storage):
    raise ValueError("it is a torch file inside a plain pickle")


def _read_zip(path: Path) -> dict:
    """torch >= 1.6: a zip with one pickle and one member per storage."""
    with zipfile.ZipFile(path) as archive:
        check_zip(path, archive.infolist(), os.path.getsize(path))
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("a zip without exactly one data.pkl is not a torch file")
        prefix = pickles[0].removesuffix("data.pkl")
        if prefix + "byteorder" in names and archive.read(prefix + "byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        check_memory(path, sum(info.file_size for info in archive.infolist()))
        contents: dict[str, bytes] = {}

        def read_storage(storage: Storage) -> np.ndarray:
            if storage.key not in contents:
                contents[storage.key] = archive.read(f"{prefix}data/{storage.key}")
            return np.frombuffer(contents[storage.key], storage.dtype)

        return Resolver(read_storage)(unpickled(io.BytesIO(archive.read(pickles[0]))))


def _read_legacy(path: Path) -> dict:
    """torch < 1.6: five pickles, then each storage as a count and its raw elements."""
    file = _content(path)
    if unpickled(file) != _TORCH_LEGACY_MAGIC:
        raise ValueError("it is neither a zip nor a legacy torch file")
    protocol, system = unpickled(file), unpickled(file)
    if protocol != _TORCH_LEGACY_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian", False):
        raise ValueError("its legacy torch header is not one that this reader knows")
    tree, keys = unpickled(file), unpickled(file)
    places: dict[str, int] = {}
    dtypes = _storage_dtypes(tree)
    content = file.getbuffer()
    place = file.tell()
    for key in keys:
        if text_of(key) not in dtypes:
            raise ValueError(f"storage {key} belongs to no tensor")
        places[key] = place
        place += 8 + int.from_bytes(content[place : place + 8], "little") * dtypes[key].itemsize
        if place > len(content):
            raise ValueError(f"storage {key} is cut short")

    def read_storage(storage: Storage) -> np.ndarray:
        start = places[storage.key]
        return np.frombuffer(content, storage.dtype, int.from_bytes(content[start : start + 8], "little"), start + 8)

    return Resolver(read_storage)(tree)


def _storage_dtypes(tree) -> dict[str, np.dtype]:
    """The element type of each storage that some tensor of the tree uses.

    Raises:
      ValueError: two types for one storage.
    """
    dtypes: dict[str, np.dtype] = {}
    nodes, count = [tree], 0
    while nodes:
        node, count = nodes.pop(), count + 1
        if count > MAX_NODES:
            raise ValueError(TOO_MANY)
        if isinstance(node, Tensor) and isinstance(node.storage, Storage):
            if dtypes.setdefault(node.storage.key, node.storage.dtype) != node.storage.dtype:
                raise ValueError(f"storage {node.storage.key} has two types")
        elif isinstance(node, (dict, list, tuple)):
            nodes += dict.values(node) if isinstance(node, dict) else node
    return dtypes


def _content(path: Path) -> io.BytesIO:
    check_memory(path, 2 * os.path.getsize(path))
    return io.BytesIO(path.read_bytes())


def _read(path: str | Path, reader: Callable[[Path], dict], what: str) -> dict:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the path of {what}")
    try:
        tree = reader(path)
        if not isinstance(tree, dict):
            raise ValueError(f"it holds a {type(tree).__name__}, not a dictionary")
        return tree
    except Exception as error:  # a broken pickle may raise anything at all
        reason = str(error).removeprefix(f"{path}: ") or type(error).__name__
        raise ValueError(f"{path} cannot be read as {what}: {reason}") from error


def check_finite(arrays: Mapping[str, np.ndarray], source: str | Path) -> None:
    """Raises a ValueError where a weight is not finite, and names it."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{source}: {name} is no array.")
        if not np.isfinite(array.astype(np.float32)).all():
            raise ValueError(f"{source}: {name} has a number that is not finite; download the file again.")


def read_pickle(path: str | Path) -> dict:
    """The tree of numpy arrays in a plain pickle, without running any code of the file.

    Args:
      path: written by ``pickle.dump``: nested dicts, lists and tuples of numpy arrays and plain values.
    Returns:
      the same tree; every ``OrderedDict`` is a ``dict``.
    Raises:
      ValueError: the file is absent, damaged, or names a global that is not an array or a dictionary.
    """
    return _read(path, lambda path: Resolver(_no_storage)(unpickled(_content(path))), "a pickle of arrays")


def read_torch(path: str | Path) -> dict:
    """The tree of numpy arrays in a file of ``torch.save``, without torch or running any code of the file.

    Reads the zip format (torch >= 1.6) and the older one; tensors on any device come back as numpy arrays.

    Args:
      path: a ``.pth`` or ``.pt`` file of a state dict (or nested dicts, lists and tuples of tensors).
    Returns:
      the same tree with numpy arrays; for a state dict a flat ``dict[str, np.ndarray]``.
    Raises:
      ValueError: the file is absent, damaged, or names a global that is not a tensor or a dictionary.
    Source: layout as in torch/serialization.py (torch 1.5 and 2.x).
    """
    reader = lambda path: _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)  # noqa: E731
    return _read(path, reader, "a torch state dict")
