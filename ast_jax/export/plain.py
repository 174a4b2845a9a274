"""A function of jax in few kinds of operations, for programs that run networks elsewhere.

What depends on constants alone is computed once. Functions within functions are written out, but for the step of a
`scan`; of the two branches of a `cond` both are computed. Looking up rows (`gather`) becomes `take` along the first
axis, and adding at places that are constant (`scatter-add`) becomes looking up what is to be added.
"""

import contextlib
import functools
from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.lax import GatherScatterMode

# What is a call of another function: name of the primitive -> where its body is.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
# Larger constants than this are computed where they are needed: numbers, about a square of 128 px with 4 channels.
_LARGEST_CONSTANT = 65536


def plain_jaxpr(function: Callable, *arguments: jax.ShapeDtypeStruct) -> core.ClosedJaxpr:
    """The operations of a function, see the top.

    Args:
      function: of arrays, answers a list of arrays.
      arguments: shapes and types.

    Raises:
      ValueError: it has a loop of unknown length, or adds at places that are no constants.
    """
    traced = jax.make_jaxpr(function)(*arguments)
    for _ in range(2):  # what is rewritten calls functions of jax.numpy, which are written out in turn
        traced = jax.make_jaxpr(functools.partial(_run, traced))(*arguments)
    return traced


def _run(closed: core.ClosedJaxpr | core.Jaxpr, *arrays) -> list:
    jaxpr, consts = (closed.jaxpr, closed.consts) if hasattr(closed, "consts") else (closed, ())
    values = dict(zip(jaxpr.constvars, consts)) | dict(zip(jaxpr.invars, arrays))

    def read(variable):
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        values.update(zip(equation.outvars, _outputs(equation, inputs)))
    return [read(variable) for variable in jaxpr.outvars]


def _outputs(equation, inputs: list) -> list:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        return _run(params[_CALLS[name]], *inputs)
    if name.startswith("empty"):  # filled by nobody, where a branch has nothing to say
        return [np.zeros(out.aval.shape, out.aval.dtype) for out in equation.outvars]
    if name in ("optimization_barrier", "stop_gradient", "copy", "copy_p"):
        return inputs
    size = max(int(np.prod(out.aval.shape)) for out in equation.outvars)
    if name != "scan" and size <= _LARGEST_CONSTANT and _are_known(*inputs):
        with jax.ensure_compile_time_eval():
            return [np.asarray(out) for out in _bind(equation, inputs)]
    if name in _REWRITTEN:
        return _REWRITTEN[name](equation, inputs)
    if name == "while":
        raise ValueError("a loop of unknown length (while) cannot be exported")
    return _bind(equation, inputs)


def _bind(equation, inputs: list) -> list:
    out = equation.primitive.bind(*inputs, **equation.params)
    return out if equation.primitive.multiple_results else [out]


def _are_known(*arrays) -> bool:
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def _scan(equation, inputs: list) -> list:
    params = equation.params
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, carry, rows = inputs[:first], inputs[first:last], inputs[last:]

    def step(carry, rows):
        answer = _run(params["jaxpr"], *consts, *carry, *rows)
        return answer[: len(carry)], answer[len(carry) :]

    carry, columns = jax.lax.scan(step, carry, rows, length=params["length"], reverse=params["reverse"])
    return [*carry, *columns]


def _cond(equation, inputs: list) -> list:
    which, *arrays = inputs
    branches = [_run(branch, *arrays) for branch in equation.params["branches"]]
    which = which if which.dtype == bool else jnp.clip(which, 0, len(branches) - 1)
    return [jax.lax.select_n(jnp.broadcast_to(which, cases[0].shape), *cases) for cases in zip(*branches)]


