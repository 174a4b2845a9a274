"""What a case should take on an H100, worked out before there was one to measure.

    python -m benchmarks.gpu.expected

prints the table of docs/measurements/gpu.md. The model, for one call:

    time = kernels x LAUNCH + waits x WAIT + max(bytes / BANDWIDTH, operations / FLOPS)

The work lists of `render.worklist` are walked in chunks; how many there are is counted by that very code, with the
length of chunks that accelerators get. A chunk costs some kernels once, most of them for the search for the face of
each pair, which is a loop of its own, and some for each pixel of a window. Their numbers were read from the programs
that XLA of jax 0.10.2 makes for an H100. Bytes are those of the arrays over pairs that the kernels of a pixel read and
write, and a sector of 32 bytes for each element that is gathered or scattered; both are counted by hand.
Programs that were read are the z-buffer's and those of forward + backward at 32 x 64x64; what forward alone launches
outside of its walks, and how often the loops of `layered` run, are estimates.
"""

import math
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from benchmarks.render.cases import CUTOFF, SIGMA, Case, Scene, all_cases
from benchmarks.render.measure import format_time
from render import FaceTexels, worklist
from render.screen import soft_box, to_screen

# NVIDIA H100 SXM data sheet: bytes/s of the memory, FLOP/s in float32 outside of the tensor cores.
BANDWIDTH, FLOPS = 3.35e12, 67e12
# Seconds for one small kernel after another, and for a loop whose next round waits until the host knows the condition;
# both from experience with such programs.
LAUNCH, WAIT = 2.5e-6, 15e-6
SECTOR = 32
# Kernels of a round of the search for the faces of a chunk.
_SEARCH = 4


class Walk(NamedTuple):
    """One walk over a work list.

    Attributes:
        soft: boxes grown by the reach of soft borders, else those of the faces alone.
        once: kernels of a chunk beside its search and its pixels.
        kernels: of a pixel.
        floats: read and written by them for a pair.
        sectors: read and written by them for a pair.
        operations: of them for a pair.
        texels: how often they read or write all texels of a face.
    """

    soft: bool
    once: int
    kernels: int
    floats: int
    sectors: int
    operations: int
    texels: int = 0


class Mode(NamedTuple):
    """A rule of blending, forward or with its backward pass.

    Attributes:
        kernels: outside of the walks.
        waits: for conditions and loops outside of the walks.
        floats: of a pixel of the picture, read and written outside of the walks.
        walks: over work lists.
    """

    kernels: int
    waits: int
    floats: int
    walks: tuple[Walk, ...]


_Z_BUFFER = Walk(False, 8, 7, 24, 8, 60)
_COVERAGE, _COVERAGE_BACK = Walk(True, 8, 3, 12, 2, 80), Walk(True, 16, 4, 28, 1, 120)
_SOFTMAX = (Walk(True, 8, 4, 18, 4, 120), Walk(True, 9, 8, 27, 9, 250, texels=1))
_SOFTMAX_BACK = Walk(True, 26, 12, 70, 7, 600, texels=4)
_COUNT, _COLLECT = Walk(True, 8, 3, 24, 4, 120), Walk(True, 14, 3, 28, 2, 120)
# By mode: forward, and forward + backward.
MODES = {
    "z-buffer": (Mode(25, 0, 20, (_Z_BUFFER,)),) * 2,
    "silhouette": (
        Mode(22, 1, 4, (_COVERAGE,)),
        Mode(34, 1, 10, (_COVERAGE, _COVERAGE_BACK)),
    ),
    "hard": (
        Mode(40, 1, 60, (_Z_BUFFER, _COVERAGE)),
        Mode(66, 1, 160, (_Z_BUFFER, _COVERAGE, _COVERAGE_BACK)),
    ),
    "softmax": (
        Mode(35, 3, 20, _SOFTMAX),
        Mode(56, 5, 60, (*_SOFTMAX, _SOFTMAX_BACK)),
    ),
    "antialias": (
        Mode(65, 8, 150, (_Z_BUFFER,)),
        Mode(90, 8, 400, (_Z_BUFFER,)),
    ),
    # Lists are filled with one of the 25 pixels of all windows after the other, each of which waits for the host; they
    # are sorted, coloured in lots, and summed up in rounds: once forward and once backward.
    "layered": (
        Mode(340, 40, 250, (_Z_BUFFER, _COUNT, _COLLECT)),
        Mode(720, 90, 700, (_Z_BUFFER, _COUNT, _COLLECT, _COLLECT)),
    ),
}
_CHUNKS: dict[tuple[str, bool], tuple[int, int]] = {}


