"""Accessors of glTF 2.0 (section 3.6): typed rows of a buffer, of which only those are decoded that are asked for.

So what a file can make this reader allocate is bounded by the faces that it draws, not by the counts that it declares.
"""

import numpy as np
from jaxtyping import Float, Int

from ast_jax.shapes.mesh_files.gltf_document import Document, field, integer

COMPONENTS = {
    5120: np.dtype("i1"),
    5121: np.dtype("u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
INDEX_TYPES = (5121, 5123, 5125)
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Accessor:
    """One accessor.

    Args:
      document: the file.
      index: into its ``accessors``.
      kinds: the types that make sense where it is used, such as ``VEC3``.

    Raises:
      ValueError: not of these types, or a part of it lies outside the buffer.
    """

    def __init__(self, document: Document, index: int, *kinds: str):
        self.name = f"accessors[{index}]"
        entry = document.entry("accessors", index)
        self.kind = field(entry, "type", str)
        if self.kind not in kinds:
            raise ValueError(f"{self.name} is {self.kind!r}, expected {' or '.join(kinds)}.")
        self.count = integer(entry, "count")
        self.normalized = field(entry, "normalized", bool, False)
        self.dtype = _component(entry, self.name)
        self.width = WIDTHS[self.kind]
        view = integer(entry, "bufferView", None)
        self.is_stored = view is not None or "sparse" in entry
        if view is None:
            self._rows = np.broadcast_to(np.zeros((), self.dtype), (self.count, self.width))
        else:
            shape = self.count, self.width
            self._rows = _strided(document, view, integer(entry, "byteOffset", 0), self.dtype, shape, self.name)
        self._replaced, self._replacement = None, None
        if "sparse" in entry:
            self._read_sparse(document, field(entry, "sparse", dict))

    def _read_sparse(self, document: Document, sparse: dict) -> None:
        count = integer(sparse, "count")
        place, values = field(sparse, "indices", dict), field(sparse, "values", dict)
        dtype = _component(place, f"{self.name}, sparse", INDEX_TYPES)
        at = [(integer(part, "bufferView"), integer(part, "byteOffset", 0)) for part in (place, values)]
        rows = _strided(document, *at[0], dtype, (count, 1), f"{self.name}, sparse")[:, 0].astype(np.int64)
        if count and ((np.diff(rows) <= 0).any() or rows[-1] >= self.count):
            raise ValueError(f"{self.name}: its sparse indices do not rise, or go beyond {self.count - 1}.")
        self._replaced = rows
        self._replacement = _strided(document, *at[1], self.dtype, (count, self.width), f"{self.name}, sparse")

    def raw(self, rows: Int[np.ndarray, " n"]) -> np.ndarray:
        """The chosen rows as they are stored, ``[n, width]``.

        Raises:
          ValueError: there are not that many rows.
        """
        if len(rows) and int(rows.max()) >= self.count:
            raise ValueError(f"row {int(rows.max())} of {self.name} is asked for, and it has {self.count}.")
        values = self._rows[rows]
        if self._replaced is not None and len(self._replaced):
            place = np.minimum(np.searchsorted(self._replaced, rows), len(self._replaced) - 1)
            hit = self._replaced[place] == rows
            values[hit] = self._replacement[place[hit]]
        return values

    def decoded(self, rows: Int[np.ndarray, " n"], as_share: bool = False) -> Float[np.ndarray, "n width"]:
        """The chosen rows as numbers.

        Args:
          as_share: whole numbers are normalised even where the file does not say so, for a colour or a weight
            can be nothing else.
        """
        values = self.raw(rows).astype(np.float64)
        if self.dtype.kind == "f" or not (self.normalized or as_share):
            return values
        return np.maximum(values / np.iinfo(self.dtype).max, -1.0)


def read_indices(document: Document, index: int) -> Int[np.ndarray, " n"]:
    """The vertex indices of a primitive.

    Raises:
      ValueError: not of a type that indices have.
    """
    _component(document.entry("accessors", index), f"accessors[{index}]", INDEX_TYPES)
    accessor = Accessor(document, index, "SCALAR")
    return accessor.raw(np.arange(accessor.count))[:, 0].astype(np.int64)


def _component(entry: dict, name: str, among: tuple[int, ...] = tuple(COMPONENTS)) -> np.dtype:
    code = integer(entry, "componentType")
    if code not in among:
        raise ValueError(f"{name}: component type {code} is not one of {', '.join(map(str, among))}.")
    return COMPONENTS[code]


def _strided(
    document: Document, view: int, offset: int, dtype: np.dtype, shape: tuple[int, int], name: str
) -> np.ndarray:
    """Rows in a buffer view, without a copy."""
    content, stride = document.view(view)
    count, width = shape
    size = width * dtype.itemsize
    stride = stride or size
    if stride < size:
        raise ValueError(f"{name}: a stride of {stride} bytes for rows of {size}.")
    if count and offset + stride * (count - 1) + size > len(content):
        raise ValueError(f"{name}: {count} rows reach beyond its buffer view of {len(content)} bytes.")
    if not count:
        return np.zeros((0, width), dtype)
    return np.ndarray(shape, dtype, content, offset, (stride, dtype.itemsize))
