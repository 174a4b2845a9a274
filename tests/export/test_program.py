"""Exported models and operations against jax, run by onnxruntime on the CPU and, as StableHLO, read back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ast_jax.compile_options import quick_jit
from ast_jax.export.onnx_file import encode_onnx
from ast_jax.export.plain import plain_jaxpr
from ast_jax.export.program import IS_KNOWN, Program, encode_program, make_program
from ast_jax.model import Model
from ast_jax.training.checkpoint import load_model
from render import orbit
from tests.model.test_model import CUT_OUT, VARIANTS, tiny_config

onnx = pytest.importorskip("onnx", reason='the package onnx is not installed: pip install -e ".[test]"')
onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 6)).astype(np.float32)
PLACES = RNG.integers(-2, 9, (4, 3))
ROWS = np.array([[3], [0], [3], [4]])
GATHER = jax.lax.GatherDimensionNumbers


def run_onnx(content: bytes, feeds: dict) -> list:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    assert [found.name for found in session.get_inputs()] == list(feeds)
    return session.run(None, feeds)


def accumulate(x):
    """Rows from the last to the first; a constant of all steps and one for each."""
    shift = jnp.asarray(X[0, :5, 0])

    def step(total, row):
        total = 0.5 * total + row[0] * x[0, 0] + row[1]
        return total, total[:2]

    total, parts = jax.lax.scan(step, jnp.zeros(6), (x[0], shift), reverse=True)
    return [total, parts]


def window(x, padding):
    return jax.lax.reduce_window(x[..., None], -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def convolve(x, groups):
    kernel = jnp.asarray(RNG.normal(size=(3, 2, 6 // groups, 4)), jnp.float32)
    options = dict(dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups, rhs_dilation=(1, 2))
    return jax.lax.conv_general_dilated(x[None], kernel, (2, 1), ((1, 0), (2, 1)), **options)


FEW, FAR = jnp.asarray(PLACES[0]), np.array([1, 7, -9])
CORNERS = np.array([3, 3, 0])


def along(x):
    return jnp.take_along_axis(x, x.argmax(1)[:, None], 1)


def filled(x):
    """Places that are not known before it runs, some of them outside."""
    moved = FEW + (x[0, 0, 0] > 9)
    return [x[0].at[moved].get(mode="fill", fill_value=-1), x.at[:, moved].get(mode="clip")]


def added(x):
    own = jax.vmap(lambda rows: jnp.zeros((3, 6)).at[np.array([2, 2, 0, 1, 2])].add(rows))(x)
    return [x[0].at[ROWS[:, 0]].add(x[1, :4]), x[0].at[FAR].add(x[1, :3], mode="drop"), own]


def padded(x):
    return [jnp.pad(x, ((0, 1), (2, 0), (1, 1))), jax.lax.pad(x, 3.0, ((0, 0, 0), (-1, 2, 0), (1, -2, 0)))]


OPERATIONS = {
    "arithmetic": lambda x: [x + 2, x * x[:1], x / (2 + x**2), -x, x**3, jnp.square(x), jax.lax.rem(x, 0.5 + x * 0)],
    "functions": lambda x: [jnp.sin(x), jnp.tanh(x), jnp.expm1(x), jnp.log1p(x**2), jax.lax.rsqrt(1 + x**2)],
    "rounding": lambda x: [jnp.round(4 * x), jax.lax.round(x[0, 0] * 0 + 2.5), jnp.floor(x), jnp.sign(x)],
    "compare": lambda x: [x > 0, (x > 0) & (x < 1), (x >= 0) ^ True, x != jnp.round(x), jnp.isfinite(1 / jnp.round(x))],
    "bits": lambda x: [jnp.round(x).astype(jnp.int32) & 3, jnp.round(x).astype(jnp.int32) | 4],
    "select": lambda x: [jnp.where(x > 0, x, 7.0), jnp.where(x > 0, x < 1, x > -1), jnp.clip(x, -0.5, 0.25)],
    "shapes": lambda x: [x.T, x.reshape(10, 6), x[:, None], x[:, 1:5:2, ::3], jnp.broadcast_to(x[:, :1], (3, 2, 4, 6))],
    "parts": lambda x: [*jnp.split(x, [1, 3], 1), jnp.stack([x, 2 * x], 1), jnp.concatenate([x, x[:, :2]], 1), *x],
    "reversed": lambda x: [x[::-1], x[:, ::-1, ::-1]],
    "pad": padded,
    "reduce": lambda x: [x.sum(1), x.max((0, 2)), x.min(), x.prod(1), (x > 1).any(1), (x > -1).all((0, 1))],
    "extremes": lambda x: [x.argmin(1), x.argmax(2), jnp.round(x).argmin(0)],
    "products": lambda x: [x[0] @ x[1].T, jnp.einsum("bij,bkj->kbi", x, x), jnp.einsum("bij,bij->b", x, x)],
    "convolution": lambda x: [convolve(x, 1), convolve(x, 2)],
    "window": lambda x: [window(x, "SAME"), window(x, "VALID")],
    "constant rows": lambda x: [x[:, CORNERS], x[np.array([1, 0]), np.array([2, 4])], jnp.take(x, PLACES, 2)],
    "found rows": lambda x: [x[:, x[0, :, 0].argmax()], along(x), jax.vmap(lambda rows, k: rows[k])(x, x.argmax(1))],
    "filled rows": filled,
    "add at constant places": added,
    "derivative of a lookup": lambda x: [jax.grad(lambda x: (x[:, CORNERS] ** 2).sum())(x)],
    "scan": accumulate,
    "cond": lambda x: [jax.lax.cond(x[0, 0, 0] > 0, jnp.sin, jnp.cos, x)],
    "calls": lambda x: [jax.checkpoint(lambda x: jax.jit(jnp.sin)(x) * 2)(x), jax.nn.relu(x), jax.nn.gelu(x)],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    function = OPERATIONS[name]
    plain = plain_jaxpr(function, jax.ShapeDtypeStruct(X.shape, X.dtype))
    wanted = jax.jit(function)(X)
    names = [f"out{k}" for k in range(len(wanted))]
    for kind, found in {
        "plain": jax.jit(jax.extend.core.jaxpr_as_fun(plain))(X),
        "onnx": run_onnx(encode_onnx(plain, ["x"], names, metadata={}), {"x": X}),
    }.items():
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, kind
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6, err_msg=kind)


def test_what_is_known_is_not_computed_again_and_nothing_is_stored_twice():
    table = jnp.asarray(RNG.normal(size=(64, 64)), jnp.float32)
    plain = plain_jaxpr(
        lambda x: [x @ (table @ table), 1 + x @ (table @ table)], jax.ShapeDtypeStruct((1, 64), X.dtype)
    )
    model = onnx.load_from_string(encode_onnx(plain, ["x"], ["a", "b"], metadata={"name": "mine"}))
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Identity", "Identity"]
    assert sum(len(tensor.raw_data) for tensor in model.graph.initializer) == 4 * (64 * 64 + 1)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"name": "mine"}


def test_what_cannot_be_exported_is_said():
    x = jax.ShapeDtypeStruct((3,), np.float32)
    with pytest.raises(ValueError, match="loop of unknown length"):
        plain_jaxpr(lambda x: [jax.lax.while_loop(lambda x: x[0] < 9, lambda x: x + 1, x)], x)
    with pytest.raises(ValueError, match="places that are no constants"):
        plain_jaxpr(lambda x: [x.at[x.argmax()[None]].add(1.0)], x)
    with pytest.raises(ValueError, match="the operation sort cannot be written as ONNX yet"):
        encode_onnx(plain_jaxpr(lambda x: [jnp.sort(x)], x), ["x"], ["y"], metadata={})


CAMERA = ("rotation", "translation", "focal", "principal")
# A point within rounding of an edge is seen or not: no bound holds for every texel of every picture, and this is one
# for those of two.
ATOL = {"texels": 1e-3}


@functools.cache
def tiny_program() -> Program:
    """A model with a branch of every kind that reads the picture, and random parameters, as after some training."""
    config = tiny_config(**VARIANTS["synthesis"] | {"texture.kind": "transformer"})
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Model(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: (0.1 * rng.normal(size=x.shape)).astype(np.float32), shapes)
    return make_program(nnx.merge(graph, params), (32, 32, 4), takes_camera=True)


@functools.cache
def questions_and_answers() -> list[tuple[dict, list]]:
    """A picture whose camera is not known, and the same where it is; what jax says, with the renderer for training."""
    camera = orbit(np.array([2.7]), np.array([0.3]), np.array([1.0]), np.array([0.4]))
    given = {f"given_{name}": np.asarray(getattr(camera, name)) for name in CAMERA}
    asked = [{"image": CUT_OUT[:1], **given, IS_KNOWN: np.array(known, np.float32)} for known in (0, 1)]
    answer = quick_jit(tiny_program().function)
    return [(feeds, answer(*feeds.values())) for feeds in asked]


def compare(found: list, wanted: list, outputs: list[str], atol: dict) -> None:
    for name, a, b in zip(outputs, found, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=atol.get(name, 2e-5), err_msg=name)


def test_an_onnx_file_answers_what_the_model_answers():
    program = tiny_program()
    assert program.outputs == ["vertices", "faces", "texels", *CAMERA]
    content = encode_program(program, "onnx", {"data": {"image_size": 32}})
    (own, alone), (_, told) = questions_and_answers()
    assert np.abs(alone[2] - told[2]).max() > 0.05 and np.abs(alone[3] - told[3]).max() > 0.1
    for feeds, wanted in questions_and_answers():
        compare(run_onnx(content, feeds), wanted, program.outputs, ATOL)
        # Of its own camera nothing is left where another is given.
        for name, value in zip(CAMERA, wanted[3:]):
            if feeds[IS_KNOWN]:
                np.testing.assert_array_equal(value, own[f"given_{name}"])


def test_stablehlo_answers_what_the_model_answers():
    program = tiny_program()
    read = jax.export.deserialize(bytearray(encode_program(program, "stablehlo", {})))
    assert set(read.platforms) == {"cpu", "cuda", "tpu"}
    for feeds, wanted in questions_and_answers():  # compiled with other options, so rounded elsewhere
        compare(read.call(*feeds.values()), wanted, program.outputs, dict.fromkeys(program.outputs, 1e-5))


def test_an_unknown_format_is_answered_with_the_near_one():
    with pytest.raises(ValueError, match="onnx"):
        encode_program(tiny_program(), "onx", {})


@pytest.mark.slow
def test_the_shipped_model_as_onnx():
    model, config = load_model("bird")
    size = config.data.image_size
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = (rows**2 * 4 + columns**2 < 0.6).astype(np.float32)[..., None]
    image = np.concatenate([1 - inside * np.float32([0.2, 0.5, 0.7]), inside], -1)[None]
    program = make_program(model, image.shape[1:])
    found = run_onnx(encode_program(program, "onnx", {}), {"image": image})
    prediction = jax.jit(lambda image: model(image))(image)
    camera = [getattr(prediction.input_camera, name) for name in CAMERA]
    wanted = [prediction.vertices, prediction.faces, prediction.texture.values, *camera]
    compare(found, wanted, program.outputs, ATOL)
