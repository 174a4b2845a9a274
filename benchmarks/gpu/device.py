"""What the device is, and the rates that everything else on the page can be held against.

python -m benchmarks.gpu --parts=device
"""

import datetime
import importlib.metadata
import shutil
import subprocess
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app

from benchmarks.gpu import expected
from benchmarks.gpu.options import is_tiny, say
from benchmarks.render.measure import clock, machine

_QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,compute_mode,mig.mode.current"
_ROUNDS = 200


def main(argv: list[str]) -> None:
    """Flags in, lines out."""
    del argv
    say(f"- {datetime.date.today()}, {machine()}")
    say(f"- nvidia-smi: {_nvidia_smi()}")
    device = jax.devices()[0]
    say(f"- jax: {device.client.platform_version.splitlines()[0]}; {', '.join(_versions())}")
    say(f"- memory: {_memory(device)}")
    say()
    say("| rate | measured | taken for *expected* |\n| --- | ---: | ---: |")
    for name, measured, taken in _rates(is_tiny()):
        say(f"| {name} | {measured} | {taken} |")


def _nvidia_smi() -> str:
    if not shutil.which("nvidia-smi"):
        return "not there"
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    except subprocess.TimeoutExpired:
        return "no answer within 15 s"
    return "; ".join((done.stdout or done.stderr).strip().splitlines()) or "no answer"


def _versions() -> list[str]:
    """Of what is installed of jax and of CUDA."""
    found = {}
    for package in importlib.metadata.distributions():
        name = (package.metadata["Name"] or "").lower()
        if name in ("jaxlib", "flax", "optax", "torch", "nvdiffrast", "pytorch3d") or name.startswith(
            ("jax-cuda", "nvidia-cuda-runtime", "nvidia-cuda-nvcc", "nvidia-cudnn")
        ):
            found[name] = package.version
    return [f"{name} {version}" for name, version in sorted(found.items())]


def _memory(device: jax.Device) -> str:
    stats = device.memory_stats() or {}
    return f"{stats['bytes_limit'] / 2**30:.1f} GiB for jax" if "bytes_limit" in stats else "the device does not tell"


def _rates(tiny: bool):
    """Name, what was measured and what the predictions take, one after the other."""
    side = 256 if tiny else 8192
    for dtype in (jnp.float32, jnp.bfloat16):
        matrix = jnp.full((side, side), 1 / side, dtype)
        rate = 2 * side**3 / _seconds(lambda a: a @ a, matrix) / 1e12
        yield f"product of {side} x {side}, {dtype.__name__}, jax's default precision", f"{rate:.3g} TFLOP/s", ""
    vector = jnp.zeros(2**20 if tiny else 2**28, jnp.float32)
    rate = 2 * vector.nbytes / _seconds(lambda x: x + 1, vector) / 1e12
    yield "memory, read and written", f"{rate:.3g} TB/s", f"{expected.BANDWIDTH / 1e12:.3g} TB/s"
    lane = jnp.zeros(2**10 if tiny else 2**17, jnp.int32)
    number = jnp.zeros((), jnp.int32)
    yield "a call, waited for", _micro(_seconds(lambda x: x + 1, lane)), ""
    fixed = _seconds(lambda x: jax.lax.fori_loop(0, _ROUNDS, _scatter, x), lane) / _ROUNDS
    yield "a round of a loop of known length, one scatter in it", _micro(fixed), _micro(2 * expected.LAUNCH)
    asked = _seconds(lambda x, n: jax.lax.fori_loop(0, n + _ROUNDS, _scatter, x), lane, number) / _ROUNDS
    yield "more, where the device knows the length", _micro(asked - fixed), _micro(expected.WAIT)


def _scatter(index: jax.Array, values: jax.Array) -> jax.Array:
    place = (jnp.arange(len(values), dtype=jnp.int32) * 7 + index) % len(values)
    return values.at[place].add(index, mode="promise_in_bounds")


def _seconds(function: Callable, *arguments) -> float:
    compiled = jax.jit(function)
    return clock(lambda: jax.block_until_ready(compiled(*arguments)))[0]


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


if __name__ == "__main__":
    app.run(main)
