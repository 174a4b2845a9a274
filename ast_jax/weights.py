"""Read pretrained weights from untrusted files without running anything that they contain.

A pickle is a small program that may call any importable function. Here the interpreter can name only the few
globals that arrays and dictionaries need, each replaced by an inert stand-in of this file; any other name is
refused. Neither torch nor the package that wrote the file is imported.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np

# First pickle of torch's pre-1.6 files (torch/serialization.py, MAGIC_NUMBER).
_TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_LEGACY_PROTOCOL = 1001

_STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_PLAIN_KINDS = "fiub"  # float, signed, unsigned, bool: nothing that holds a Python object


class _Dtype:
    """Stands in for ``numpy.dtype`` while a pickle is read."""

    def __init__(self, code, align=False, copy=False):
        self.code, self.order = str(code), "="

    def __setstate__(self, state):
        self.order = {"|": "="}.get(state[1], state[1])

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.code).newbyteorder(self.order)
        if dtype.kind not in _PLAIN_KINDS:
            raise ValueError(f"an array of dtype {self.code!r} is not plain numbers")
        return dtype


class _Array:
    """Stands in for ``numpy.ndarray``; its state is checked before numpy sees it."""

    def __init__(self, *unused):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def resolve(self) -> np.ndarray:
        _, shape, dtype, is_fortran, content = self.state
        if isinstance(content, str):
            content = content.encode("latin1")
        flat = np.frombuffer(content, dtype.resolve())
        return flat.reshape(shape, order="F" if is_fortran else "C").copy()


class _Buffer:
    """Stands in for the result of numpy's protocol 5 ``_frombuffer`` and of its ``scalar``."""

    def __init__(self, content, dtype, shape=(), order="C"):
        self.content, self.dtype, self.shape, self.order = content, dtype, shape, order

    def resolve(self) -> np.ndarray:
        content = self.content.encode("latin1") if isinstance(self.content, str) else bytes(self.content)
        return np.frombuffer(content, self.dtype.resolve()).reshape(self.shape, order=self.order).copy()


