"""Whether there is memory for a run: said in one line, where the system would end the process without a word."""

import functools

import jax
from ml_collections import ConfigDict

from ast_jax.data.pipeline import batches_ahead
from ast_jax.machine import available_memory
from ast_jax.model.template import sphere, vertex_half
from ast_jax.training.compiled import CompileStats
from ast_jax.training.monitoring.overview import Size, size_of
from ast_jax.training.multiplex import CameraTable, camera_count, has_multiplex
from ast_jax.training.sharding import Layout
from ast_jax.training.state import TrainState

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


def largest_arrays(config: ConfigDict) -> dict[tuple[str, ...], int]:
    """Keys of the config -> how many numbers one sample needs, in a step, for the array whose size they decide.

    Views ``4 s r^2``, and through the k cameras of a multiplex ``4 k r^2``; the finest map of ``convnet``
    ``w (i / 2)^2``; scores between queries ``n q^2``; what the scan over K learned steps keeps of v vertices for the
    backward pass ``3 K v``; texels ``3 f t^2``.
    """
    data, model, shape = config.data, config.model, config.model.shape
    level = shape.query_level
    queries = len(vertex_half(level).members if shape.symmetric else sphere(level).vertices)
    found = {("data.num_target_views", "data.render_size"): 4 * data.num_target_views * data.render_size**2}
    if has_multiplex(config):
        found["model.camera.azimuths", "model.camera.elevations", "data.render_size"] = (
            4 * camera_count(config) * data.render_size**2
        )
    if model.encoder.name == "convnet":
        side = (model.encoder.input_size or data.image_size) // 2
        found["data.image_size", "model.encoder.width"] = model.encoder.width * side**2
    if shape.kind == "transformer" and shape.self_attention:
        found["model.shape.query_level", "model.heads"] = model.heads * queries**2
    if shape.synthesis == "learned":
        points = len(sphere(level).vertices)
        found["model.shape.synthesis_steps", "model.shape.query_level"] = 3 * shape.synthesis_steps * points
    if model.texture.kind not in ("none", "projection", "vertex_colour"):
        found["model.texture.texels", "model.shape.level"] = 3 * 20 * 4**shape.level * model.texture.texels**2
    return found


def check_step(config: ConfigDict, layout: Layout) -> None:
    """Before anything is made: whether each of the largest arrays of a step fits; the rest comes on top.

    Raises:
      ValueError: one does not; the keys that made it large are named.
    """
    device = layout.mesh.local_devices[0]
    rows = config.batch_size // config.accumulate_steps
    for keys, count in largest_arrays(config).items():
        needed, left = _on_device(rows * count * _FLOAT // layout.mesh.size, device)
        if left is not None and needed > left:
            names = [*keys, "batch_size"]
            values = [f"config.{key}={functools.reduce(getattr, key.split('.'), config)}" for key in names]
            raise ValueError(
                f"one array of a step takes {_gigabytes(needed)} of memory, and {_gigabytes(left)} are left; lower "
                f"{', '.join(values[:-1])} or {values[-1]}, or raise config.accumulate_steps."
            )


def check_state(state: TrainState, shardings: TrainState, device: jax.Device) -> None:
    """Before a parameter is made: whether parameters, gradients and the optimizer's state fit.

    Args:
      state: arrays, or `jax.ShapeDtypeStruct`.
      shardings: a tree like it.
      device: one of those that hold it.

    Raises:
      ValueError: they do not; the largest parameter is named, which tells what made it large.
    """
    parts = [(tree.params, tree.opt_state, tree.average) for tree in (state, shardings)]
    held, gradients = _size_split(*parts), _size_split(state.params, shardings.params)
    needed, left = _on_device(held.per_device + gradients.per_device, device)
    if left is not None and needed > left:
        path, largest = max(jax.tree_util.tree_leaves_with_path(state.params), key=lambda leaf: leaf[1].size)
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        raise ValueError(
            f"the model has {gradients.total / 4e6:,.1f} million parameters, {name} {tuple(largest.shape)} alone "
            f"{largest.size / 1e6:,.1f}; with gradients and the optimizer's state they take {_gigabytes(needed)} of "
            f"memory, and {_gigabytes(left)} are left; make config.model smaller (dim, mlp_ratio, encoder.width, "
            "texture.texels), or split it over more devices (config.mesh)."
        )


def check_table(table: CameraTable, shardings: CameraTable, device: jax.Device) -> None:
    """Before a table of cameras is made: whether it and the gradients of its cameras fit.

    Args:
      table: of `jax.ShapeDtypeStruct`.
      shardings: a tree like it.
      device: one of those that hold it.

    Raises:
      ValueError: they do not.
    """
    held, gradients = _size_split(table, shardings), _size_split(table.motion, shardings.motion)
    needed, left = _on_device(held.per_device + gradients.per_device, device)
    if left is not None and needed > left:
        rows, count = table.score.shape
        raise ValueError(
            f"{count} cameras for each of {rows} training pictures take {_gigabytes(needed)} of memory, and "
            f"{_gigabytes(left)} are left; lower config.model.camera.azimuths or config.model.camera.elevations, train "
            "on fewer pictures, or split the table over more devices (config.mesh)."
        )


def _size_split(tree, shardings) -> Size:
    """Of arrays that are to be split as a tree like theirs says."""
    return size_of(jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings))


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
    needed, left = _on_device(parts[0] + parts[1] - parts[2], device)
    if left is not None and needed > left:
        raise ValueError(
            f"{stats.name}: needs {_gigabytes(needed)} of memory, and {_gigabytes(left)} are left; raise "
            "config.accumulate_steps or lower config.batch_size, config.data.image_size, config.data.render_size or "
            "config.model.shape.level; on accelerators config.recompute=True helps, too."
        )


def _on_device(needed: int, device: jax.Device) -> tuple[int, int | None]:
    """Bytes that are needed where this device takes them from, and those that are left there; None: not told."""
    if device.platform == "cpu":  # devices of one CPU share its memory
        return needed * jax.local_device_count(), available_memory()
    memory = device.memory_stats() or {}
    return needed, memory["bytes_limit"] - memory["bytes_in_use"] if "bytes_limit" in memory else None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
