"""A jitted function that is compiled ahead of time, knows what that cost, and says so when it is compiled again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

# Leaves that the warning of a recompilation lists by name; more are counted.
_MOST_NAMED = 3


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


class _Spec(NamedTuple):
    """What a compiled program wants to know of an array; no sharding: it goes where the program wants it."""

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any

    def __str__(self) -> str:
        text = f"{self.dtype}[{','.join(map(str, self.shape))}]"
        return text if self.sharding is None else f"{text} on {self.sharding}"


class _Program(NamedTuple):
    """One compilation: the executable, and the arguments that it was made for."""

    executable: jax.stages.Compiled
    stats: CompileStats
    structure: Any
    specs: tuple[_Spec, ...]

    def takes(self, structure: Any, specs: tuple[_Spec, ...]) -> bool:
        """Whether arguments like these can be given to it, as far as can be known without trying."""
        return structure == self.structure and not any(map(_differs, self.specs, specs))


class CompiledFunction:
    """A jitted function under a name, compiled at its first call and never again in silence.

    Arguments are positional. New values in arrays of the same kind never compile; neither do arrays of the host, which
    go wherever the program wants them, nor a sharding that says the same in other words.

    Args:
      jitted: made by `jax.jit`, without static arguments; donation and shardings stay as they are.
      name: for the log.
      watch: positions of the arguments whose shapes, types and shardings are checked at every call; None is all of
        them. The check costs about a microsecond an array, so a state that only ever comes out of the function itself
        may be left out. An argument that is not watched and changes all the same is noticed when the executable
        refuses it, and treated alike.
      check: is shown what a compilation gave, before the program runs; may raise.

    Example:
      >>> step = CompiledFunction(jax.jit(train_step, donate_argnums=0), "train step")
      >>> state, metrics = step(state, batch)
      >>> print(step.stats.describe())
    """

    def __init__(
        self,
        jitted: Callable,
        name: str,
        *,
        watch: Sequence[int] | None = None,
        check: Callable[[CompileStats], None] = lambda stats: None,
    ):
        self.name = name
        self.jitted = jitted
        self._check = check
        self._watch = None if watch is None else tuple(watch)
        self._programs: list[_Program] = []
        self._current: _Program | None = None
        self._seen: tuple | None = None

    @property
    def stats(self) -> CompileStats | None:
        """Of the program that ran last; None before the first."""
        return None if self._current is None else self._current.stats

    @property
    def executable(self) -> jax.stages.Compiled | None:
        """The program that ran last, for its text, its shardings and its costs; None before the first."""
        return None if self._current is None else self._current.executable

    @property
    def recompilations(self) -> int:
        """How often it was compiled after the first time."""
        return max(len(self._programs) - 1, 0)

    def compile(self, *args) -> CompileStats:
        """Compile for arguments like these without running; `jax.ShapeDtypeStruct` will do for arrays."""
        self._find(args)
        return self._current.stats

    def __call__(self, *args):
        """Run; compiles where no program for such arguments is there yet."""
        watched = args if self._watch is None else tuple(args[position] for position in self._watch)
        seen = _signature(watched)
        if self._current is None or seen != self._seen:
            self._find(args)
        self._seen, program = seen, self._current
        try:
            return program.executable(*args)
        except (TypeError, ValueError):  # raised before anything runs or is donated
            if program.takes(*_signature(args)) and not _newly_placed(program, args):
                raise
        self._find(args, refused=program)
        return self._current.executable(*args)

    def _find(self, args: tuple, refused: _Program | None = None) -> None:
        """Make the program for these arguments the current one; compiles if there is none."""
        structure, specs = _signature(args)
        for program in reversed(self._programs):
            if program is not refused and program.takes(structure, specs):
                break
        else:
            if self._current is not None:
                logging.warning("%s is compiled again: %s", self.name, _what_changed(self._current, args))
            program = _compile(self.jitted, self.name, args)
            self._check(program.stats)
            self._programs.append(program)
        self._current, self._seen = program, None


def _compile(jitted: Callable, name: str, args: tuple) -> _Program:
    start = time.perf_counter()
    lowered = jitted.lower(*args)  # ty: ignore[missing-attribute]  # what jax.jit gives has it
    executable = lowered.compile()
    seconds = time.perf_counter() - start
    costs, memory = _if_known(lowered.cost_analysis), _if_known(executable.memory_analysis)
    flops = costs.get("flops") if isinstance(costs, dict) else None
    sizes = {
        field: getattr(memory, f"{theirs}_size_in_bytes", None)
        for field, theirs in (
            ("temporary_bytes", "temp"),
            ("argument_bytes", "argument"),
            ("output_bytes", "output"),
            ("alias_bytes", "alias"),
            ("generated_code_bytes", "generated_code"),
        )
    }
    return _Program(executable, CompileStats(name, seconds, flops, **sizes), *_signature(args))


def _if_known(analysis: Callable[[], Any]) -> Any:
    """None where a backend cannot tell, in whatever way it says so: no run stops for that."""
    try:
        return analysis()
    except RuntimeError:  # NotImplementedError is one
        return None


def _signature(args: tuple) -> tuple[Any, tuple[_Spec, ...]]:
    leaves, structure = jax.tree.flatten(args)
    return structure, tuple(map(_spec, leaves))


def _spec(leaf: Any) -> _Spec:
    # By attributes, for `isinstance(leaf, jax.Array)` takes longer than all of this.
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        return _Spec(np.shape(leaf), jnp.result_type(leaf), None)
    # An array that was not put anywhere on purpose is moved, as one of the host is.
    return _Spec(leaf.shape, leaf.dtype, sharding if getattr(leaf, "committed", True) else None)


def _differs(old: _Spec, new: _Spec) -> bool:
    """Whether an array cannot stand where another stood. An array without a place of its own can stand anywhere."""
    if new.shape != old.shape or new.dtype != old.dtype:
        return True
    if new.sharding is None or old.sharding is None or new.sharding == old.sharding:
        return False
    return not new.sharding.is_equivalent_to(old.sharding, len(new.shape))


def _newly_placed(program: _Program, args: tuple) -> list[int]:
    """Leaves with a sharding where there was none when the program was made: it alone knows whether that fits."""
    pairs = zip(program.specs, _signature(args)[1], strict=True)
    return [index for index, (old, new) in enumerate(pairs) if old.sharding is None and new.sharding is not None]


def _what_changed(program: _Program, args: tuple) -> str:
    """Names the leaves that are other than in ``program``, old -> new."""
    structure, specs = _signature(args)
    if structure != program.structure:
        return f"the arguments have another structure, {program.structure} -> {structure}"
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(args)]
    changed = [index for index, pair in enumerate(zip(program.specs, specs)) if _differs(*pair)]
    changed = changed or _newly_placed(program, args)
    named = [
        f"args{jax.tree_util.keystr(paths[index])} {program.specs[index]} -> {specs[index]}"
        for index in changed[:_MOST_NAMED]
    ]
    more = len(changed) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
