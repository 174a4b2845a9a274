"""Operations of jax as an ONNX file, for onnxruntime and browsers: ``pip install "ast-jax[export]"``.

Only the operations that ``ast_jax.export.plain`` leaves and that inference needs are known. A broadcast is left to the
operation that needs it, for ONNX's broadcast like numpy's; the same operation of the same arrays is written once.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core

INSTALL = 'to write ONNX files, pip install "ast-jax[export]"'
# The first set of operators in which all reductions take their axes alike and there are bitwise ones.
_OPSET, _IR_VERSION = 18, 9
# Constants of at least so many numbers are stored in half precision where that loses nothing.
_LARGE = 256

_SAME = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "exp": "Exp", "log": "Log",
    "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sqrt": "Sqrt", "erf": "Erf", "logistic": "Sigmoid",
    "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
_LOGICAL = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor")}
_LOGICAL |= {"not": ("Not", "BitwiseNot")}
_REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
_REDUCTIONS |= {"reduce_prod": "ReduceProd", "reduce_or": "ReduceMax", "reduce_and": "ReduceMin"}


class _Value(NamedTuple):
    """An array of the graph; its shape may still have to be broadcast to that of the variable."""

    name: str
    shape: tuple[int, ...]


class _Graph:
    """Nodes and constants so far; of the step of a scan, which knows what was known before, the nodes are apart."""

    def __init__(self, onnx, outer: "_Graph | None" = None):
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

    def reshape(self, value: _Value, shape) -> _Value:
        shape = tuple(int(side) for side in shape)
        return value if shape == value.shape else _Value(self.add("Reshape", value.name, self.numbers(shape)), shape)

    def transpose(self, value: _Value, order) -> _Value:
        shape = tuple(value.shape[axis] for axis in order)
        moving = [axis for axis in order if value.shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshape(value, shape)
        return _Value(self.add("Transpose", value.name, perm=[int(axis) for axis in order]), shape)

    def expand(self, value: _Value, shape) -> _Value:
        shape = tuple(shape)
        return value if shape == value.shape else _Value(self.add("Expand", value.name, self.numbers(shape)), shape)

    def part(self, value: _Value, starts, ends, steps=None) -> _Value:
        steps = [1] * len(value.shape) if steps is None else steps
        shape = tuple(-(-(end - start) // step) for start, end, step in zip(starts, ends, steps))
        if shape == value.shape:
            return value
        axes = [axis for axis in range(len(shape)) if shape[axis] != value.shape[axis]]
        bounds = [self.numbers([column[axis] for axis in axes]) for column in (starts, ends)]
        name = self.add("Slice", value.name, *bounds, self.numbers(axes), self.numbers([steps[axis] for axis in axes]))
        return _Value(name, shape)


def encode_onnx(plain: core.ClosedJaxpr, inputs: list[str], outputs: list[str], *, metadata: dict[str, str]) -> bytes:
    """The bytes of an ONNX file.

    Args:
      plain: see ``plain_jaxpr``.
      inputs: names of its arguments.
      outputs: names of its results.
      metadata: what the file says of itself.

    Raises:
      ValueError: there is an operation that is not known here, or the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise ValueError(f"the package onnx is not installed: {INSTALL}.") from None
    graph, jaxpr = _Graph(onnx), plain.jaxpr
    values = [_Value(name, variable.aval.shape) for variable, name in zip(jaxpr.invars, inputs)]
    _write_out(graph, plain, values, outputs)
    ends = _described(graph, jaxpr.invars, inputs), _described(graph, jaxpr.outvars, outputs)
    body = onnx.helper.make_graph(graph.nodes, "model", *ends, graph.constants)
    opset = onnx.helper.make_opsetid("", _OPSET)
    model = onnx.helper.make_model(body, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="ast-jax")
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _write_out(graph: _Graph, closed: core.ClosedJaxpr, inputs: list[_Value], outputs: list[str]) -> None:
    """The operations of a function, in order; results get these names."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.invars, inputs))
    values |= {v: _Value(graph.constant(array), np.shape(array)) for v, array in zip(jaxpr.constvars, closed.consts)}

    def read(variable) -> _Value:
        if isinstance(variable, core.Literal):
            array = np.asarray(variable.val, variable.aval.dtype)
            return _Value(graph.constant(array), array.shape)
        return values[variable]

    for equation in jaxpr.eqns:
        found = _convert(graph, equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, found))
    for variable, name in zip(jaxpr.outvars, outputs):
        value = graph.expand(read(variable), variable.aval.shape)
        graph.nodes.append(graph.onnx.helper.make_node("Identity", [value.name], [name]))


def _described(graph: _Graph, variables, names: list[str]) -> list:
    helper = graph.onnx.helper
    kinds = [(v.aval.shape, helper.np_dtype_to_tensor_dtype(v.aval.dtype)) for v in variables]
    return [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in zip(names, kinds)]


def _convert(graph: _Graph, equation, inputs: list[_Value]) -> list[_Value]:
    name = equation.primitive.name
    if name in _SAME:
        return [_elementwise(graph, _SAME[name], *inputs)]
    if name in _ELEMENTWISE:
        return [_ELEMENTWISE[name](graph, equation, *inputs)]
    if name == "scan":
        return _scan(graph, equation, inputs)
    if name not in _WHOLE:
        raise ValueError(f"the operation {name} cannot be written as ONNX yet (ast_jax/export/onnx_graph.py)")
    shapes = (variable.aval.shape for variable in equation.invars)
    whole = [graph.expand(value, shape) for value, shape in zip(inputs, shapes)]
    found = _WHOLE[name](graph, equation, *whole)
    return found if isinstance(found, list) else [found]


def _scan(graph: _Graph, equation, inputs: list[_Value]) -> list[_Value]:
    """Steps over rows; what all steps share is read from the graph around them."""
    params, closed = equation.params, equation.params["jaxpr"]
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    variables, results = closed.jaxpr.invars[first:], closed.jaxpr.outvars
    names, outputs = [graph.new_name() for _ in variables], [graph.new_name() for _ in results]
    step = _Graph(graph.onnx, graph)
    own = [_Value(name, variable.aval.shape) for name, variable in zip(names, variables)]
    _write_out(step, closed, [*inputs[:first], *own], outputs)
    ends = _described(graph, variables, names), _described(graph, results, outputs)
    body = graph.onnx.helper.make_graph(step.nodes, "step", *ends)
    shapes = [variable.aval.shape for variable in equation.invars[first:]]
    moving = [graph.expand(value, shape).name for value, shape in zip(inputs[first:], shapes)]
    found = [graph.new_name() for _ in results]
    rows, columns, way = len(inputs) - last, len(results) - params["num_carry"], int(params["reverse"])
    options = dict(scan_input_directions=[way] * rows, scan_output_directions=[way] * columns)
    options = {name: value for name, value in options.items() if value}
    node = graph.onnx.helper.make_node("Scan", moving, found, body=body, num_scan_inputs=rows, **options)
    graph.nodes.append(node)
    return [_Value(name, variable.aval.shape) for name, variable in zip(found, equation.outvars)]


def _elementwise(graph: _Graph, operator: str, *inputs: _Value, **attributes) -> _Value:
    shape = np.broadcast_shapes(*(value.shape for value in inputs))
    return _Value(graph.add(operator, *(value.name for value in inputs), **attributes), shape)


def _number(graph: _Graph, equation, number: float | int) -> _Value:
    return _Value(graph.constant(np.asarray(number, equation.invars[0].aval.dtype)), ())


def _logical(graph: _Graph, equation, *inputs: _Value) -> _Value:
    is_bool = equation.invars[0].aval.dtype == bool
    return _elementwise(graph, _LOGICAL[equation.primitive.name][0 if is_bool else 1], *inputs)


def _select(graph: _Graph, equation, which: _Value, *cases: _Value) -> _Value:
    if len(cases) != 2:
        raise ValueError(f"a choice of {len(cases)} arrays (select_n) cannot be written as ONNX yet")
    if equation.invars[0].aval.dtype != bool:
        which = _Value(graph.cast(which.name, bool), which.shape)
    if equation.outvars[0].aval.dtype != bool:
        return _elementwise(graph, "Where", which, cases[1], cases[0])
    # onnxruntime has no Where of truth values.
    yes = _elementwise(graph, "And", which, cases[1])
    return _elementwise(graph, "Or", yes, _elementwise(graph, "And", _elementwise(graph, "Not", which), cases[0]))


def _power(graph: _Graph, equation, x: _Value) -> _Value:
    exponent = equation.params["y"]
    if exponent == 2:
        return _elementwise(graph, "Mul", x, x)
    return _elementwise(graph, "Pow", x, _number(graph, equation, exponent))


def _round(graph: _Graph, equation, x: _Value) -> _Value:
    if equation.params["rounding_method"].name == "TO_NEAREST_EVEN":
        return _elementwise(graph, "Round", x)
    size = _elementwise(graph, "Add", _elementwise(graph, "Abs", x), _number(graph, equation, 0.5))
    return _elementwise(graph, "Mul", _elementwise(graph, "Sign", x), _elementwise(graph, "Floor", size))


def _with_number(operator: str, number: float, before: str = "", after: str = "") -> Callable:
    """An operation with a number, between two others."""

    def convert(graph: _Graph, equation, x: _Value) -> _Value:
        x = _elementwise(graph, before, x) if before else x
        x = _elementwise(graph, operator, x, _number(graph, equation, number))
        return _elementwise(graph, after, x) if after else x

    return convert


def _clamp(graph: _Graph, equation, low: _Value, x: _Value, high: _Value) -> _Value:
    return _elementwise(graph, "Min", _elementwise(graph, "Max", x, low), high)


def _cast(graph: _Graph, equation, x: _Value) -> _Value:
    dtype = equation.params["new_dtype"]
    return x if dtype == equation.invars[0].aval.dtype else _Value(graph.cast(x.name, dtype), x.shape)


def _broadcast(graph: _Graph, equation, x: _Value, *_) -> _Value:
    axes, sides = equation.params["broadcast_dimensions"], [1] * len(equation.params["shape"])
    for axis, side in zip(axes, x.shape):
        sides[axis] = side
    return graph.reshape(x, sides)


_ELEMENTWISE = {
    **dict.fromkeys(_LOGICAL, _logical),
    "select_n": _select,
    "integer_pow": _power,
    "square": lambda graph, _, x: _elementwise(graph, "Mul", x, x),
    "rsqrt": lambda graph, _, x: _elementwise(graph, "Reciprocal", _elementwise(graph, "Sqrt", x)),
    "ne": lambda graph, _, *xs: _elementwise(graph, "Not", _elementwise(graph, "Equal", *xs)),
    "rem": lambda graph, _, *xs: _elementwise(graph, "Mod", *xs, fmod=1),
    "round": _round,
    "expm1": _with_number("Sub", 1.0, before="Exp"),
    "log1p": _with_number("Add", 1.0, after="Log"),
    "is_finite": _with_number("Less", np.inf, before="Abs"),
    "clamp": _clamp,
    "convert_element_type": _cast,
    "broadcast_in_dim": _broadcast,
}


def _reshape(graph: _Graph, equation, x: _Value, *_) -> _Value:
    return graph.reshape(x, equation.outvars[0].aval.shape)


def _concatenate(graph: _Graph, equation, *xs: _Value) -> _Value:
    names = [x.name for x in xs]
    return _Value(graph.add("Concat", *names, axis=equation.params["dimension"]), equation.outvars[0].aval.shape)


def _stack(graph: _Graph, equation, *xs: _Value) -> _Value:
    shape, axis = equation.outvars[0].aval.shape, equation.params["axis"]
    names = [graph.reshape(x, (*shape[:axis], 1, *shape[axis + 1 :])).name for x in xs]
    return _Value(graph.add("Concat", *names, axis=axis), shape)


def _unstack(graph: _Graph, equation, x: _Value) -> list[_Value]:
    axis = equation.params["axis"]
    rows = [_along(graph, x, axis, k, k + 1) for k in range(x.shape[axis])]
    return [graph.reshape(row, equation.outvars[0].aval.shape) for row in rows]


def _split(graph: _Graph, equation, x: _Value) -> list[_Value]:
    ends = itertools.accumulate(map(int, equation.params["sizes"]), initial=0)
    return [_along(graph, x, equation.params["axis"], a, b) for a, b in itertools.pairwise(ends)]


def _along(graph: _Graph, x: _Value, axis: int, start: int, end: int) -> _Value:
    starts, ends = [0] * len(x.shape), list(x.shape)
    starts[axis], ends[axis] = start, end
    return graph.part(x, starts, ends)


def _slice(graph: _Graph, equation, x: _Value) -> _Value:
    params = equation.params
    return graph.part(x, params["start_indices"], params["limit_indices"], params["strides"])


def _reverse(graph: _Graph, equation, x: _Value) -> _Value:
    name = x.name
    for axis in equation.params["dimensions"]:
        name = graph.add("Gather", name, graph.numbers(list(range(x.shape[axis]))[::-1]), axis=axis)
    return _Value(name, x.shape)


def _slice_at(graph: _Graph, equation, x: _Value, *starts: _Value) -> _Value:
    """A part whose place is found while it runs; it stays inside."""
    sizes = equation.params["slice_sizes"]
    axes = [axis for axis, size in enumerate(sizes) if size != x.shape[axis]]
    if not axes:
        return x
    ones = graph.numbers([1])
    names = [graph.add("Reshape", graph.cast(starts[axis].name, np.int64), ones) for axis in axes]
    start = graph.add("Concat", *names, axis=0)
    last = graph.numbers([x.shape[axis] - sizes[axis] for axis in axes])
    start = graph.add("Min", graph.add("Max", start, graph.numbers([0] * len(axes))), last)
    end = graph.add("Add", start, graph.numbers([sizes[axis] for axis in axes]))
    return _Value(graph.add("Slice", x.name, start, end, graph.numbers(axes)), equation.outvars[0].aval.shape)


def _pad(graph: _Graph, equation, x: _Value, fill: _Value) -> _Value:
    before, after, between = zip(*equation.params["padding_config"])
    if any(between):
        raise ValueError("padding between elements (pad) cannot be written as ONNX yet")
    name = graph.add("Pad", x.name, graph.numbers([*before, *after]), fill.name)
    return _Value(name, equation.outvars[0].aval.shape)


def _reduce(graph: _Graph, equation, x: _Value) -> _Value:
    operator, axes = _REDUCTIONS[equation.primitive.name], graph.numbers(equation.params["axes"])
    is_bool = equation.invars[0].aval.dtype == bool
    name = graph.cast(x.name, np.int32) if is_bool else x.name
    name = graph.add(operator, name, axes, keepdims=0)
    return _Value(graph.cast(name, bool) if is_bool else name, equation.outvars[0].aval.shape)


def _place_of_extreme(graph: _Graph, equation, x: _Value) -> _Value:
    operator, (axis,) = {"argmin": "ArgMin", "argmax": "ArgMax"}[equation.primitive.name], equation.params["axes"]
    found = graph.add(operator, x.name, axis=axis, keepdims=0)
    out = equation.outvars[0].aval
    return _Value(graph.cast(found, out.dtype), out.shape)


def _take(graph: _Graph, equation, rows: _Value, index: _Value) -> _Value:
    flat = graph.reshape(index, index.shape[:-1])
    return _Value(graph.add("Gather", rows.name, flat.name, axis=0), equation.outvars[0].aval.shape)


def _dot(graph: _Graph, equation, left: _Value, right: _Value) -> _Value:
    """As one matrix product: axes of the batch, then rows, and columns."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    left_free, right_free = (
        [axis for axis in range(len(x.shape)) if axis not in (*summed, *batch)]
        for x, summed, batch in ((left, left_sum, left_batch), (right, right_sum, right_batch))
    )
    batch = [left.shape[axis] for axis in left_batch]
    rows, columns = (math.prod(x.shape[a] for a in free) for x, free in ((left, left_free), (right, right_free)))
    inner = math.prod(left.shape[axis] for axis in left_sum)
    left = graph.reshape(graph.transpose(left, (*left_batch, *left_free, *left_sum)), (*batch, rows, inner))
    right = graph.reshape(graph.transpose(right, (*right_batch, *right_sum, *right_free)), (*batch, inner, columns))
    product = _Value(graph.add("MatMul", left.name, right.name), (*batch, rows, columns))
    return graph.reshape(product, equation.outvars[0].aval.shape)


