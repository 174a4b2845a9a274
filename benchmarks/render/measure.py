"""How things are timed."""

import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from benchmarks.render.cases import Case

RUNS = 7


class Measurement(NamedTuple):
    """Of one compiled function.

    Attributes:
        wall: seconds of a call, the median of several.
        cpu: seconds of processor time of a call, the median; twice the wall time where two cores are busy.
        compilation: seconds for tracing and compilation.
        memory: bytes of temporary memory that the compiled function asks for, beyond arguments and results.
    """

    wall: float
    cpu: float
    compilation: float
    memory: int


def measure(case: Case) -> Measurement:
    """Compiles a case, without the cache of compiled programs if that is off, and times it."""
    start = time.perf_counter()
    compiled = jax.jit(case.function).lower(*case.arguments).compile()
    compilation = time.perf_counter() - start
    wall, cpu = clock(lambda: jax.block_until_ready(compiled(*case.arguments)))
    return Measurement(wall, cpu, compilation, compiled.memory_analysis().temp_size_in_bytes)


def clock(call: Callable[[], object], runs: int = RUNS, warm_up: bool = True) -> tuple[float, float]:
    """Median wall and processor seconds of a call."""
    if warm_up:
        call()
    wall, cpu = [], []
    for _ in range(runs):
        start, start_cpu = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return statistics.median(wall), statistics.median(cpu)


def format_time(seconds: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def machine() -> str:
    """What this process runs on: processor, devices, versions."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = f"{len(models)} x {models[0]}" if models else platform.processor()
    device = "" if jax.default_backend() == "cpu" else f", {jax.device_count()} x {jax.devices()[0].device_kind}"
    return f"{processor}{device}, jax {jax.__version__}, Python {platform.python_version()}"
