"""What a train step costs on machines that are not at hand, computed from the program that is compiled for them.

    python -m benchmarks.scaling --output=docs/scaling.md
    python -m benchmarks.scaling --weak --config=configs/quickstart.py:tiny

Every machine's step is compiled for as many fake CPU devices, with its mesh, and never run. From the program come the
arithmetic (of all devices together), the memory per device, and every transfer between devices with its size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.process import command_line
from ast_jax.training.monitoring.utilisation import PEAK_FLOPS
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from benchmarks.collectives import Collective, count_by_kind, find_collectives
from benchmarks.noise import noise_batch

_CONFIG = command_line.define_config("configs/large.py")
_OUTPUT = flags.DEFINE_string("output", "", "Markdown page; empty: print.")
_WEAK = flags.DEFINE_bool("weak", False, "Instead: collectives from 1 to 8 devices with the same batch on each.")
_UTILISATION = flags.DEFINE_float("utilisation", 0.4, "Share of the peak that matrix products reach; an assumption.")


@dataclass(frozen=True)
class Machine:
    """Devices of one kind with a network between them.

    Args:
      name: for the table.
      devices: how many.
      mesh: of the config.
      peak: FLOP/s of one device, bfloat16.
      bandwidth: bytes/s between one device and its memory.
      link: bytes/s that one device sends to its neighbours in one direction.
      source: of these numbers.
    """

    name: str
    devices: int
    mesh: tuple[tuple[str, int], ...]
    peak: float
    bandwidth: float
    link: float
    source: str


MACHINES = (
    Machine("8 x H100", 8, (("data", 8), ("model", 1)), PEAK_FLOPS["H100"], 3.35e12, 450e9,
            "NVIDIA H100 SXM data sheet: memory 3.35 TB/s, NVLink 900 GB/s in both directions together"),
    Machine("v5e-64", 64, (("data", 64), ("model", 1)), PEAK_FLOPS["TPU v5e"], 819e9, 100e9,
            "Cloud TPU v5e: memory 819 GB/s, interconnect 1,600 Gbit/s a chip, half of it in each direction"),
    Machine("v5p-256", 256, (("data", 128), ("model", 2)), PEAK_FLOPS["TPU v5"], 2765e9, 300e9,
            "Cloud TPU v5p: memory 2,765 GB/s, interconnect 4,800 Gbit/s a chip, half of it in each direction"),
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one step.

    Args:
      flops: of all devices together.
      traffic_bytes: between one device and its memory.
      state_bytes: parameters, moments and average on one device.
      temporary_bytes: on one device, as XLA's CPU compiler lays them out.
      collectives: of one part of the batch; each part has them.
      parts: ``config.accumulate_steps``.
    """

    flops: float
    traffic_bytes: float
    state_bytes: int
    temporary_bytes: int
    collectives: list[Collective]
    parts: int

    @property
    def sent_bytes(self) -> float:
        """By one device, in the whole step."""
        return self.parts * sum(collective.sent for collective in self.collectives)


def main(argv: list[str]) -> None:
    """Flags in, a page out."""
    del argv
    jax.config.update("jax_num_cpu_devices", 8 if _WEAK.value else max(machine.devices for machine in MACHINES))
    text = "\n".join(_weak_table(_CONFIG.value) if _WEAK.value else _page(_CONFIG.value))
    if _OUTPUT.value:
        Path(_OUTPUT.value).write_text(text + "\n")
    print(text)


def step_cost(config: ConfigDict, devices: int) -> Cost:
    """Compile the step of the last stage for the first devices and read what it costs.

    A part of the batch is compiled in place of the whole: the loop over the parts would be counted once.
    """
    parts, config = config.accumulate_steps, config.copy_and_resolve_references()
    config.batch_size //= parts
    config.accumulate_steps = 1
    program = make_program(config, make_layout(config, jax.devices()[:devices]), abstract=True)
    stage = program.stages[-1]
    step = program.step(stage, 0)
    step.compile(program.first_state, _abstract_batch(config, program.layout.by_batch), program.values[stage.name])
    state_bytes = sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(program.first_state)
    )
    collectives = find_collectives(step.executable.as_text(), devices)
    traffic = step.executable.cost_analysis()["bytes accessed"]
    return Cost(parts * step.stats.flops, parts * traffic, state_bytes, step.stats.temporary_bytes, collectives, parts)