class _Tensor:
    """Stands in for ``torch.Tensor``: a strided window into a storage that may come later."""

    def __init__(self, storage, offset, size, stride, *unused):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def resolve(self, read_storage: Callable[[str, np.dtype], np.ndarray]) -> np.ndarray:
        key, dtype, start = self.storage
        flat, first = read_storage(key, dtype), start + self.offset
        if len(self.size) != len(self.stride) or min((first, *self.size, *self.stride), default=0) < 0:
            raise ValueError("a tensor with a negative or inconsistent layout")
        last = first + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if math.prod(self.size) and last >= flat.size:
            raise ValueError(f"a tensor of shape {tuple(self.size)} reaches beyond its storage of {flat.size}")
        strides = [step * dtype.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(flat[first:], self.size, strides, writeable=False).copy()


def _encode(text, encoding):
    return str(text).encode(encoding)


def _rebuild_parameter(tensor, *unused):
    return tensor


_NUMPY_GLOBALS = {
    "_reconstruct": lambda *unused: _Array(),
    "_frombuffer": _Buffer,
    "scalar": lambda dtype, content: _Buffer(content, dtype),
    "ndarray": _Array,
    "dtype": _Dtype,
}
_NUMPY_MODULES = (
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
)
_TORCH_GLOBALS = {
    "_rebuild_tensor": _Tensor,
    "_rebuild_tensor_v2": _Tensor,
    "_rebuild_parameter": _rebuild_parameter,
}


class _Inert:
    """What the interpreter gets for an allowed name: callable, with no attribute that a pickle could set."""

    __slots__ = ("_function",)

    def __init__(self, function):
        object.__setattr__(self, "_function", function)

    def __call__(self, *args):
        return self._function(*args)

    def __setattr__(self, name, value):
        raise ValueError("the file tries to change an allowed function")

    __setstate__ = None


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows arrays, tensors, dictionaries and nothing else."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("_codecs", "encode"):
            return _Inert(_encode)
        if module in _NUMPY_MODULES and name in _NUMPY_GLOBALS:
            return _Inert(_NUMPY_GLOBALS[name])
        if module == "torch._utils" and name in _TORCH_GLOBALS:
            return _Inert(_TORCH_GLOBALS[name])
        if module == "torch" and name in _STORAGE_DTYPES:
            return name
        raise ValueError(f"it names the global {module}.{name}, which is not an array or a dictionary")

    def persistent_load(self, identifier):
        """(kind, storage type, key, device, count[, view]) -> key, dtype, first element of the view."""
        kind, storage_type, key, _, _, *view = identifier
        if kind != "storage" or storage_type not in _STORAGE_DTYPES:
            raise ValueError(f"it refers to {kind!r} of type {storage_type!r} outside the pickle")
        start = int(view[0][1]) if view and view[0] else 0
        return str(key), _STORAGE_DTYPES[storage_type], start


def _resolve(node, read_storage):
    """Replace every stand-in of a loaded tree by the array that it describes."""
    if isinstance(node, dict):
        return {key: _resolve(value, read_storage) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_resolve(value, read_storage) for value in node)
    if isinstance(node, _Tensor):
        return node.resolve(read_storage)
    if isinstance(node, (_Array, _Buffer)):
        return node.resolve()
    if node is None or isinstance(node, (str, bytes, int, float, bool)):
        return node
    raise ValueError(f"it holds a {type(node).__name__.lstrip('_')} where an array was expected")


def _no_storage(key, dtype):
    raise ValueError("it is a torch file inside a plain pickle")


def _read_zip(file) -> dict:
    """torch >= 1.6: a zip with one pickle and one member per storage."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("a zip without exactly one data.pkl is not a torch file")
        prefix = pickles[0].removesuffix("data.pkl")
        if prefix + "byteorder" in names and archive.read(prefix + "byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        tree = _RestrictedUnpickler(io.BytesIO(archive.read(pickles[0]))).load()
        return _resolve(tree, lambda key, dtype: np.frombuffer(archive.read(f"{prefix}data/{key}"), dtype))


def _read_legacy(file) -> dict:
    """torch < 1.6: five pickles, then each storage as a count and its raw elements."""
    if _RestrictedUnpickler(file).load() != _TORCH_LEGACY_MAGIC:
        raise ValueError("it is neither a zip nor a legacy torch file")
    protocol, system = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    if protocol != _TORCH_LEGACY_PROTOCOL or not system.get("little_endian", False):
        raise ValueError("its legacy torch header is not one that this reader knows")
    tree, keys = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    dtypes = {}
    _collect_dtypes(tree, dtypes)
    storages = {}
    for key in map(str, keys):
        if key not in dtypes:
            raise ValueError(f"storage {key} belongs to no tensor")
        count = int.from_bytes(file.read(8), "little")
        content = file.read(count * dtypes[key].itemsize)
        storages[key] = np.frombuffer(content, dtypes[key], count)
    return _resolve(tree, lambda key, dtype: storages[key])


def _collect_dtypes(node, dtypes: dict) -> None:
    """Note the element type of each storage that some tensor of the tree uses."""
    if isinstance(node, _Tensor):
        dtypes[node.storage[0]] = node.storage[1]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        _collect_dtypes(child, dtypes)


def _read(path: str | Path, reader: Callable, what: str) -> dict:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the path of {what}")
    try:
        with path.open("rb") as file:
            return reader(file)
    except Exception as error:  # a broken pickle may raise anything at all
        raise ValueError(f"{path} cannot be read as {what}: {error}") from error


def read_pickle(path: str | Path) -> dict:
    """The tree of numpy arrays in a plain pickle, without running any code of the file.

    Args:
      path: written by ``pickle.dump``: nested dicts, lists and tuples of numpy arrays and plain values.
    Returns:
      the same tree; every ``OrderedDict`` is a ``dict``.
    Raises:
      ValueError: the file is absent, damaged, or names a global that is not an array or a dictionary.
    """
    return _read(path, lambda file: _resolve(_RestrictedUnpickler(file).load(), _no_storage), "a pickle of arrays")


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
    reader = _read_zip if zipfile.is_zipfile(path) else _read_legacy
    return _read(path, reader, "a torch state dict")
