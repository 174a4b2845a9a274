"""Pictures per second of the loader alone, beside those of the train step that it feeds.

    python -m benchmarks.data_loader --config=configs/quickstart.py --config.data.root=data/quickstart

The ratio says how many times as fast loading is as training; below one, training would wait for data.
"""

import time

import jax
from absl import app, flags

from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.datasets.sources import data_root
from ast_jax.process import command_line
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout

_CONFIG = command_line.define_config("configs/quickstart.py")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Of each measurement.")


def main(argv: list[str]) -> None:
    """Flags in, one line out."""
    del argv
    config = _CONFIG.value
    source = DataSource(data_root(config.data), "train", config.data)
    batches = make_batches(source, config.data, batch_size=config.batch_size, seed=0)
    batch = next(batches)
    loading = _rate(lambda: next(batches), config.batch_size)
    training = _rate(_step_of(config, batch), config.batch_size)
    print(f"{len(source)} pictures of {source.images.shape[1]} px, batches of {config.batch_size}")
    print(
        f"loader {loading:.0f} pictures/s, train step {training:.0f} pictures/s: {loading / training:.1f} times as fast"
    )


def _rate(turn, batch_size: int) -> float:
    """Pictures per second after a first turn."""
    turn()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < _SECONDS.value:
        turn()
        count += batch_size
    return count / (time.perf_counter() - start)


def _step_of(config, batch):
    """A function that trains on the same batch again and again."""
    program = make_program(config, make_layout(config))
    stage, placed = program.stages[0], jax.device_put(batch, program.layout.by_batch)
    state = [program.start(len(batch.index))]
    step = program.step(stage, 0)

    def turn():
        state[0], _ = step(state[0], placed, program.values[stage.name])
        jax.block_until_ready(state[0].step)

    return turn


if __name__ == "__main__":
    app.run(main)
