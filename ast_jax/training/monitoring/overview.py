"""A run's arrays in a table: what there is, how large it is, how it is spread over the devices."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

_HEADER = ("parameter", "shape", "dtype", "count", "bytes", "sharding", "bytes per device")
_IS_NUMBER = (False, False, False, True, True, False, True)


class StateBytes(NamedTuple):
    """Memory of a tree of arrays.

    Args:
      total: of all arrays, each once.
      per_device: on the device that holds most; arrays that are not split count in full.
    """

    total: int
    per_device: int


@dataclass(frozen=True)
class _Row:
    path: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    bytes: int
    spec: str
    bytes_per_device: int


def parameter_table(params: Any, shardings: Any = None) -> str:
    """Every parameter, with the totals of each group and of all, as a Markdown table that is aligned as text, too.

    Args:
      params: arrays, or `jax.ShapeDtypeStruct`; the groups are the keys of the outermost dict.
      shardings: tree of `jax.sharding.Sharding` like params, or one for all of them; None takes those of the arrays.

    Returns:
      lines without a last line break. Under "sharding" is the mesh axis that splits each array axis, ``-`` for none.

    Raises:
      ValueError: params and shardings are not alike.
    """
    rows = _rows(params, shardings)
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.path.partition(".")[0], []).append(row)
    lines = []
    for name, members in groups.items():
        lines += [_cells(row) for row in members]
        lines.append(_total(f"**{name}**", members))
    lines.append(_total("**total**", rows))
    return _align(lines)


def state_bytes(tree: Any, shardings: Any = None) -> StateBytes:
    """Memory of a tree of arrays, such as the optimizer's state.

    Args:
      tree: arrays, or `jax.ShapeDtypeStruct`.
      shardings: as for `parameter_table`.

    Raises:
      ValueError: tree and shardings are not alike.
    """
    rows = _rows(tree, shardings)
    return StateBytes(sum(row.bytes for row in rows), sum(row.bytes_per_device for row in rows))


def _rows(tree: Any, shardings: Any) -> list[_Row]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    if shardings is None:
        each = [getattr(leaf, "sharding", None) for _, leaf in leaves]
    elif isinstance(shardings, jax.sharding.Sharding):
        each = [shardings] * len(leaves)
    else:
        each = jax.tree.leaves(shardings)
        if jax.tree.structure(tree) != jax.tree.structure(shardings):
            raise ValueError(
                f"shardings must be a tree like the arrays, which are {len(leaves)}; it has {len(each)} leaves, or "
                "other names."
            )
    return [_row(path, leaf, sharding) for (path, leaf), sharding in zip(leaves, each, strict=True)]


def _row(path, leaf: Any, sharding: jax.sharding.Sharding | None) -> _Row:
    shape, size = tuple(leaf.shape), leaf.dtype.itemsize
    share = shape if sharding is None else sharding.shard_shape(shape)
    return _Row(
        path=jax.tree_util.keystr(path, simple=True, separator="."),
        shape=shape,
        dtype=str(leaf.dtype),
        count=math.prod(shape),
        bytes=math.prod(shape) * size,
        spec=_spec_text(sharding, len(shape)),
        bytes_per_device=math.prod(share) * size,
    )


def _spec_text(sharding: jax.sharding.Sharding | None, ndim: int) -> str:
    """The mesh axis of each array axis: ``-, model, -``; several are joined by ``+``."""
    spec = tuple(sharding.spec) if isinstance(sharding, jax.sharding.NamedSharding) else ()
    axes = [*spec, *[None] * (ndim - len(spec))]
    return ", ".join("+".join(axis) if isinstance(axis, tuple) else str(axis or "-") for axis in axes)


def _cells(row: _Row) -> tuple[str, ...]:
    shape = " x ".join(map(str, row.shape)) or "scalar"
    return row.path, shape, row.dtype, f"{row.count:,}", f"{row.bytes:,}", row.spec, f"{row.bytes_per_device:,}"


def _total(name: str, rows: list[_Row]) -> tuple[str, ...]:
    sums = [sum(getattr(row, field) for row in rows) for field in ("count", "bytes", "bytes_per_device")]
    return name, "", "", f"{sums[0]:,}", f"{sums[1]:,}", "", f"{sums[2]:,}"


def _align(lines: list[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in (_HEADER, *lines)) for column in range(len(_HEADER))]
    rule = ["-" * (width - 1) + ":" if number else "-" * width for width, number in zip(widths, _IS_NUMBER)]

    def row(cells) -> str:
        padded = (c.rjust(w) if number else c.ljust(w) for c, w, number in zip(cells, widths, _IS_NUMBER))
        return "| " + " | ".join(padded) + " |"

    return "\n".join(row(cells) for cells in (_HEADER, rule, *lines))
