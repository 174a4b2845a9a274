"""The parts of the page, in their order, and how long each of them may take."""

from typing import NamedTuple

from ast_jax.near_match import choose


class Part(NamedTuple):
    """One section of the page.

    Attributes:
        name: for `--parts`.
        title: heading.
        note: what is measured, one line or a few.
        seconds: after which it is ended.
        module: that is run.
        options: of its command line.
        tiny: the same for a trial on a CPU.
        is_ours: takes the flags of `benchmarks.gpu.options`, too.
    """

    name: str
    title: str
    note: str
    seconds: int
    module: str
    options: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()
    is_ours: bool = True


_STEP = ("--config=configs/cub.py:ast", "--stage=joint", "--phase=shape", "--config.render.blending=hard")
_TINY_STEP = (
    "--config=configs/quickstart.py:tiny,shape=mlp",
    "--config.optimizer.name=adamw",  # less to compile
    "--config.stages=(('shape', 4),)",  # as many as of the quickstart below, which finds the program in the cache
    "--stage=shape",
    "--noast_size",
    "--repeats=1",
)
_BFLOAT16 = "--config.precision.compute=bfloat16"
_STEP_NOTE = """\
The size of the released AST code, 32 pictures a step, `python -m benchmarks.train_step`; joint stage, steps that train
the shape, hard colours. Goal: the decoders reach at least 50 % of the device's peak."""

PARTS = (
    Part("device", "Device", "What it is, and what it reaches at best.", 35, "benchmarks.gpu.device"),
    Part(
        "correctness",
        "Correctness",
        "Float32 beside brute force in float64 by its definition: pictures, and gradients along random directions.",
        75,
        "benchmarks.gpu.correctness",
    ),
    Part(
        "renderer",
        "Renderer",
        "Medians of several calls that are waited for. *Forward + backward* is a mean squared loss with its gradient.\n"
        "*Expected*, on an H100, was written down before one was measured, see `benchmarks/gpu/expected.py`: kernels\n"
        "x 2.5 us + waits for the host x 15 us + bytes / 3.35 TB/s, with kernels read from compiled programs.",
        160,
        "benchmarks.gpu.renderer",
    ),
    Part("step", "A train step, float32", _STEP_NOTE, 70, "benchmarks.train_step", _STEP, _TINY_STEP, False),
    Part(
        "bfloat16",
        "The same in bfloat16",
        "Encoder and decoders compute in it; the renderer, losses and parameters stay float32.",
        60,
        "benchmarks.train_step",
        (*_STEP, _BFLOAT16),
        (*_TINY_STEP, _BFLOAT16),
        False,
    ),
    Part(
        "trace",
        "The slowest case, traced",
        "Time on the device by kernel, of the slowest row above.",
        30,
        "benchmarks.gpu.trace",
    ),
    Part(
        "quickstart",
        "The quickstart within its time",
        "`launch.train --config=configs/quickstart.py`, asked to stop when the time is up, then evaluated.",
        120,
        "benchmarks.gpu.quickstart",
    ),
)


def chosen_parts(names: list[str]) -> list[Part]:
    """Parts by name, in the order of the page.

    Raises:
        ValueError: there is none of a name.
    """
    known = {part.name: part for part in PARTS}
    chosen = {choose("--parts", name, tuple(known)) for name in names}
    return [part for part in PARTS if part.name in chosen]