class Expected(NamedTuple):
    """Of one call.

    Attributes:
        chunks: of all walks together.
        kernels: launched.
        launching: seconds for kernels and waits.
        working: seconds for bytes or operations, whichever take longer.
    """

    chunks: int
    kernels: int
    launching: float
    working: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.launching + self.working


def expect(case: Case) -> Expected:
    """The prediction for a case of `benchmarks.render.cases`."""
    scene = case.scene
    mode = MODES[case.name.split(",")[0]][case.name.endswith("backward")]
    faces = len(scene.points) * len(scene.faces)
    search = _SEARCH * math.ceil(math.log2(faces + 1))
    pixels = len(scene.points) * math.prod(scene.image_size)
    texture = case.arguments[1] if len(case.arguments) > 1 else None
    texels = math.prod(texture.values.shape[2:]) if isinstance(texture, FaceTexels) else 0
    chunks, kernels, waits = 0, mode.kernels, mode.waits
    traffic, operations = 4 * mode.floats * pixels, 0
    for walk in mode.walks:
        count, length = count_chunks(scene, walk.soft)
        window = worklist.make_canvas(1, scene.image_size).side ** 2
        chunks += count
        kernels += count * (walk.once + search + walk.kernels * window)
        waits += count + 1
        each = 4 * (walk.floats + walk.texels * texels) + SECTOR * walk.sectors
        traffic += each * count * length * window
        operations += walk.operations * count * length * window
    return Expected(chunks, kernels, kernels * LAUNCH + waits * WAIT, max(traffic / BANDWIDTH, operations / FLOPS))


def count_chunks(scene: Scene, soft: bool) -> tuple[int, int]:
    """Chunks of a work list, and pairs of a chunk, as `render.worklist` walks it on an accelerator.

    Args:
        scene: the batch.
        soft: boxes grown by the reach of soft borders.

    Returns:
        Number, at least 1, and length.
    """
    key = scene.name, soft
    if key in _CHUNKS:
        return _CHUNKS[key]
    points = np.asarray(scene.points)
    canvas = worklist.make_canvas(len(scene.points), scene.image_size)
    reach = math.sqrt(SIGMA * math.log(1 / CUTOFF - 1)) * min(scene.image_size) / 2 if soft else 0.0

    def count(points):
        screen = to_screen(scene.camera.project(points), scene.faces, scene.image_size, None, None)
        work = worklist.build(*soft_box(screen, reach), screen.soft, canvas)

        def step(pairs: worklist.Pairs, carry):
            return carry[0] + 1, jnp.maximum(carry[1], len(pairs.face))

        return worklist.walk(work, canvas, step, (jnp.zeros((), jnp.int32),) * 2)

    # On the CPU, whose compiler is the quicker one.
    with mock.patch.object(jax, "default_backend", lambda: "gpu"), jax.default_device(jax.devices("cpu")[0]):
        chunks, length = jax.jit(count).lower(points).compile()(points)
    _CHUNKS[key] = max(int(chunks), 1), max(int(length), 1)
    return _CHUNKS[key]


def main(argv: list[str]) -> None:
    """Flags in, table out."""
    del argv
    print("| case | expected | launching | bytes and operations | kernels | chunks |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for case in all_cases(quick=False):
        found = expect(case)
        times = " | ".join(format_time(seconds) for seconds in (found.seconds, found.launching, found.working))
        print(f"| {case.name} | {times} | {found.kernels:,} | {found.chunks} |", flush=True)


if __name__ == "__main__":
    app.run(main)