def _convolution(graph: _Graph, equation, x: _Value, kernel: _Value) -> _Value:
    params, numbers = equation.params, equation.params["dimension_numbers"]
    if any(side != 1 for side in params["lhs_dilation"]) or params["batch_group_count"] != 1:
        raise ValueError("a transposed convolution cannot be written as ONNX yet")
    x, kernel = graph.transpose(x, numbers.lhs_spec), graph.transpose(kernel, numbers.rhs_spec)
    before, after = zip(*params["padding"])
    name = graph.add(
        "Conv", x.name, kernel.name, pads=[*before, *after], strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]), group=params["feature_group_count"],
    )  # fmt: skip
    shape = equation.outvars[0].aval.shape
    return graph.transpose(_Value(name, tuple(shape[axis] for axis in numbers.out_spec)), np.argsort(numbers.out_spec))


def _largest_in_window(graph: _Graph, equation, x: _Value) -> _Value:
    params = equation.params
    if len(x.shape) != 4 or params["window_dimensions"][0] != 1 or params["window_dimensions"][3] != 1:
        raise ValueError("windows over batch or channels (reduce_window_max) cannot be written as ONNX yet")
    before, after = zip(*params["padding"][1:3])
    name = graph.add(
        "MaxPool", graph.transpose(x, (0, 3, 1, 2)).name, kernel_shape=list(params["window_dimensions"][1:3]),
        strides=list(params["window_strides"][1:3]), pads=[*before, *after],
    )  # fmt: skip
    b, h, w, c = equation.outvars[0].aval.shape
    return graph.transpose(_Value(name, (b, c, h, w)), (0, 2, 3, 1))


_WHOLE = {
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshape),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("argmin", "argmax"), _place_of_extreme),
    "transpose": lambda graph, equation, x: graph.transpose(x, equation.params["permutation"]),
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "split": _split,
    "slice": _slice,
    "rev": _reverse,
    "dynamic_slice": _slice_at,
    "pad": _pad,
    "gather": _take,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _largest_in_window,
}
