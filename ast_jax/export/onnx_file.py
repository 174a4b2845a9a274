"""A function of jax as an ONNX file, for onnxruntime and browsers: ``pip install "ast-jax[export]"``."""

import numpy as np
from jax.extend import core

from ast_jax.export.onnx_graph import Graph, Value
from ast_jax.export.onnx_operations import ELEMENTWISE, SAME, WHOLE, elementwise

INSTALL = 'to write ONNX files, pip install "ast-jax[export]"'
# The first set of operators in which all reductions take their axes alike and there are bitwise ones.
_OPSET, _IR_VERSION = 18, 9


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
    graph, jaxpr = Graph(onnx), plain.jaxpr
    values = [Value(name, variable.aval.shape) for variable, name in zip(jaxpr.invars, inputs)]
    _write_out(graph, plain, values, outputs)
    ends = _described(graph, jaxpr.invars, inputs), _described(graph, jaxpr.outvars, outputs)
    body = onnx.helper.make_graph(graph.nodes, "model", *ends, graph.constants)
    opset = onnx.helper.make_opsetid("", _OPSET)
    model = onnx.helper.make_model(body, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="ast-jax")
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _write_out(graph: Graph, closed: core.ClosedJaxpr, inputs: list[Value], outputs: list[str]) -> None:
    """The operations of a function, in order; results get these names."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.invars, inputs))
    values |= {v: Value(graph.constant(array), np.shape(array)) for v, array in zip(jaxpr.constvars, closed.consts)}

    def read(variable) -> Value:
        if isinstance(variable, core.Literal):
            array = np.asarray(variable.val, variable.aval.dtype)
            return Value(graph.constant(array), array.shape)
        return values[variable]

    for equation in jaxpr.eqns:
        found = _convert(graph, equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, found))
    for variable, name in zip(jaxpr.outvars, outputs):
        value = graph.expand(read(variable), variable.aval.shape)
        graph.nodes.append(graph.onnx.helper.make_node("Identity", [value.name], [name]))


def _described(graph: Graph, variables, names: list[str]) -> list:
    helper = graph.onnx.helper
    kinds = [(v.aval.shape, helper.np_dtype_to_tensor_dtype(v.aval.dtype)) for v in variables]
    return [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in zip(names, kinds)]


def _convert(graph: Graph, equation, inputs: list[Value]) -> list[Value]:
    name = equation.primitive.name
    if name in SAME:
        return [elementwise(graph, SAME[name], *inputs)]
    if name in ELEMENTWISE:
        return [ELEMENTWISE[name](graph, equation, *inputs)]
    if name == "scan":
        return _scan(graph, equation, inputs)
    if name not in WHOLE:
        raise ValueError(f"the operation {name} cannot be written as ONNX yet (ast_jax/export/onnx_operations.py)")
    shapes = (variable.aval.shape for variable in equation.invars)
    whole = [graph.expand(value, shape) for value, shape in zip(inputs, shapes)]
    found = WHOLE[name](graph, equation, *whole)
    return found if isinstance(found, list) else [found]


def _scan(graph: Graph, equation, inputs: list[Value]) -> list[Value]:
    """Steps over rows; what all steps share is read from the graph around them."""
    params, closed = equation.params, equation.params["jaxpr"]
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    variables, results = closed.jaxpr.invars[first:], closed.jaxpr.outvars
    names, outputs = [graph.new_name() for _ in variables], [graph.new_name() for _ in results]
    step = Graph(graph.onnx, graph)
    own = [Value(name, variable.aval.shape) for name, variable in zip(names, variables)]
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
    return [Value(name, variable.aval.shape) for name, variable in zip(found, equation.outvars)]
