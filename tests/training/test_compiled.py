"""Compiled once: against the plain jitted function, on eight devices."""

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


@pytest.fixture
def shardings():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.NamedSharding(mesh, jax.P()), jax.NamedSharding(mesh, jax.P("data"))


def test_it_gives_what_the_jitted_function_gives_and_compiles_once():
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
    assert len(traces) == 1


def test_arrays_of_another_kind_are_refused_and_leave_the_program():
    step = CompiledFunction(jax.jit(_step, donate_argnums=0), "step")
    step(_state(), _batch())
    program, state = step.executable, _state()
    for batch, says in (
        (_batch(8), r"float32\[16,16\].*float32\[8,16\]"),
        ({"image": np.ones((SIDE, SIDE), np.int32)}, "int32"),
        (_batch() | {"index": np.arange(3)}, "index"),
    ):
        with pytest.raises(TypeError, match=f"(?s){says}"):
            step(state, batch)
    _, metrics = step(state, _batch())  # nothing was donated
    assert metrics["loss"] == SIDE**3 and step.executable is program


def test_the_state_is_donated():
    step, state = CompiledFunction(jax.jit(_step, donate_argnums=0), "step"), _state()
    new, _ = step(state, _batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert step.stats.alias_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(new))
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        step(state, _batch())


def test_an_error_of_the_function_itself_is_raised_as_it_is():
    def broken(x):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        CompiledFunction(jax.jit(broken), "step")(np.ones(3))


def test_shardings_that_say_the_same_are_taken_and_others_refused(shardings):
    replicated, by_batch = shardings
    free = CompiledFunction(jax.jit(_step), "free")  # without in_shardings: the first arguments decide
    fixed = CompiledFunction(jax.jit(_step, in_shardings=(replicated, by_batch)), "fixed")
    state, same = jax.device_put(_state(), replicated), jax.NamedSharding(by_batch.mesh, jax.P("data", None))
    for step in (free, fixed):
        # The last is not put anywhere: it goes where it is wanted.
        for args in (
            (state, jax.device_put(_batch(), by_batch)), (state, jax.device_put(_batch(), same)), (_state(), _batch())
        ):  # fmt: skip
            assert step(*args)[1]["loss"] == SIDE**3
        with pytest.raises(ValueError, match="sharding"):
            step(state, jax.device_put(_batch(), replicated))


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
    assert "dot" in product.executable.as_text()


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
