"""Nodes and constants of an ONNX file; the same operation of the same arrays is written once."""

import itertools
from typing import Any, NamedTuple

import numpy as np

# Constants of at least so many numbers are stored in half precision where that loses nothing.
_LARGE = 256


class Value(NamedTuple):
    """An array of the graph; its shape may still have to be broadcast to that of the variable."""

    name: str
    shape: tuple[int, ...]


class Graph:
    """Nodes and constants so far; of the step of a scan, which knows what was known before, the nodes are apart."""

    def __init__(self, onnx, outer: "Graph | None" = None):
        self.onnx, self.nodes = onnx, []
        self.constants = [] if outer is None else outer.constants
        self._count = itertools.count() if outer is None else outer._count
        self._stored: dict[Any, str] = {} if outer is None else outer._stored
        self._known: dict[Any, str] = {} if outer is None else dict(outer._known)

    def new_name(self) -> str:
        """One that is nowhere else."""
        return f"v{next(self._count)}"

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        """The first output of a node; of one that is there already, if it does the same."""
        key = (operator, inputs, tuple(sorted((k, str(v)) for k, v in attributes.items())))
        if key not in self._known:
            self._known[key] = name = self.new_name()
            self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], **attributes))
        return self._known[key]

    def constant(self, array) -> str:
        """An array that is always the same."""
        array = np.ascontiguousarray(array)
        half = array.astype(np.float16) if array.dtype == np.float32 and array.size >= _LARGE else None
        if half is not None and np.array_equal(half.astype(np.float32), array):
            return self.add("Cast", self._store(half), to=self.onnx.TensorProto.FLOAT)
        return self._store(array)

    def numbers(self, values) -> str:
        """Axes, shapes and the like."""
        return self._store(np.asarray(values, np.int64))

    def cast(self, name: str, dtype) -> str:
        return self.add("Cast", name, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _store(self, array: np.ndarray) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._stored:
            self._stored[key] = name = self.new_name()
            self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return self._stored[key]

    def reshape(self, value: Value, shape) -> Value:
        shape = tuple(int(side) for side in shape)
        return value if shape == value.shape else Value(self.add("Reshape", value.name, self.numbers(shape)), shape)

    def transpose(self, value: Value, order) -> Value:
        shape = tuple(value.shape[axis] for axis in order)
        moving = [axis for axis in order if value.shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshape(value, shape)
        return Value(self.add("Transpose", value.name, perm=[int(axis) for axis in order]), shape)

    def expand(self, value: Value, shape) -> Value:
        shape = tuple(shape)
        return value if shape == value.shape else Value(self.add("Expand", value.name, self.numbers(shape)), shape)

    def part(self, value: Value, starts, ends, steps=None) -> Value:
        steps = [1] * len(value.shape) if steps is None else steps
        shape = tuple(-(-(end - start) // step) for start, end, step in zip(starts, ends, steps))
        if shape == value.shape:
            return value
        axes = [axis for axis in range(len(shape)) if shape[axis] != value.shape[axis]]
        bounds = [self.numbers([column[axis] for axis in axes]) for column in (starts, ends)]
        name = self.add("Slice", value.name, *bounds, self.numbers(axes), self.numbers([steps[axis] for axis in axes]))
        return Value(name, shape)
