"""Where parameters, optimizer state, batch and activations lie on the devices: a mesh and a few rules from the config.

The model knows only names of axes (``ast_jax.model.axes``). A rule says which names go to which axis of the mesh; the
first rule that matches counts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped
from ml_collections import ConfigDict

from ast_jax.training.precision import check_pattern

BATCH = "batch"


def make_mesh(shape: tuple, devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The device mesh of ``config.mesh``.

    Args:
      shape: (name, size) of each axis, such as ``(("data", -1), ("model", 1))``; one size may be -1: as many as
        are left.
      devices: to use; None for all.

    Raises:
      ValueError: the sizes do not fit the devices; the message says how many there are.
    """
    if not all(isinstance(axis, tuple) and len(axis) == 2 and isinstance(axis[1], int) for axis in shape) or not shape:
        raise ValueError(f"config.mesh={shape}: give pairs of a name and a size, such as (('data', -1), ('model', 1)).")
    names, sizes = [name for name, _ in shape], [size for _, size in shape]
    count = jax.device_count() if devices is None else len(devices)
    given = int(np.prod([size for size in sizes if size != -1]))
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes) or len(set(names)) < len(names):
        raise ValueError(f"config.mesh={shape}: give every axis a name of its own and a size >= 1, or one of them -1.")
    if count % given or (-1 not in sizes and given != count):
        raise ValueError(f"config.mesh={shape} asks for {given} devices or a multiple, but there are {count}.")
    sizes = [count // given if size == -1 else size for size in sizes]
    types = (jax.sharding.AxisType.Auto,) * len(names)
    return jax.make_mesh(tuple(sizes), tuple(names), axis_types=types, devices=devices)


@dataclass(frozen=True)
class Layout:
    """A mesh and the rules for it.

    Args:
      mesh: of the devices.
      rules: (regular expression, axes of the mesh) in order of precedence; the expression has to match the whole
        name of an axis. The axes are one name, or several with commas between them.
      fully_sharded: parameters, their averages and moments are also split over the axes of the batch, along the
        largest axis that no rule has taken (FSDP, Zhao et al. 2023; ZeRO stage 3, Rajbhandari et al. 2020).
      placed: the activations that were placed, as ``names shape -> spec``; filled while a step is traced.
    """

    mesh: jax.sharding.Mesh
    rules: tuple[tuple[str, str], ...]
    fully_sharded: bool = False
    placed: dict[str, str] = field(default_factory=dict, compare=False)

    def spec(self, axes: tuple[str, ...] | None, shape: tuple[int, ...]) -> jax.sharding.PartitionSpec:
        """How an array with named axes is split.

        An axis that cannot be split evenly, or whose part of the mesh an earlier axis has taken, stays whole.

        Args:
          axes: a name for each axis, or None where nothing is known of them.
          shape: of the array.

        Raises:
          ValueError: there are more or fewer names than axes.
        """
        if axes is None:
            return jax.P()
        if len(axes) != len(shape):
            raise ValueError(f"axes {axes}: {len(axes)} names for an array of shape {shape}.")
        taken: set[str] = set()
        parts = []
        for name, size in zip(axes, shape):
            part = [axis for axis in self._mesh_axes(name) if axis not in taken]
            while part and size % self._size(part):
                part.pop()
            taken.update(part)
            parts.append(tuple(part) if len(part) > 1 else part[0] if part else None)
        return jax.P(*parts)

    def parameter_spec(self, axes: tuple[str, ...] | None, shape: tuple[int, ...]) -> jax.sharding.PartitionSpec:
        """As `spec`, and with ``fully_sharded`` the largest free axis is split over the axes of the batch, too."""
        spec = self.spec(axes, shape)
        over = self._mesh_axes(BATCH)
        if not self.fully_sharded or not over:
            return spec
        parts = [*spec, *[None] * (len(shape) - len(spec))]
        free = [i for i, part in enumerate(parts) if part is None and shape[i] % self._size(over) == 0]
        if free:
            parts[max(free, key=lambda i: shape[i])] = tuple(over) if len(over) > 1 else over[0]
        return jax.P(*parts)

    def parameters(self, axes: dict, shapes: dict) -> dict:
        """The sharding of every parameter.

        Args:
          axes: from ``ast_jax.model.axes.axes_of_parameters``.
          shapes: the parameters themselves, or their ``jax.ShapeDtypeStruct``.
        """
        leaves, structure = jax.tree.flatten(shapes)
        names = structure.flatten_up_to(axes)
        return structure.unflatten(
            [jax.NamedSharding(self.mesh, self.parameter_spec(n, leaf.shape)) for n, leaf in zip(names, leaves)]
        )

    def like_parameters(self, tree: Any, parameters: dict) -> Any:
        """The sharding of a tree that holds copies of the parameters: moments of an optimizer, running averages.

        A leaf whose path ends as that of a parameter and which has its shape lies where the parameter does;
        everything else, such as counters, is on all devices.

        Args:
          tree: arrays or their ``jax.ShapeDtypeStruct``.
          parameters: path of each parameter -> (shape, sharding), from `parameters_by_path`.
        """

        def sharding(path, leaf):
            keys = _keys(path)
            for start in range(len(keys)):
                shape, found = parameters.get(keys[start:], (None, None))
                if shape == leaf.shape:
                    return found
            return self.replicated

        return jax.tree_util.tree_map_with_path(sharding, tree)

    @property
    def replicated(self) -> jax.sharding.NamedSharding:
        """On all devices."""
        return jax.NamedSharding(self.mesh, jax.P())

    @property
    def by_batch(self) -> jax.sharding.NamedSharding:
        """Split along the first axis, as batches are."""
        over = self._mesh_axes(BATCH)
        return jax.NamedSharding(self.mesh, jax.P(tuple(over)) if over else jax.P())

    @property
    def batch_shares(self) -> int:
        """Into how many parts a batch is split."""
        return self._size(self._mesh_axes(BATCH))

    def render_axes(self, batch_size: int) -> tuple[str, ...]:
        """The axes of the mesh over which pictures are rendered: as many devices as divide the batch."""
        (part,) = self.spec(("render_batch",), (batch_size,))
        return () if part is None else (part,) if isinstance(part, str) else tuple(part)

    def place(self, x: Shaped[jax.Array, "..."], axes: tuple[str, ...]) -> Shaped[jax.Array, "..."]:
        """An activation where its names say; for ``ast_jax.model.axes.placing``."""
        spec = self.spec(axes, x.shape)
        self.placed[f"{','.join(axes)} {x.shape}"] = str(tuple(spec))
        return jax.lax.with_sharding_constraint(x, jax.NamedSharding(self.mesh, spec))

    def split(self, function: Callable) -> Callable:
        """A function of arrays that lead with the batch, for each device's share; for ``placing`` of the model."""
        if self.mesh.size == 1:
            return function

        def on_shares(*arrays):
            over = jax.P(self.render_axes(len(jax.tree.leaves(arrays)[0])))
            mapped = jax.shard_map(function, mesh=self.mesh, in_specs=over, out_specs=over, check_vma=False)
            return mapped(*arrays)

        return on_shares

    def _mesh_axes(self, name: str) -> list[str]:
        for pattern, axes in self.rules:
            if re.fullmatch(pattern, name):
                return [axis for axis in axes.split(",") if axis]
        return []

    def _size(self, axes: list[str]) -> int:
        return int(np.prod([self.mesh.shape[axis] for axis in axes]))


def make_layout(config: ConfigDict, devices: list[jax.Device] | None = None) -> Layout:
    """Mesh and rules of an experiment.

    Args:
      config: with ``mesh`` and ``sharding``.
      devices: to use; None for all.

    Raises:
      ValueError: the mesh does not fit the devices, or a rule names an axis that the mesh does not have.
    """
    mesh = make_mesh(config.mesh, devices)
    if not all(isinstance(rule, tuple) and list(map(type, rule)) == [str, str] for rule in config.sharding.rules):
        raise ValueError(f"config.sharding.rules={config.sharding.rules}: give pairs of an expression and mesh axes.")
    rules = tuple((pattern, axes) for pattern, axes in config.sharding.rules)
    for pattern, axes in rules:
        check_pattern("config.sharding.rules", pattern)
        unknown = set(filter(None, axes.split(","))) - set(mesh.axis_names)
        if unknown:
            known = ", ".join(mesh.axis_names)
            raise ValueError(f"config.sharding.rules: {pattern!r} -> {axes!r}, but config.mesh has the axes {known}.")
    return Layout(mesh, rules, config.sharding.fully_sharded)


def parameters_by_path(parameters: dict, shardings: dict) -> dict[tuple[str, ...], tuple]:
    """Path of each parameter -> (shape, sharding); for `Layout.like_parameters`."""
    leaves = jax.tree_util.tree_leaves_with_path(parameters)
    return {
        _keys(path): (leaf.shape, sharding)
        for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True)
    }


def put(tree: Any, shardings: Any) -> Any:
    """The tree on the devices; every process gives the same values and keeps its share."""

    def place(x, sharding):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(place, tree, shardings)


def local_rows(sharding: jax.sharding.NamedSharding, batch_size: int) -> tuple[int, int]:
    """Which rows of a batch the devices of this process hold.

    Args:
      sharding: of the batch.
      batch_size: of all processes together.

    Returns:
      the first row, and the row after the last.

    Raises:
      ValueError: they are not one block; the mesh gives this process devices from all over.
    """
    index = sharding.addressable_devices_indices_map((batch_size,)).values()
    blocks = sorted({(rows.start or 0, batch_size if rows.stop is None else rows.stop) for (rows,) in index})
    if any(before[1] != after[0] for before, after in zip(blocks, blocks[1:])):
        raise ValueError(f"config.mesh gives this process rows {blocks} of a batch; put 'model' last in config.mesh.")
    return blocks[0][0], blocks[-1][1]


def _keys(path: tuple) -> tuple[str, ...]:
    return tuple(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
