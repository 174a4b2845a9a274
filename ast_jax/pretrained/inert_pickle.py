"""An interpreter of pickles that runs nothing that they contain.

A pickle is a small program that may call any importable function. Here the interpreter can name only the few
globals that arrays and dictionaries need, each replaced by an inert stand-in of this file; any other name is
refused. Neither torch nor the package that wrote the file is imported.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ast_jax.files.limits import check_memory

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
        self.code, self.order = text_of(code), "="

    def __setstate__(self, state):
        self.order = text_of(state[1]).replace("|", "=")

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
            _whole_numbers(self.shape), order=text_of(self.order)
        )


def _resolved(dtype) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a type")
    return dtype.resolve()


@dataclass(frozen=True)
class Storage:
    """What a tensor is a window of: its name in the file, type, and the first element of the window's view."""

    key: str
    dtype: np.dtype
    start: int


class Tensor:
    """Stands in for ``torch.Tensor``: a strided window into a storage that may come later."""

    def __init__(self, storage, offset, size, stride, *unused):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def resolve(self, read_storage: Callable[[Storage], np.ndarray]) -> np.ndarray:
        if not isinstance(self.storage, Storage):
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


def text_of(value) -> str:
    """Only what is text: other things may be made such that to write them out takes for ever."""
    if not isinstance(value, str):
        raise ValueError(f"it has a {type(value).__name__} where text was expected")
    return value


def _encode(text, encoding):
    if encoding not in ENCODINGS:
        raise ValueError("it has bytes in a rare encoding")
    return text_of(text).encode(encoding)


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
    "_rebuild_tensor": Tensor,
    "_rebuild_tensor_v2": Tensor,
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
        return Storage(text_of(key), _STORAGE_DTYPES[storage_type], start)


class Resolver:
    """Replaces every stand-in of a loaded tree by the array that it describes."""

    def __init__(self, read_storage: Callable[[Storage], np.ndarray]):
        self.read_storage, self.nodes, self.num_bytes = read_storage, 0, 0

    def __call__(self, node):
        self.nodes += 1
        if self.nodes > MAX_NODES:  # lists that hold each other twice grow without end
            raise ValueError(TOO_MANY)
        if isinstance(node, dict):
            return {key: self(value) for key, value in dict.items(node)}
        if isinstance(node, (list, tuple)):
            return type(node)(self(value) for value in node)
        if isinstance(node, (Tensor, _Array, _Buffer)):
            array = node.resolve(self.read_storage) if isinstance(node, Tensor) else node.resolve()
            self.num_bytes += array.nbytes  # whoever uses the arrays copies them, those that share a storage, too
            check_memory("its arrays", self.num_bytes)
            return array
        if node is None or isinstance(node, (str, bytes, int, float, bool)):
            return node
        raise ValueError(f"it holds a {type(node).__name__.lstrip('_')} where an array was expected")


def unpickled(file: io.BytesIO):
    """What the next pickle of a file holds, stand-ins in it.

    Raises:
      Exception: anything at all where the pickle is broken; a ValueError where it names a global that is not known.
    """
    return _RestrictedUnpickler(file).load()
