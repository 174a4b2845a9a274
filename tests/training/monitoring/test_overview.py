"""The table against sums over the arrays and their shards."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ast_jax.config import base_config
from ast_jax.training.monitoring.overview import parameter_table, size_of
from ast_jax.training.state import count_parameters, make_model


@pytest.fixture
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def _cells(table: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][0] == "parameter" and set(lines[1][0]) == {"-"}
    return {line[0]: line[1:] for line in lines[2:]}


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def test_every_parameter_of_the_model_is_there_once_and_the_totals_add_up():
    params = jax.eval_shape(lambda: make_model(base_config())[1])
    table = parameter_table(params)
    rows = _cells(table)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = {".".join(str(key.key) for key in path) for path, _ in leaves}
    totals = {f"**{group}**" for group in params if jax.tree.leaves(params[group])} | {"**total**"}
    assert set(rows) == names | totals and len(table.splitlines()) == 2 + len(leaves) + len(totals)
    assert _number(rows["**total**"][2]) == count_parameters(params)
    assert _number(rows["**total**"][3]) == 4 * count_parameters(params)  # float32
    groups = [rows[f"**{group}**"] for group in params if jax.tree.leaves(params[group])]
    for column in (2, 3, 5):
        assert sum(_number(row[column]) for row in groups) == _number(rows["**total**"][column])
    assert _number(rows["**encoder**"][2]) == count_parameters(params["encoder"])


def test_specs_and_bytes_are_those_of_the_shards(mesh):
    specs = {
        "a": {"kernel": jax.P(None, "model", None), "bias": jax.P(), "wide": jax.P(("data", "model"))},
        "b": {"scale": jax.P()},
    }
    shardings = jax.tree.map(lambda spec: jax.NamedSharding(mesh, spec), specs)
    shapes = {"a": {"kernel": (3, 4, 5), "bias": (7,), "wide": (16, 2)}, "b": {"scale": ()}}
    params = jax.tree.map(lambda s: jnp.ones(s, jnp.bfloat16), shapes, is_leaf=lambda s: isinstance(s, tuple))
    placed = jax.device_put(params, shardings)
    rows = _cells(parameter_table(placed))
    assert rows["a.kernel"] == ["3 x 4 x 5", "bfloat16", "60", "120", "-, model, -", "60"]
    assert rows["a.bias"] == ["7", "bfloat16", "7", "14", "-", "14"]
    assert rows["a.wide"] == ["16 x 2", "bfloat16", "32", "64", "data+model, -", "8"]
    assert rows["b.scale"] == ["scalar", "bfloat16", "1", "2", "", "2"]
    on_first = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(placed))
    assert _number(rows["**total**"][5]) == on_first == size_of(placed).per_device
    assert size_of(placed).total == 200
    # Abstract ones will do.
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), placed)
    assert parameter_table(placed) == parameter_table(like)


def test_the_optimizers_state_is_counted_with_its_scalars(mesh):
    params = {"a": np.ones((8, 3), np.float32)}
    state = optax.adam(1e-3).init(params)  # a count, int32, and two moments
    assert size_of(state) == (1 + 2 * 24, 4 + 2 * 96, 4 + 2 * 96)
    replicated = jax.device_put(state, jax.NamedSharding(mesh, jax.P()))
    assert size_of(replicated) == (1 + 2 * 24, 4 + 2 * 96, 4 + 2 * 96)
    split = jax.tree.map(lambda x: jax.NamedSharding(mesh, jax.P("data") if x.ndim else jax.P()), state)
    assert size_of(jax.device_put(state, split)) == (1 + 2 * 24, 4 + 2 * 96, 4 + 2 * 24)
