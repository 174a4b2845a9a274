"""What each operation of jax is in ONNX.

Only the operations that ``ast_jax.export.plain`` leaves and that inference needs are known. A broadcast is left to the
operation that needs it, for ONNX's broadcast like numpy's.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from ast_jax.export.onnx_graph import Graph, Value

# Operations of one operator.
SAME = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "exp": "Exp", "log": "Log",
    "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sqrt": "Sqrt", "erf": "Erf", "logistic": "Sigmoid",
    "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
_LOGICAL = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor")}
_LOGICAL |= {"not": ("Not", "BitwiseNot")}
_REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
_REDUCTIONS |= {"reduce_prod": "ReduceProd", "reduce_or": "ReduceMax", "reduce_and": "ReduceMin"}


def elementwise(graph: Graph, operator: str, *inputs: Value, **attributes) -> Value:
    shape = np.broadcast_shapes(*(value.shape for value in inputs))
    return Value(graph.add(operator, *(value.name for value in inputs), **attributes), shape)


def _number(graph: Graph, equation, number: float | int) -> Value:
    return Value(graph.constant(np.asarray(number, equation.invars[0].aval.dtype)), ())


def _logical(graph: Graph, equation, *inputs: Value) -> Value:
    is_bool = equation.invars[0].aval.dtype == bool
    return elementwise(graph, _LOGICAL[equation.primitive.name][0 if is_bool else 1], *inputs)


def _select(graph: Graph, equation, which: Value, *cases: Value) -> Value:
    if len(cases) != 2:
        raise ValueError(f"a choice of {len(cases)} arrays (select_n) cannot be written as ONNX yet")
    if equation.invars[0].aval.dtype != bool:
        which = Value(graph.cast(which.name, bool), which.shape)
    if equation.outvars[0].aval.dtype != bool:
        return elementwise(graph, "Where", which, cases[1], cases[0])
    # onnxruntime has no Where of truth values.
    yes = elementwise(graph, "And", which, cases[1])
    return elementwise(graph, "Or", yes, elementwise(graph, "And", elementwise(graph, "Not", which), cases[0]))


def _power(graph: Graph, equation, x: Value) -> Value:
    exponent = equation.params["y"]
    if exponent == 2:
        return elementwise(graph, "Mul", x, x)
    return elementwise(graph, "Pow", x, _number(graph, equation, exponent))


def _round(graph: Graph, equation, x: Value) -> Value:
    if equation.params["rounding_method"].name == "TO_NEAREST_EVEN":
        return elementwise(graph, "Round", x)
    size = elementwise(graph, "Add", elementwise(graph, "Abs", x), _number(graph, equation, 0.5))
    return elementwise(graph, "Mul", elementwise(graph, "Sign", x), elementwise(graph, "Floor", size))


def _with_number(operator: str, number: float, before: str = "", after: str = "") -> Callable:
    """An operation with a number, between two others."""

    def convert(graph: Graph, equation, x: Value) -> Value:
        x = elementwise(graph, before, x) if before else x
        x = elementwise(graph, operator, x, _number(graph, equation, number))
        return elementwise(graph, after, x) if after else x

    return convert


def _clamp(graph: Graph, equation, low: Value, x: Value, high: Value) -> Value:
    return elementwise(graph, "Min", elementwise(graph, "Max", x, low), high)


def _cast(graph: Graph, equation, x: Value) -> Value:
    dtype = equation.params["new_dtype"]
    return x if dtype == equation.invars[0].aval.dtype else Value(graph.cast(x.name, dtype), x.shape)


def _broadcast(graph: Graph, equation, x: Value, *_) -> Value:
    axes, sides = equation.params["broadcast_dimensions"], [1] * len(equation.params["shape"])
    for axis, side in zip(axes, x.shape):
        sides[axis] = side
    return graph.reshape(x, sides)


ELEMENTWISE = {
    **dict.fromkeys(_LOGICAL, _logical),
    "select_n": _select,
    "integer_pow": _power,
    "square": lambda graph, _, x: elementwise(graph, "Mul", x, x),
    "rsqrt": lambda graph, _, x: elementwise(graph, "Reciprocal", elementwise(graph, "Sqrt", x)),
    "ne": lambda graph, _, *xs: elementwise(graph, "Not", elementwise(graph, "Equal", *xs)),
    "rem": lambda graph, _, *xs: elementwise(graph, "Mod", *xs, fmod=1),
    "round": _round,
    "expm1": _with_number("Sub", 1.0, before="Exp"),
    "log1p": _with_number("Add", 1.0, after="Log"),
    "is_finite": _with_number("Less", np.inf, before="Abs"),
    "clamp": _clamp,
    "convert_element_type": _cast,
    "broadcast_in_dim": _broadcast,
}


def _reshape(graph: Graph, equation, x: Value, *_) -> Value:
    return graph.reshape(x, equation.outvars[0].aval.shape)


def _concatenate(graph: Graph, equation, *xs: Value) -> Value:
    names = [x.name for x in xs]
    return Value(graph.add("Concat", *names, axis=equation.params["dimension"]), equation.outvars[0].aval.shape)


def _stack(graph: Graph, equation, *xs: Value) -> Value:
    shape, axis = equation.outvars[0].aval.shape, equation.params["axis"]
    names = [graph.reshape(x, (*shape[:axis], 1, *shape[axis + 1 :])).name for x in xs]
    return Value(graph.add("Concat", *names, axis=axis), shape)


def _unstack(graph: Graph, equation, x: Value) -> list[Value]:
    axis = equation.params["axis"]
    rows = [_along(graph, x, axis, k, k + 1) for k in range(x.shape[axis])]
    return [graph.reshape(row, equation.outvars[0].aval.shape) for row in rows]


def _split(graph: Graph, equation, x: Value) -> list[Value]:
    ends = itertools.accumulate(map(int, equation.params["sizes"]), initial=0)
    return [_along(graph, x, equation.params["axis"], a, b) for a, b in itertools.pairwise(ends)]


def _along(graph: Graph, x: Value, axis: int, start: int, end: int) -> Value:
    starts, ends = [0] * len(x.shape), list(x.shape)
    starts[axis], ends[axis] = start, end
    return graph.part(x, starts, ends)


def _slice(graph: Graph, equation, x: Value) -> Value:
    params = equation.params
    return graph.part(x, params["start_indices"], params["limit_indices"], params["strides"])


def _reverse(graph: Graph, equation, x: Value) -> Value:
    name = x.name
    for axis in equation.params["dimensions"]:
        name = graph.add("Gather", name, graph.numbers(list(range(x.shape[axis]))[::-1]), axis=axis)
    return Value(name, x.shape)


def _slice_at(graph: Graph, equation, x: Value, *starts: Value) -> Value:
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
    return Value(graph.add("Slice", x.name, start, end, graph.numbers(axes)), equation.outvars[0].aval.shape)


def _pad(graph: Graph, equation, x: Value, fill: Value) -> Value:
    before, after, between = zip(*equation.params["padding_config"])
    if any(between):
        raise ValueError("padding between elements (pad) cannot be written as ONNX yet")
    name = graph.add("Pad", x.name, graph.numbers([*before, *after]), fill.name)
    return Value(name, equation.outvars[0].aval.shape)


def _reduce(graph: Graph, equation, x: Value) -> Value:
    operator, axes = _REDUCTIONS[equation.primitive.name], graph.numbers(equation.params["axes"])
    is_bool = equation.invars[0].aval.dtype == bool
    name = graph.cast(x.name, np.int32) if is_bool else x.name
    name = graph.add(operator, name, axes, keepdims=0)
    return Value(graph.cast(name, bool) if is_bool else name, equation.outvars[0].aval.shape)


def _place_of_extreme(graph: Graph, equation, x: Value) -> Value:
    operator, (axis,) = {"argmin": "ArgMin", "argmax": "ArgMax"}[equation.primitive.name], equation.params["axes"]
    found = graph.add(operator, x.name, axis=axis, keepdims=0)
    out = equation.outvars[0].aval
    return Value(graph.cast(found, out.dtype), out.shape)


def _take(graph: Graph, equation, rows: Value, index: Value) -> Value:
    flat = graph.reshape(index, index.shape[:-1])
    return Value(graph.add("Gather", rows.name, flat.name, axis=0), equation.outvars[0].aval.shape)


def _dot(graph: Graph, equation, left: Value, right: Value) -> Value:
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
    product = Value(graph.add("MatMul", left.name, right.name), (*batch, rows, columns))
    return graph.reshape(product, equation.outvars[0].aval.shape)


def _convolution(graph: Graph, equation, x: Value, kernel: Value) -> Value:
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
    return graph.transpose(Value(name, tuple(shape[axis] for axis in numbers.out_spec)), np.argsort(numbers.out_spec))


def _largest_in_window(graph: Graph, equation, x: Value) -> Value:
    params = equation.params
    if len(x.shape) != 4 or params["window_dimensions"][0] != 1 or params["window_dimensions"][3] != 1:
        raise ValueError("windows over batch or channels (reduce_window_max) cannot be written as ONNX yet")
    before, after = zip(*params["padding"][1:3])
    name = graph.add(
        "MaxPool", graph.transpose(x, (0, 3, 1, 2)).name, kernel_shape=list(params["window_dimensions"][1:3]),
        strides=list(params["window_strides"][1:3]), pads=[*before, *after],
    )  # fmt: skip
    b, h, w, c = equation.outvars[0].aval.shape
    return graph.transpose(Value(name, (b, c, h, w)), (0, 2, 3, 1))


WHOLE = {
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
