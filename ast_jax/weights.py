"""Read pretrained weights from untrusted files without running anything that they contain.

A pickle is a small program that may call any importable function. Here the interpreter can name only the few
globals that arrays and dictionaries need, each replaced by an inert stand-in of this file; any other name is
refused. Neither torch nor the package that wrote the file is imported.
"""

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from ast_jax.limits import check_memory, check_zip

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
# Of a tensor (torch's own limit); of all that a file holds.
MAX_DIMENSIONS, MAX_NODES = 64, 300_000
TOO_MANY = f"it has more than {MAX_NODES:,} arrays, lists and numbers"
ENCODINGS = ("latin1", "latin-1", "utf-8", "ascii")
_PLAIN_KINDS = "fiub"  # float, signed, unsigned, bool: nothing that holds a Python object


class _Dtype:
    """Stands in for ``numpy.dtype`` while a pickle is read."""

    def __init__(self, code, align=False, copy=False):
        self.code, self.order = _text(code), "="

    def __setstate__(self, state):
        self.order = _text(state[1]).replace("|", "=")

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
        flat = np.frombuffer(content, _resolved(dtype))
        return flat.reshape(_whole_numbers(shape), order="F" if is_fortran else "C")


class _Buffer:
    """Stands in for the result of numpy's protocol 5 ``_frombuffer`` and of its ``scalar``."""

    def __init__(self, content, dtype, shape=(), order="C"):
        self.content, self.dtype, self.shape, self.order = content, dtype, shape, order

    def resolve(self) -> np.ndarray:
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, _resolved(self.dtype)).reshape(
            _whole_numbers(self.shape), order=_text(self.order)
        )


def _resolved(dtype) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a type")
    return dtype.resolve()


@dataclass(frozen=True)
class _Storage:
    """What a tensor is a window of: its name in the file, type, and the first element of the window's view."""

    key: str
    dtype: np.dtype
    start: int


