"""Options that XLA may or may not know."""

import jax
import pytest

from ast_jax import compile_options
from ast_jax.compile_options import quick_options


@pytest.fixture(autouse=True)
def forgotten():
    yield quick_options.cache_clear()
    quick_options.cache_clear()


def test_what_it_gives_compiles():
    assert jax.jit(lambda x: 2 * x, compiler_options=quick_options())(3.0) == 6.0


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compile_options, "_QUICK", {"xla_of_another_day": False})
    assert quick_options() == {}


def test_other_backends_get_none(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert quick_options() == {}
