"""Options for large programs that are compiled while somebody waits."""

import functools
from collections.abc import Callable

import jax

# XLA's older way to generate code for the CPU: a third less time to compile, and the programs are as fast. See
# docs/measurements/training.md. XLA of jax 0.12 no longer has it.
_QUICK = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def quick_options() -> dict[str, bool]:
    """What to hand to ``jax.jit(compiler_options=...)``; empty where this XLA does not know the option.

    Asks for the devices, which must be set up before. Only for functions that are not called within another
    ``jax.jit``, which refuses options.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_QUICK).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # there is no such option
        return {}
    return _QUICK


def quick_jit(function: Callable, **options) -> Callable:
    """``jax.jit`` with :func:`quick_options`, which are asked for at the first call, when the devices are set up.

    Args:
      function: not called within another ``jax.jit``.
      options: of ``jax.jit``.
    """

    @functools.cache
    def compiled() -> Callable:
        return jax.jit(function, compiler_options=quick_options(), **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        return compiled()(*args, **kwargs)

    return call