class _Tensor:
    """Stands in for ``torch.Tensor``: a strided window into a storage that may come later."""

    def __init__(self, storage, offset, size, stride, *unused):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def resolve(self, read_storage: Callable[[_Storage], np.ndarray]) -> np.ndarray:
        if not isinstance(self.storage, _Storage):
            raise ValueError("a tensor without a storage")
        size, stride = (_whole_numbers(numbers) for numbers in (self.size, self.stride))
        (offset,) = _whole_numbers((self.offset,))
        flat, first, dtype = read_storage(self.storage), self.storage.start + offset, self.storage.dtype
        if len(size) != len(stride) or first < 0:
            raise ValueError("a tensor with a negative or inconsistent layout")
        last = first + sum((n - 1) * step for n, step in zip(size, stride))
        # No window has more elements than its storage: else a file of no size would ask for any memory.
        if math.prod(size) and (last >= flat.size or math.prod(size) > flat.size):
            raise ValueError(f"a tensor of shape {size} reaches beyond its storage of {flat.size}")
        if math.prod(size) == 0:
            return np.zeros(size, dtype)
        strides = [step * dtype.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(flat[first:], size, strides, writeable=False)


def _whole_numbers(numbers) -> tuple[int, ...]:
    """A shape or the like: whole numbers from 0 on, few and below 2^62."""
    if not isinstance(numbers, (tuple, list)) or len(numbers) > MAX_DIMENSIONS:
        raise ValueError("a tensor whose layout is no list of a few numbers")
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError("a tensor with a negative or inconsistent layout")
    return tuple(numbers)


def _text(value) -> str:
    """Only what is text: other things may be made such that to write them out takes for ever."""
    if not isinstance(value, str):
        raise ValueError(f"it has a {type(value).__name__} where text was expected")
    return value


def _encode(text, encoding):
    if encoding not in ENCODINGS:
        raise ValueError("it has bytes in a rare encoding")
    return _text(text).encode(encoding)


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


class _Dict(OrderedDict):
    """Stands in for ``OrderedDict``; a file may set attributes of it, which nobody reads."""

    def __init__(self, pairs=()):
        super().__init__()
        for key, value in pairs:
            self[_key(key)] = value


def _key(key):
    """A key of a dictionary: to hash tuples that hold each other twice takes for ever."""
    if not isinstance(key, (str, int, float, bool, bytes, type(None))):
        raise ValueError(f"a dictionary has a {type(key).__name__} as a key")
    return key


class _RestrictedUnpickler(pickle._Unpickler):
    """An unpickler that knows arrays, tensors, dictionaries and nothing else.

    The one in Python: that in C keeps its memory in a list as long as the largest number that the file names.
    """

    dispatch = {
        key: function
        for key, function in pickle._Unpickler.dispatch.items()
        if key not in b"".join((pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.INST, pickle.OBJ))
    }

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self):
        self._set(self.pop_mark())

    def load_dict(self):
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("it sets items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2]):
            target[_key(key)] = value

    def load_bytearray8(self):
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    dispatch[pickle.SETITEM[0]], dispatch[pickle.SETITEMS[0]] = load_setitem, load_setitems
    dispatch[pickle.DICT[0]], dispatch[pickle.BYTEARRAY8[0]] = load_dict, load_bytearray8

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return _Inert(_Dict)
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
        """(kind, storage type, key, device, count[, view])."""
        if not isinstance(identifier, tuple) or len(identifier) < 5:
            raise ValueError("it refers to something outside the pickle that is no storage")
        kind, storage_type, key, _, _, *view = identifier
        if kind != "storage" or not isinstance(storage_type, str) or storage_type not in _STORAGE_DTYPES:
            raise ValueError("it refers to something outside the pickle that is no storage")
        (start,) = _whole_numbers((view[0][1],)) if view and view[0] else (0,)
        if type(key) is int:
            key = str(key)
        return _Storage(_text(key), _STORAGE_DTYPES[storage_type], start)


class _Resolver:
    """Replaces every stand-in of a loaded tree by the array that it describes."""

    def __init__(self, read_storage: Callable[[_Storage], np.ndarray]):
        self.read_storage, self.nodes, self.num_bytes = read_storage, 0, 0

    def __call__(self, node):
        self.nodes += 1
        if self.nodes > MAX_NODES:  # lists that hold each other twice grow without end
            raise ValueError(TOO_MANY)
        if isinstance(node, dict):
            return {key: self(value) for key, value in dict.items(node)}
        if isinstance(node, (list, tuple)):
            return type(node)(self(value) for value in node)
        if isinstance(node, (_Tensor, _Array, _Buffer)):
            array = node.resolve(self.read_storage) if isinstance(node, _Tensor) else node.resolve()
            self.num_bytes += array.nbytes  # whoever uses the arrays copies them, those that share a storage, too
            check_memory("its arrays", self.num_bytes)
            return array
        if node is None or isinstance(node, (str, bytes, int, float, bool)):
            return node
        raise ValueError(f"it holds a {type(node).__name__.lstrip('_')} where an array was expected")


def _unpickled(file: io.BytesIO):
    """What the next pickle of a file holds, stand-ins in it."""
    return _RestrictedUnpickler(file).load()


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

        def read_storage(storage: _Storage) -> np.ndarray:
            if storage.key not in contents:
                contents[storage.key] = archive.read(f"{prefix}data/{storage.key}")
            return np.frombuffer(contents[storage.key], storage.dtype)

        return _Resolver(read_storage)(_unpickled(io.BytesIO(archive.read(pickles[0]))))


def _read_legacy(path: Path) -> dict:
    """torch < 1.6: five pickles, then each storage as a count and its raw elements."""
    file = _content(path)
    if _unpickled(file) != _TORCH_LEGACY_MAGIC:
        raise ValueError("it is neither a zip nor a legacy torch file")
    protocol, system = _unpickled(file), _unpickled(file)
    if protocol != _TORCH_LEGACY_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian", False):
        raise ValueError("its legacy torch header is not one that this reader knows")
    tree, keys = _unpickled(file), _unpickled(file)
    places: dict[str, int] = {}
    dtypes = _storage_dtypes(tree)
    content = file.getbuffer()
    place = file.tell()
    for key in keys:
        if _text(key) not in dtypes:
            raise ValueError(f"storage {key} belongs to no tensor")
        places[key] = place
        place += 8 + int.from_bytes(content[place : place + 8], "little") * dtypes[key].itemsize
        if place > len(content):
            raise ValueError(f"storage {key} is cut short")

    def read_storage(storage: _Storage) -> np.ndarray:
        start = places[storage.key]
        return np.frombuffer(content, storage.dtype, int.from_bytes(content[start : start + 8], "little"), start + 8)

    return _Resolver(read_storage)(tree)


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
        if isinstance(node, _Tensor) and isinstance(node.storage, _Storage):
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
    return _read(path, lambda path: _Resolver(_no_storage)(_unpickled(_content(path))), "a pickle of arrays")


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
