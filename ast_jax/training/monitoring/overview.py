"""A run's arrays in a table: what there is, how large it is, how it is spread over the devices."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

_HEADER = (
    "| parameter | shape | dtype | count | bytes | sharding | bytes per device |\n|---|---|---|---:|---:|---|---:|"
)


class Size(NamedTuple):
    """Of one array, or of several together.

    Args:
      count: numbers.
      total: bytes, of each array once.
      per_device: bytes on the device that holds most; arrays that are not split count in full.
    """

    count: int
    total: int
    per_device: int


def parameter_table(params: Any) -> str:
    """Every parameter, with the totals of each group and of all, as a Markdown table.

    Args:
      params: arrays, or `jax.ShapeDtypeStruct`; the groups are the keys of the outermost dict.

    Returns:
      lines without a last line break. Under "sharding" is the mesh axis that splits each array axis, ``-`` for none.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]
    lines = [_HEADER]
    for group, members in itertools.groupby(named, lambda pair: pair[0].partition(".")[0]):
        members = list(members)
        lines += [_line(name, leaf) for name, leaf in members]
        lines.append(_total(f"**{group}**", size_of([leaf for _, leaf in members])))
    return "\n".join([*lines, _total("**total**", size_of(params))])


def size_of(tree: Any) -> Size:
    """Of a tree of arrays, such as the optimizer's state, or of `jax.ShapeDtypeStruct`."""
    return Size(*map(sum, zip(*map(_size, jax.tree.leaves(tree)))))


def _size(leaf: Any) -> Size:
    sharding, itemsize = getattr(leaf, "sharding", None), leaf.dtype.itemsize
    share = leaf.shape if sharding is None else sharding.shard_shape(tuple(leaf.shape))
    count = math.prod(leaf.shape)
    return Size(count, count * itemsize, math.prod(share) * itemsize)


def _line(name: str, leaf: Any) -> str:
    size, shape = _size(leaf), " x ".join(map(str, leaf.shape)) or "scalar"
    numbers = f"{size.count:,}", f"{size.total:,}", _axes(leaf), f"{size.per_device:,}"
    return _row(name, shape, str(leaf.dtype), *numbers)


def _total(name: str, size: Size) -> str:
    return _row(name, "", "", f"{size.count:,}", f"{size.total:,}", "", f"{size.per_device:,}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _axes(leaf: Any) -> str:
    """The mesh axis of each array axis: ``-, model, -``; several are joined by ``+``."""
    sharding = getattr(leaf, "sharding", None)
    spec: Sequence = sharding.spec if isinstance(sharding, jax.NamedSharding) else ()
    axes = [*spec, *[None] * (len(leaf.shape) - len(spec))]
    return ", ".join("+".join(axis) if isinstance(axis, tuple) else str(axis or "-") for axis in axes)
