"""Rendering a batch on many devices without communication."""

from collections.abc import Callable

import jax


def batch_parallel(function: Callable, device_mesh: jax.sharding.Mesh, axis: str = "data") -> Callable:
    """Runs a function of batched arrays on every device's share of the batch, with no communication.

    The work list of the renderer counts the faces of a whole batch, so a plain `jax.jit` over sharded
    arrays would gather them on all devices. Within this function each device lists its own faces, and the
    compiled program has no collective, neither forward nor backward. Works under `jax.jit` and `jax.grad`.

    Args:
        function: takes pytrees whose arrays all have the batch as first axis and returns such pytrees; all
            else, image size or background say, it must close over.
        device_mesh: devices.
        axis: name of the axis of `device_mesh` over which the batch is spread.

    Returns:
        A function of the same arguments; batch sizes must be multiples of the number of devices along `axis`.
    """
    spec = jax.sharding.PartitionSpec(axis)
    return jax.shard_map(function, mesh=device_mesh, in_specs=spec, out_specs=spec)