def _gather(equation, inputs: list) -> list:
    operand, index = inputs
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    looked_up = sorted(int(axis) for axis in (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims))
    whole = [axis for axis in range(operand.ndim) if axis not in looked_up]
    if any(sizes[axis] != operand.shape[axis] for axis in whole) or set(numbers.start_index_map) - set(looked_up):
        raise ValueError(f"a lookup of parts of rows (gather {numbers}) cannot be exported")
    with jax.ensure_compile_time_eval() if _are_known(index) else contextlib.nullcontext():
        flat, inside = _flat_places(equation.params, operand.shape, looked_up, index)
    batch = index.shape[:-1]
    rows = jnp.transpose(operand, (*looked_up, *whole)).reshape(-1, *(operand.shape[axis] for axis in whole))
    found = _take(rows, flat).reshape(*batch, *rows.shape[1:])
    if inside is not None:
        fill = equation.params["fill_value"]
        inside = inside.reshape(*batch, *(1,) * len(whole))
        found = jnp.where(inside, found, _usual_fill(operand.dtype) if fill is None else fill)
    offset, rest = numbers.offset_dims, iter(range(len(batch)))
    order = [len(batch) + offset.index(axis) if axis in offset else next(rest) for axis in range(found.ndim)]
    return [jnp.transpose(found, order)]


def _flat_places(params: dict, shape: tuple[int, ...], looked_up: list[int], index) -> tuple:
    """Numbers of the rows that are looked up, ``[n]``, and where there are such rows; None: everywhere."""
    numbers, mode, batch = params["dimension_numbers"], params["mode"], index.shape[:-1]
    places, inside = {}, None
    for position, axis in enumerate(numbers.start_index_map):
        place, last = index[..., position], shape[axis] - 1
        if mode == GatherScatterMode.FILL_OR_DROP:
            there = (place >= 0) & (place <= last)
            inside = there if inside is None else inside & there
        places[axis] = place if mode == GatherScatterMode.PROMISE_IN_BOUNDS else jnp.clip(place, 0, last)
    for axis, batch_axis in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims):
        sides = [-1 if k == batch_axis else 1 for k in range(len(batch))]
        places[axis] = np.arange(shape[axis], dtype=index.dtype).reshape(sides)
    flat = 0
    for axis in looked_up:
        flat = flat * shape[axis] + places[axis]
    return jnp.broadcast_to(flat, batch).reshape(-1), inside


def _usual_fill(dtype):
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.nan
    return jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.unsignedinteger) else jnp.iinfo(dtype).min


def _take(rows, flat):
    """Rows by their number; the one lookup that is left."""
    numbers = jax.lax.GatherDimensionNumbers(tuple(range(1, rows.ndim)), (0,), (0,))
    mode = GatherScatterMode.PROMISE_IN_BOUNDS
    return jax.lax.gather(rows, flat[:, None], numbers, (1, *rows.shape[1:]), mode=mode)


def _scatter_add(equation, inputs: list) -> list:
    operand, index, updates = inputs
    if not _are_known(index):
        raise ValueError("adding at places that are no constants (scatter-add) cannot be exported")
    with jax.ensure_compile_time_eval():
        # Every element of the result has a number; the transpose of adding hands them to what is added there.
        numbers = np.arange(1.0, operand.size + 1).reshape(operand.shape).astype(np.float32)

        def add(updates):
            return equation.primitive.bind(jnp.zeros(operand.shape, np.float32), index, updates, **equation.params)

        transpose = jax.linear_transpose(add, jax.ShapeDtypeStruct(updates.shape, np.float32))
        place = np.asarray(transpose(numbers)[0]).astype(np.int64).ravel() - 1  # -1: dropped
    order = np.argsort(place, kind="stable")
    order = order[place[order] >= 0]
    count = np.bincount(place[order], minlength=operand.size)
    nth = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    slots = np.full((operand.size, count.max(initial=1)), updates.size, np.int32)
    slots[place[order], nth] = order
    padded = jnp.concatenate([updates.reshape(-1), jnp.zeros(1, updates.dtype)])
    added = _take(padded, slots.reshape(-1)).reshape(slots.shape).sum(1)
    return [operand + added.reshape(operand.shape)]


_REWRITTEN = {"scan": _scan, "cond": _cond, "gather": _gather, "scatter-add": _scatter_add, "scatter_add": _scatter_add}
