"""Whether there is memory for a run: said in one line, where the system would end the process without a word."""

import jax
from ml_collections import ConfigDict

from ast_jax.data.pipeline import batches_ahead
from ast_jax.machine import available_memory
from ast_jax.training.compiled import CompileStats

_FLOAT = 4  # bytes
_IN_THE_MAKING = 2  # times what a batch takes: pictures are cut and recoloured in copies
_AT_WORK = 2  # the batch of the step, of the host and of the devices


def batch_bytes(config: ConfigDict, rows: int) -> int:
    """Bytes of ``rows`` samples of a batch: the input, and colour and mask of the supervising views, float32.

    ``rows * 4 * (4 image_size^2 + 4 num_target_views render_size^2)``; cameras and key points do not count.
    """
    data = config.data
    return rows * _FLOAT * (4 * data.image_size**2 + 4 * data.num_target_views * data.render_size**2)


def check_batches(config: ConfigDict, rows: int) -> None:
    """Before anything is made: whether the batches that are made ahead fit into the memory of this machine.

    Args:
      config: the experiment.
      rows: of a batch, that this process makes.

    Raises:
      ValueError: they do not.
    """
    count = batches_ahead(config.data.num_threads) + _IN_THE_MAKING * config.data.num_threads + _AT_WORK
    needed, left = count * batch_bytes(config, rows), available_memory()
    if left is not None and needed > left:
        raise ValueError(
            f"batches of {rows} samples, made ahead by threads, take up to {_gigabytes(needed)}, and "
            f"{_gigabytes(left)} of memory are left; lower config.data.image_size={config.data.image_size}, "
            f"config.data.render_size={config.data.render_size}, config.batch_size={config.batch_size} or "
            f"config.data.num_threads={config.data.num_threads}."
        )


def check_program(stats: CompileStats, device: jax.Device) -> None:
    """After the compilation, before the first run: whether its temporary arrays and results fit.

    Args:
      stats: of the program, as the compiler plans it; arguments are there already.
      device: one of those that run it.

    Raises:
      ValueError: they do not.
    """
    parts = (stats.temporary_bytes, stats.output_bytes, stats.alias_bytes)
    if None in parts:
        return
    needed = parts[0] + parts[1] - parts[2]
    if device.platform == "cpu":  # devices of one CPU share its memory
        needed, left = needed * jax.local_device_count(), available_memory()
    else:
        memory = device.memory_stats() or {}
        left = memory["bytes_limit"] - memory["bytes_in_use"] if "bytes_limit" in memory else None
    if left is not None and needed > left:
        raise ValueError(
            f"{stats.name}: needs {_gigabytes(needed)} of memory, and {_gigabytes(left)} are left; raise "
            "config.accumulate_steps or lower config.batch_size, config.data.image_size, config.data.render_size or "
            "config.model.shape.level; on accelerators config.recompute=True helps, too."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
