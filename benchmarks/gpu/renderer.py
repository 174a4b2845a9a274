"""The renderer's table: the goals first, then all other cases, then every other backend on the same scenes.

python -m benchmarks.gpu --parts=renderer
"""

import json
from collections.abc import Callable, Iterator

import jax
from absl import app

from benchmarks.gpu import expected
from benchmarks.gpu.backends import available_backends
from benchmarks.gpu.options import folder, is_tiny, say, seconds_left
from benchmarks.render import cases
from benchmarks.render.cases import Case, Scene
from benchmarks.render.measure import clock, format_time, measure

# What a name ends with -> seconds that the case should take on one GPU.
GOALS = {
    "1 x 1024x1024, 39,200 faces, forward + backward": 5e-3,
    "192 x 64x64, 1,280 faces, forward + backward": 1.5e-3,
}
RESULTS_FILE = "renderer.json"
# Seconds that a case may take with its compilation, and that other renderers get at the end.
_LONGEST, _FOR_OTHERS = 15, 40


def main(argv: list[str]) -> None:
    """Flags in, tables out."""
    del argv
    if not is_tiny():
        # Timings of compilation would be timings of reading a file.
        jax.config.update("jax_enable_compilation_cache", False)
    seconds, left_out = {}, []
    say("| case | time | expected on an H100 | goal | compilation | temporary memory |")
    say("| --- | ---: | ---: | ---: | ---: | ---: |")
    for case in chosen_cases(is_tiny()):
        if seconds_left() < _FOR_OTHERS + _LONGEST and not is_tiny():
            left_out.append(case.name)
            continue
        seconds[case.name] = _row(case)
        (folder() / RESULTS_FILE).write_text(json.dumps(seconds, indent=1) + "\n")
    say("\nA star marks a goal that was missed.")
    if left_out:
        say(f"Left out, for the time was up: {'; '.join(left_out)}.")
    memory = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        say(f"Most memory in use: {memory['peak_bytes_in_use'] / 2**20:,.0f} MiB.")
    _others(seconds)


def chosen_cases(tiny: bool) -> list[Case]:
    """The rows of the table: those with a goal, the other backward passes, all else."""
    if not tiny:
        return sorted(cases.all_cases(quick=False), key=lambda case: (goal(case) is None, "backward" not in case.name))
    scene = cases.spheres(2, 1, 16)
    return [cases.silhouettes(scene)[1], cases.colours(scene, "hard", cases.texels(scene))[1], cases.z_buffer(scene)]


def goal(case: Case) -> float | None:
    """Seconds, None where there is no goal."""
    return next((seconds for ending, seconds in GOALS.items() if case.name.endswith(ending)), None)


def _row(case: Case) -> float | None:
    """One line of the table; a case that fails says why in it. Gives seconds."""
    try:
        result = measure(case)
    except Exception as error:  # out of memory, or a compiler that gives up: the next case may do
        say(f"| {case.name} | failed: {_first_line(error)} | | | | |")
        return None
    wanted = goal(case)
    missed = "" if wanted is None else format_time(wanted) + " \\*" * (result.wall > wanted)
    predicted = format_time(expected.expect(case).seconds)
    rest = f"{result.compilation:.1f} s | {result.memory / 2**20:.1f} MiB"
    say(f"| {case.name} | {format_time(result.wall)} | {predicted} | {missed} | {rest} |")
    return result.wall


def _others(seconds: dict[str, float | None]) -> None:
    """Every other renderer that is there, on the same scenes in the same process."""
    say("\n| case | renderer | time | ours | times as long |\n| --- | --- | ---: | ---: | ---: |")
    for case, renderer, call in (*_backends(), *_pytorch3d()):
        if seconds_left() < 3:
            say(f"| {case.name} | {renderer} | left out: the time is up | | |")
            continue
        try:
            theirs = clock(call)[0]
            ours = seconds.get(case.name) or measure(case).wall
        except Exception as error:  # of a library that is not ours
            say(f"| {case.name} | {renderer} | failed: {_first_line(error)} | | |")
            continue
        say(f"| {case.name} | {renderer} | {format_time(theirs)} | {format_time(ours)} | {theirs / ours:.2f} |")


def _scenes() -> list[Scene]:
    return [cases.spheres(2, 1, 16)] if is_tiny() else [cases.spheres(192, 3, 64), cases.globe(1, 1024)]


def _backends() -> Iterator[tuple[Case, str, Callable]]:
    for backend in available_backends(say):
        for scene in _scenes() if backend != "xla" else ():
            texels = cases.texels(scene, 4 if len(scene.points) > 1 else 1)
            ours = [cases.z_buffer(scene), *(cases.colours(scene, mode, texels)[1] for mode in ("hard", "antialias"))]
            theirs = [
                cases.z_buffer(scene, backend=backend),
                *(cases.colours(scene, mode, texels, backend=backend)[1] for mode in ("hard", "antialias")),
            ]
            for case, other in zip(ours, theirs):
                yield case, backend, _waited_for(other)


def _waited_for(case: Case) -> Callable:
    function = jax.jit(case.function)
    return lambda: jax.block_until_ready(function(*case.arguments))


def _pytorch3d() -> Iterator[tuple[Case, str, Callable]]:
    """PyTorch3D keeps 50 faces of a pixel for silhouettes, and drops the others."""
    try:
        from benchmarks.render import with_pytorch3d as theirs
    except ImportError as error:
        say(f"| PyTorch3D | left out: {_first_line(error)} | | | |")
        return
    name = f"PyTorch3D on {theirs.DEVICE}"
    for scene in _scenes():
        yield cases.silhouettes(scene)[1], name, theirs.silhouettes(scene)[1]
        yield cases.z_buffer(scene), name, theirs.z_buffer(scene)
    scene = _scenes()[0]
    picture = cases.picture(scene, 64)
    yield cases.colours(scene, "hard", picture)[1], name, theirs.hard_uv(scene, picture)[1]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].replace("|", "/")


if __name__ == "__main__":
    app.run(main)