def _abstract_batch(config: ConfigDict, sharding: jax.sharding.NamedSharding) -> Batch:
    """Shapes of a batch of the config, split as batches are."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), noise_batch(config))


def _page(config: ConfigDict) -> Iterable[str]:
    yield from _INTRODUCTION.splitlines()
    yield (
        "| machine | mesh | TFLOP a step | traffic a device | sent a device | compute | memory | transfers | step | "
        "pictures/s | efficiency | state a device | temporary a device |"
    )
    yield "| --- | --- |" + " ---: |" * 11
    notes = []
    for machine in MACHINES:
        config.mesh = machine.mesh
        cost = step_cost(config, machine.devices)
        compute = cost.flops / (machine.devices * machine.peak * _UTILISATION.value)
        memory, transfers = cost.traffic_bytes / machine.bandwidth, cost.sent_bytes / machine.link
        step = max(compute, memory) + transfers
        mesh = " x ".join(f"{name} {size}" for name, size in machine.mesh)
        yield (
            f"| {machine.name} | {mesh} | {cost.flops / 1e12:,.0f} | {cost.traffic_bytes / 1e9:,.0f} GB | "
            f"{cost.sent_bytes / 1e9:.1f} GB | {compute:.2f} s | {memory:.2f} s | {transfers:.2f} s | {step:.2f} s | "
            f"{config.batch_size / step:,.0f} | {100 * (step - transfers) / step:.0f} % | "
            f"{cost.state_bytes / 1e9:.2f} GB | {cost.temporary_bytes / 1e9:.1f} GB |"
        )
        counts = ", ".join(f"{n} {kind}" for kind, n in count_by_kind(cost.collectives).items() if n)
        notes.append(f"- {machine.name}: {counts} in each of {cost.parts} parts of a batch. {machine.source}.")
    yield ""
    yield from notes


_INTRODUCTION = """# Scale, on paper

```
python -m benchmarks.scaling --output=docs/scaling.md
```
made this page. **Nothing here was run on such machines**: the train step of `configs/large.py` is compiled for as many
fake CPU devices, and the program is read.

    compute   = FLOPs / (devices x peak FLOP/s x 0.4)
    transfers = sum over collectives of bytes sent by a device / bytes/s of its links in one direction
    memory    = bytes that a device reads and writes / bytes/s of its memory
    step      = max(compute, memory) + transfers     (transfers hide behind nothing: what overlaps makes it faster)
    efficiency = max(compute, memory) / step         (against one device that has no one to talk to)

- FLOPs are XLA's count for the program before optimisation. **The rasterizer is a loop whose length depends on the
  scene; its body counts once**, so its time is not in the table. Recomputed activations are.
- 0.4 of the peak is an assumption (`--utilisation`).
- A ring sends `2 (n - 1) / n` of the bytes for an all-reduce, `(n - 1) / n` for an all-gather, `n - 1` times its result
  for a reduce-scatter. Gradients are summed in each part of a batch anew, which an optimiser may move behind the loop.
- Traffic is that of the program as XLA's CPU compiler fuses it. It computes bfloat16 in float32 and fuses less than the
  compilers for GPUs and TPUs, so `memory` is an upper bound.
- Temporary memory is what XLA's CPU compiler asks for. It computes nothing twice to save memory, whatever `recompute`
  says, so that this is far more than GPUs and TPUs need. Where it does not fit there: more parts, `accumulate_steps`.

"""


def _weak_table(config: ConfigDict) -> Iterable[str]:
    """Collectives of a step with the same batch on each of 1, 2, 4 and 8 devices."""
    per_device = config.batch_size
    yield "| devices | pictures | collectives | sent by each device |\n| ---: | ---: | --- | ---: |"
    for devices in (1, 2, 4, 8):
        config.mesh, config.batch_size = (("data", devices), ("model", 1)), devices * per_device
        cost = step_cost(config, devices)
        counts = ", ".join(f"{n} {kind}" for kind, n in count_by_kind(cost.collectives).items() if n) or "none"
        yield f"| {devices} | {config.batch_size} | {counts} | {cost.sent_bytes / 1e6:.2f} MB |"


if __name__ == "__main__":
    app.run(main)
