"""Speed of the renderer: one table, beside a dense brute force of the same formulas and, where installed, PyTorch3D.

    python -m benchmarks.render --plot=docs/images/render_speed.png

Times are medians of several calls, in float32. Compilation is timed without the cache of compiled programs. A star
marks a target that was missed; targets hold for two CPU cores.
"""

import datetime
import pathlib

import jax
import numpy as np
from absl import app, flags, logging

from benchmarks.render import cases, growth, plot
from benchmarks.render.cases import Case
from benchmarks.render.measure import Measurement, clock, format_time, machine, measure

_QUICK = flags.DEFINE_bool("quick", False, "Smaller scenes, no targets: a minute.")
_PARTS = flags.DEFINE_list("parts", ["cases", "dense", "pytorch3d", "growth"], "What to measure.")
_PLOT = flags.DEFINE_string("plot", None, "PNG of time over faces and over resolution.")
_MARKDOWN = flags.DEFINE_string("markdown", None, "File that gets the tables, too.")


class Page:
    """Prints lines as they come, and keeps them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str = "") -> None:
        print(line, flush=True)
        self.lines.append(line)


def main(argv: list[str]) -> None:
    """Flags in, tables out."""
    del argv
    logging.set_verbosity(logging.WARNING)
    # Timings of compilation would be timings of reading a file.
    jax.config.update("jax_enable_compilation_cache", False)
    page = Page()
    page(f"{datetime.date.today()}, {machine()}")
    parts = {"cases": _cases, "dense": _dense, "pytorch3d": _pytorch3d, "growth": _growth}
    for part in _PARTS.value:
        page()
        parts[part](page, _QUICK.value)
    if _MARKDOWN.value:
        pathlib.Path(_MARKDOWN.value).write_text("\n".join(page.lines) + "\n")


def _cases(page: Page, quick: bool) -> None:
    page("| case | wall | target | CPU | compilation | temporary memory |\n|---|---|---|---|---|---|")
    for case in cases.all_cases(quick):
        result = measure(case)
        page(f"| {case.name} | {format_time(result.wall)} | {_target(case, result)} | {_rest(result)} |")


def _target(case: Case, result: Measurement) -> str:
    if case.target is None:
        return ""
    return f"{format_time(case.target)}{' *' if result.wall > case.target else ''}"


def _rest(result: Measurement) -> str:
    return f"{format_time(result.cpu)} | {result.compilation:.1f} s | {result.memory / 2**20:.1f} MiB"


def _dense(page: Page, quick: bool) -> None:
    """Ratios to brute force, where it fits."""
    page("| silhouettes | ours | dense | times as long | temporary memory, ours | dense |\n|---|---|---|---|---|---|")
    for scene in (cases.spheres(2, 2, 32), cases.spheres(1 if quick else 4, 3, 64)):
        for ours, dense in zip(cases.silhouettes(scene), cases.silhouettes(scene, cases.dense_coverage)):
            mine, theirs = measure(ours), measure(dense)
            memory = f"{mine.memory / 2**20:.1f} MiB | {theirs.memory / 2**20:.0f} MiB"
            times = f"{format_time(mine.wall)} | {format_time(theirs.wall)} | {theirs.wall / mine.wall:.0f}"
            page(f"| {ours.name.removeprefix('silhouette, ')} | {times} | {memory} |")


def _pytorch3d(page: Page, quick: bool) -> None:
    """Ratios to PyTorch3D, with the greatest difference of the pictures, so that both are known to draw the same."""
    try:
        from benchmarks.render import with_pytorch3d as theirs
    except ImportError:
        page("PyTorch3D is not installed: skipped.")
        return
    page("| case | ours | PyTorch3D | times as long | mean difference of pictures |\n|---|---|---|---|---|")
    training = cases.spheres(2 if quick else 32, 3, 64)
    uv = cases.picture(training)
    rows = [
        (cases.silhouettes(training), theirs.silhouettes(training)),
        (cases.colours(training, "hard", uv), theirs.hard_uv(training, uv)),
    ]
    for level in () if quick else (5, 6):
        scene = cases.spheres(1, level, 256)
        rows.append((cases.silhouettes(scene), theirs.silhouettes(scene)))
        rows.append(([cases.z_buffer(scene)], (theirs.z_buffer(scene),)))
    for mine, calls in rows:
        for number, (case, call) in enumerate(zip(mine, calls)):
            wall, other = measure(case).wall, clock(call, runs=1, warm_up=quick)[0]
            difference = _difference(case, theirs.to_numpy(call())) if number == 0 else ""
            page(f"| {case.name} | {format_time(wall)} | {format_time(other)} | {other / wall:.0f} | {difference} |")


def _difference(case: Case, theirs: np.ndarray) -> str:
    ours = jax.tree.leaves(jax.jit(case.function)(*case.arguments))
    mine = next(np.asarray(leaf) for leaf in ours if leaf.shape == theirs.shape and leaf.dtype == theirs.dtype)
    return f"{np.abs(mine - np.maximum(theirs, 0)).mean():.1e}"


def _growth(page: Page, quick: bool) -> None:
    """Time over faces and over resolution."""
    sweeps = {
        "256x256 pixels": growth.over_faces(quick),
        "1,280 faces": growth.over_resolution(3, quick),
        "20,480 faces": growth.over_resolution(5, quick),
    }
    page("| pixels | faces | soft, forward + backward | z-buffer | dense | pairs in soft boxes | in boxes | dense |")
    page("|---|---|---|---|---|---|---|---|")
    points = [point for sweep in sweeps.values() for point in sweep]
    for point in points:
        seconds = [point.seconds.get(kind) for kind in (growth.SOFT, growth.HARD, growth.DENSE)]
        times = " | ".join("" if value is None else format_time(value) for value in seconds)
        counts = " | ".join(f"{count:,}" for count in (*point.pairs.values(), point.dense_pairs))
        page(f"| {_side(point)}x{_side(point)} | {point.faces:,} | {times} | {counts} |")
    page()
    for kind, pairs in ((growth.SOFT, growth.SOFT_PAIRS), (growth.HARD, growth.HARD_PAIRS)):
        for name, sweep in sweeps.items():
            if sweep[-1].pairs[pairs] > 2 * sweep[0].pairs[pairs]:
                page(f"- {kind}, {name}: time grows as ({pairs})^{growth.exponent(sweep, kind, pairs):.2f}.")
        each = growth.costs(points, kind, pairs)
        parts = ", ".join(f"{1e9 * each[unit]:.1f} ns a {unit}" for unit in ("face", "pixel", "pair"))
        page(f"- {kind}: {1e3 * each['call']:.1f} ms a call, {parts} ({pairs}) fit all scenes best.")
    for kind, seconds in _by_kind(growth.over_batch(quick)).items():
        times = ", ".join(f"{format_time(second)} of {batch}" for batch, second in seconds.items())
        page(f"- {kind}, 64x64 pixels, 1,280 faces: an image takes {times}.")
    if _PLOT.value:
        _draw(_PLOT.value, sweeps)


def _by_kind(seconds: dict[int, dict[str, float]]) -> dict[str, dict[int, float]]:
    return {kind: {batch: each[kind] for batch, each in seconds.items()} for kind in (growth.SOFT, growth.HARD)}


def _side(point: growth.Point) -> int:
    """Pixels along a side of the image."""
    return round(point.pixels**0.5)


def _draw(path: str, sweeps: dict[str, list[growth.Point]]) -> None:
    kinds = {growth.SOFT: "blue", growth.HARD: "orange", growth.DENSE: "green"}
    counts = {growth.SOFT_PAIRS: "blue", growth.HARD_PAIRS: "orange"}
    charts = []
    for name, points in sweeps.items():
        over_faces = points[0].faces != points[-1].faces
        xs = [point.faces if over_faces else _side(point) for point in points]
        lines = []
        for kind, colour in kinds.items():
            timed = [(x, point.seconds[kind]) for x, point in zip(xs, points) if kind in point.seconds]
            lines.append(plot.Line(kind, [x for x, _ in timed], [seconds for _, seconds in timed], colour))
        for kind, colour in counts.items():
            lines.append(plot.Line(kind, xs, [point.pairs[kind] for point in points], colour, right=True, dashed=True))
        dense = [point.dense_pairs for point in points]
        lines.append(plot.Line("faces x pixels", xs, dense, "grey", right=True, dashed=True))
        charts.append(plot.Chart(name, "faces" if over_faces else "pixels along a side", lines, (-5, 3), (3, 11)))
    plot.save(path, charts, "seconds", "pairs")


if __name__ == "__main__":
    app.run(main)
