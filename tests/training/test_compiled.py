"""Compiled once, said when not: against the plain jitted function, on eight devices."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ast_jax.training.compiled import CompiledFunction

SIDE = 16


def _step(state, batch):
    return jax.tree.map(lambda x: x + batch["image"].sum(), state), {"loss": (batch["image"] @ batch["image"].T).sum()}


def _state():
    return {"a": jnp.zeros(3), "b": {"c": jnp.ones((2, 2))}}


def _batch(size: int = SIDE, value: float = 1.0):
    return {"image": np.full((size, SIDE), value, np.float32)}


def _warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def shardings():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.NamedSharding(mesh, jax.P()), jax.NamedSharding(mesh, jax.P("data"))


def test_it_gives_what_the_jitted_function_gives_and_compiles_once(caplog):
    traces = []

    def counted(state, batch):
        traces.append(1)
        return _step(state, batch)

    step, state = CompiledFunction(jax.jit(counted), "step"), _state()
    assert step.stats is None
    for value in (1.0, 2.0, 3.0):
        expected = jax.jit(_step)(state, _batch(value=value))
        given = step(state, _batch(value=value))
        jax.tree.map(np.testing.assert_array_equal, given, expected)
        state = given[0]
    assert len(traces) == 1 and step.recompilations == 0 and not _warnings(caplog)


def test_the_leaf_that_changed_is_named(caplog):
    step = CompiledFunction(jax.jit(_step), "train step")
    step(_state(), _batch())
    _, metrics = step(_state(), _batch(8))
    assert metrics["loss"] == 8 * 8 * SIDE
    assert step.recompilations == 1
    expected = "train step is compiled again: args[1]['image'] float32[16,16] -> float32[8,16]"
    assert _warnings(caplog) == [expected]
    # Both programs are kept: going back and forth compiles nothing.
    step(_state(), _batch())
    step(_state(), _batch(8))
    assert step.recompilations == 1 and len(_warnings(caplog)) == 1
    step(_state(), {"image": np.ones((SIDE, SIDE), np.int32)})
    assert "args[1]['image'] float32[8,16] -> int32[16,16]" in _warnings(caplog)[1]
    step(_state(), _batch() | {"index": np.arange(3)})
    assert "another structure" in _warnings(caplog)[2] and step.recompilations == 3


def test_what_is_not_watched_is_noticed_all_the_same(caplog):
    step = CompiledFunction(jax.jit(_step), "step", watch=(1,))
    step(_state(), _batch())
    state, _ = step({"a": jnp.zeros(5)}, _batch())
    np.testing.assert_array_equal(state["a"], np.full(5, SIDE * SIDE))
    assert step.recompilations == 1 and "another structure" in _warnings(caplog)[0]
    step(_state(), _batch())
    assert step.recompilations == 1


def test_the_state_is_donated():
    step, state = CompiledFunction(jax.jit(_step, donate_argnums=0), "step"), _state()
    new, _ = step(state, _batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert step.stats.alias_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(new))
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        step(state, _batch())
    assert step.recompilations == 0


def test_an_error_of_the_function_itself_is_raised_as_it_is():
    def broken(x):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        CompiledFunction(jax.jit(broken), "step")(np.ones(3))


def test_shardings_that_say_the_same_do_not_compile_and_others_do(shardings, caplog):
    replicated, by_batch = shardings
    step = CompiledFunction(jax.jit(_step), "step")  # without in_shardings: the arguments decide
    state = jax.device_put(_state(), replicated)
    step(state, jax.device_put(_batch(), by_batch))
    same = jax.NamedSharding(by_batch.mesh, jax.P("data", None))
    step(state, jax.device_put(_batch(), same))
    step(_state(), _batch())  # not put anywhere: goes where it is wanted
    assert step.recompilations == 0 and not _warnings(caplog)
    _, metrics = step(state, jax.device_put(_batch(), replicated))
    assert metrics["loss"] == SIDE**3 and step.recompilations == 1
    assert "args[1]['image'] float32[16,16] on" in _warnings(caplog)[0] and "'data'" in _warnings(caplog)[0]


def test_a_place_that_was_open_is_taken_only_if_it_fits(shardings, caplog):
    replicated, by_batch = shardings
    free = CompiledFunction(jax.jit(_step), "free")
    fixed = CompiledFunction(jax.jit(_step, in_shardings=(replicated, by_batch)), "fixed")
    for step in (free, fixed):
        step(_state(), _batch())
    placed = jax.device_put(_state(), replicated), jax.device_put(_batch(), by_batch)
    fixed(*placed)
    assert not _warnings(caplog)
    for _ in range(2):
        _, metrics = free(*placed)
        assert metrics["loss"] == SIDE**3 and (free.recompilations, fixed.recompilations) == (1, 0)
    assert len(_warnings(caplog)) == 1 and "free is compiled again: args[0]['a'] float32[3] ->" in _warnings(caplog)[0]
    # What jit itself refuses is refused, and compiles nothing.
    with pytest.raises(ValueError, match="sharding"):
        fixed(placed[0], jax.device_put(_batch(), replicated))


def test_what_it_costs(shardings):
    """The product counts once for all devices; memory counts for one device."""
    replicated, by_batch = shardings
    jitted = jax.jit(lambda a, b: a @ b, in_shardings=(by_batch, replicated), out_shardings=by_batch)
    product = CompiledFunction(jitted, "product")
    like = jax.ShapeDtypeStruct((64, 64), np.float32)
    stats = product.compile(like, like)
    assert stats is product.stats and stats.name == "product" and stats.seconds > 0
    assert stats.flops == pytest.approx(2 * 64**3, rel=0.02)
    assert (stats.argument_bytes, stats.output_bytes) == ((8 + 64) * 64 * 4, 8 * 64 * 4)
    assert stats.peak_bytes == stats.argument_bytes + stats.output_bytes + stats.temporary_bytes
    assert "product: compiled in" in stats.describe() and "0.00 GFLOP" in stats.describe()
    a = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    np.testing.assert_allclose(product(a, np.eye(64, dtype=np.float32)), a)
    assert product.recompilations == 0 and "dot" in product.executable.as_text()


def test_a_backend_that_does_not_tell_stops_nothing(monkeypatch):
    def unknown(_):
        raise NotImplementedError

    monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", unknown)
    monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda _: None)
    step = CompiledFunction(jax.jit(_step), "step")
    step(_state(), _batch())
    assert step.stats.flops is step.stats.peak_bytes is step.stats.temporary_bytes is None
    assert step.stats.describe() == f"step: compiled in {step.stats.seconds:.1f} s"


def test_the_persistent_cache_is_used(tmp_path):
    """The first instance writes an entry, the second, which was traced anew, reads it."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    events: list[str] = []

    def listen(event: str, **_) -> None:
        events.append(event)

    def compile_anew() -> None:
        def cubed(x):  # another function each time, with the same text
            return x @ x @ x

        CompiledFunction(jax.jit(cubed), "cubed").compile(np.ones((8, 8), np.float32))

    before = {name: getattr(jax.config, name) for name in options}
    jax.monitoring.register_event_listener(listen)
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        compile_anew()
        assert any("cubed" in path.name for path in tmp_path.iterdir())
        assert events.count("/jax/compilation_cache/cache_hits") == 0
        compile_anew()
        assert events.count("/jax/compilation_cache/cache_hits") == 1
    finally:
        jax.monitoring.unregister_event_listener(listen)
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
