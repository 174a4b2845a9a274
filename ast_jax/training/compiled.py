"""A jitted function that is compiled ahead of time, once, and knows what that cost."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax

Result = TypeVar("Result")


@dataclass(frozen=True)
class CompileStats:
    """What compiling gave; None where the backend does not say.

    Args:
      name: of the function.
      seconds: tracing, lowering and compiling; little where the persistent cache had the program.
      flops: of one call, counted in the program before XLA's optimisation: of all devices together. Three things
        that it counts are less than what is done. The body of a loop counts once, however often it runs: the
        rasterizer's, whose length depends on the data, but also a `jax.lax.scan`. Inside `jax.shard_map` the share
        of one device counts. Custom kernels count nothing.
      temporary_bytes: per device, while the program runs.
      argument_bytes: per device.
      output_bytes: per device.
      alias_bytes: per device, outputs that live in donated arguments.
      generated_code_bytes: per device; the CPU does not tell and gives 0.
    """

    name: str
    seconds: float
    flops: float | None = None
    temporary_bytes: int | None = None
    argument_bytes: int | None = None
    output_bytes: int | None = None
    alias_bytes: int | None = None
    generated_code_bytes: int | None = None

    @property
    def peak_bytes(self) -> int | None:
        """Most memory that the program holds on a device: arguments, outputs and temporaries, shared ones once."""
        parts = (self.temporary_bytes, self.argument_bytes, self.output_bytes, self.alias_bytes)
        return None if None in parts else sum(parts[:3]) - parts[3]

    def describe(self) -> str:
        """One line for the log."""
        parts = [f"{self.name}: compiled in {self.seconds:.1f} s"]
        if self.flops is not None:
            parts.append(f"{self.flops / 1e9:.2f} GFLOP a call, loops counted once")
        if self.peak_bytes is not None:
            parts.append(f"{self.peak_bytes / 2**20:.1f} MiB a device ({self.temporary_bytes / 2**20:.1f} temporary)")
        return ", ".join(parts)


class CompiledFunction:
    """A jitted function under a name, compiled once, at its first call or by :meth:`compile`.

    Arguments are positional. New values in arrays of the same kind never compile; neither do arrays of the host, which
    go wherever the program wants them, nor a sharding that says the same in other words. Arrays of another kind are
    refused by name: a step that is compiled anew in the middle of a run would cost minutes without a word.

    Args:
      jitted: made by `jax.jit`, without static arguments; donation and shardings stay as they are.
      name: for the log.
      check: is shown what the compilation gave, before the program runs; may raise.

    Attributes:
      executable: the program, for its text, its shardings and its costs; None before it is compiled.
      stats: what compiling gave; None before.

    Raises:
      TypeError, ValueError: when called with arrays of other shapes, types or shardings than the first ones.

    Example:
      >>> step = CompiledFunction(jax.jit(train_step, donate_argnums=0), "train step")
      >>> state, metrics = step(state, batch)
      >>> print(step.stats.describe())
    """

    def __init__(self, jitted: Callable, name: str, *, check: Callable[[CompileStats], None] = lambda stats: None):
        self.jitted, self.name, self._check = jitted, name, check
        self.executable: jax.stages.Compiled | None = None
        self.stats: CompileStats | None = None

    def compile(self, *args) -> CompileStats:
        """Compile for arguments like these without running; `jax.ShapeDtypeStruct` will do for arrays."""
        start = time.perf_counter()
        lowered = self.jitted.lower(*args)  # ty: ignore[missing-attribute]
        executable = lowered.compile()
        stats = _stats(self.name, time.perf_counter() - start, lowered, executable)
        self._check(stats)
        self.executable, self.stats = executable, stats
        return stats

    def __call__(self, *args):
        """Run; compiles at the first call."""
        if self.executable is None:
            self.compile(*args)
        return self.executable(*args)


def _stats(name: str, seconds: float, lowered: jax.stages.Lowered, executable: jax.stages.Compiled) -> CompileStats:
    costs, memory = _if_known(lowered.cost_analysis), _if_known(executable.memory_analysis)
    flops = costs.get("flops") if isinstance(costs, dict) else None
    theirs = {"temporary": "temp", "argument": "argument", "output": "output", "alias": "alias"}
    theirs["generated_code"] = "generated_code"
    sizes = {f"{ours}_bytes": getattr(memory, f"{its}_size_in_bytes", None) for ours, its in theirs.items()}
    return CompileStats(name, seconds, flops, **sizes)


def _if_known(analysis: Callable[[], Result]) -> Result | None:
    """None where a backend cannot tell, in whatever way it says so: no run stops for that."""
    try:
        return analysis()
    except RuntimeError:  # NotImplementedError is one
        return None
