"""A trace of the slowest case of the renderer's table, and which kernels of the device its time goes to.

python -m benchmarks.gpu --parts=renderer,trace
"""

import collections
import json
from pathlib import Path

import jax
from absl import app

from benchmarks.gpu.options import folder, is_tiny, say
from benchmarks.gpu.renderer import RESULTS_FILE, chosen_cases
from benchmarks.render.cases import Case
from benchmarks.render.measure import format_time

_CALLS, _ROWS = 3, 12


def main(argv: list[str]) -> None:
    """Flags in, folder and table out."""
    del argv
    case = _slowest(chosen_cases(is_tiny()))
    compiled = jax.jit(case.function).lower(*case.arguments).compile()
    jax.block_until_ready(compiled(*case.arguments))
    target = folder() / "trace"
    with jax.profiler.trace(str(target)):
        for _ in range(_CALLS):
            jax.block_until_ready(compiled(*case.arguments))
    files = sorted(target.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    say(f"{case.name}, {_CALLS} calls: `{target}`, for XProf or TensorBoard's profiler.")
    if files:
        _by_kernel(files[-1])


def _slowest(cases: list[Case]) -> Case:
    """Of what was measured; the first where nothing was."""
    path = folder() / RESULTS_FILE
    seconds = json.loads(path.read_text()) if path.is_file() else {}
    return max(cases, key=lambda case: seconds.get(case.name) or 0.0)


def _by_kernel(path: Path) -> None:
    """Time and launches by kernel on all streams of the first device."""
    planes = [plane for plane in jax.profiler.ProfileData.from_file(str(path)).planes if "/device:" in plane.name]
    if not planes:
        say("\nThe trace has no device in it, as on a CPU.")
        return
    total, count = collections.Counter(), collections.Counter()
    for line in planes[0].lines:
        # Lines of streams hold kernels; the others hold the same time by operation and by module.
        for event in line.events if "stream" in line.name.lower() else ():
            name = event.name.rstrip("0123456789_.")
            total[name] += event.duration_ns
            count[name] += 1
    busy = sum(total.values()) * 1e-9 / _CALLS
    say(f"\nBusy on the device: {format_time(busy)} a call, {sum(count.values()) / _CALLS:,.0f} kernels.\n")
    say("| kernel | time a call | launches a call | of the busy time |\n| --- | ---: | ---: | ---: |")
    for name, nanoseconds in total.most_common(_ROWS):
        each = nanoseconds * 1e-9 / _CALLS
        say(f"| {name} | {format_time(each)} | {count[name] / _CALLS:,.0f} | {100 * each / busy:.0f} % |")


if __name__ == "__main__":
    app.run(main)
