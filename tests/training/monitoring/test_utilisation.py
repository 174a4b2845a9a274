import inspect
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from ast_jax.training.monitoring.utilisation import model_flop_utilisation, peak_flops


@pytest.mark.parametrize(
    "kind, tera",
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("Tesla V100-SXM2-16GB", 125),
        ("TPU v4", 275),
        ("TPU v5 lite", 197),
        ("TPU v5", 459),
        ("TPU v5p", 459),
        ("TPU v6 lite", 918),
    ],
)
def test_known_devices_are_looked_up_by_the_name_jax_gives_them(kind, tera):
    assert inspect.unwrap(peak_flops)(_device(kind)) == tera * 1e12  # past the check of types


def _device(kind: str) -> SimpleNamespace:
    return SimpleNamespace(platform="gpu", device_kind=kind)


def test_an_unknown_device_is_measured_once():
    first = peak_flops(jax.devices()[0])
    assert peak_flops(jax.devices()[-1]) == first  # two measurements would differ
    matrix = jnp.ones((512, 512))
    multiply = jax.jit(lambda a: a @ a)
    multiply(matrix).block_until_ready()
    fastest = min(_seconds(multiply, matrix) for _ in range(10))
    assert 0.02 < 2 * 512**3 / fastest / first < 10


def _seconds(function, argument) -> float:
    start = time.perf_counter()
    function(argument).block_until_ready()
    return time.perf_counter() - start


def test_utilisation_is_one_at_the_peak():
    assert model_flop_utilisation(8e12, 2.0, 4, 1e12) == 1.0
    assert model_flop_utilisation(8e12, 4.0, 4, 1e12) == 0.5
    assert model_flop_utilisation(8e12, 2.0, 8, 1e12) == 0.5


@pytest.mark.parametrize("values", [(0.0, 1, 1e12), (1.0, 0, 1e12), (1.0, 1, 0.0)])
def test_nothing_is_divided_by_zero(values):
    with pytest.raises(ValueError, match="must be greater than 0"):
        model_flop_utilisation(1.0, *values)
