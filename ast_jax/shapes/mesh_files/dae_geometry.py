"""The primitives of a COLLADA mesh.

Source: Khronos, COLLADA 1.4.1 specification, chapter 5: triangles, polylist, polygons (with holes), tristrips, trifans.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ast_jax.shapes.mesh_files.polygon_mesh import check_corners
from ast_jax.shapes.mesh_files.triangulate import strip_triangles, triangulate_with_holes

_SURFACES = ("triangles", "polylist", "polygons", "tristrips", "trifans")
_LINES = ("lines", "linestrips")


@dataclass(frozen=True)
class Piece:
    """Polygons of one material in place; fields as those of ``Polygons``."""

    vertices: np.ndarray
    corners: np.ndarray
    sizes: np.ndarray
    uv: np.ndarray
    colours: np.ndarray | None


@dataclass(frozen=True)
class Primitive:
    """Polygons of one material as a geometry has them.

    Args:
      symbol: of the material, which an instance binds.
      positions: of the geometry.
      index: per corner, a number for each input.
      sizes: corners of each polygon.
      uv_inputs: set -> offset in ``index``, values.
      colour_input: offset in ``index``, values.
    """

    symbol: str | None
    positions: Float[np.ndarray, "v 3"]
    index: Int[np.ndarray, "c k"]
    offset: int
    sizes: Int[np.ndarray, " p"]
    uv_inputs: dict[str, tuple[int, np.ndarray]]
    colour_input: tuple[int, np.ndarray] | None

    def placed(self, matrix: Float[np.ndarray, "4 4"], uv_set: str | None) -> Piece:
        """In the place of an instance, with one set of texture coordinates: the first, unless it is named.

        Raises:
          ValueError: a corner that names what is not there.
        """
        chosen = self.uv_inputs.get(uv_set or "") or next(iter(self.uv_inputs.values()), None)
        corners = self.index[:, self.offset]
        check_corners("a primitive", corners, len(self.positions))
        vertices = self.positions @ matrix[:3, :3].T + matrix[:3, 3]
        colours = _at(self.colour_input, self.index)
        piece = Piece(
            vertices=vertices,
            corners=corners,
            sizes=self.sizes,
            uv=np.zeros((len(corners), 2)) if chosen is None else _at(chosen, self.index)[:, :2],
            colours=None if colours is None else np.clip(np.nan_to_num(colours[:, :3]), 0, 1),
        )
        return _turned_round(piece) if np.linalg.det(matrix[:3, :3]) < 0 else piece


def read_mesh(mesh: ElementTree.Element, notices: Counter) -> Iterator[Primitive]:
    """All surfaces of a ``<mesh>``; other primitives are counted.

    Raises:
      ValueError: numbers that do not fit together.
    """
    sources = {element.get("id"): element for element in mesh.findall("source")}
    shared = {element.get("id"): element.findall("input") for element in mesh.findall("vertices")}
    for element in mesh:
        if element.tag in _SURFACES:
            primitive = _read_primitive(element, sources, shared)
            if not _holds_what_it_says(element, primitive):
                notices[f"primitives of the kind {element.tag} lack corners or have some left over"] += 1
            if len(primitive.sizes):
                yield primitive
        elif element.tag in _LINES:
            notices[f"primitives of the kind {element.tag} are left out"] += 1


def _holds_what_it_says(element: ElementTree.Element, primitive: Primitive) -> bool:
    """Whether ``count`` faces, and no corner beyond them, are there."""
    if element.tag not in ("triangles", "polylist"):
        return True
    stored = sum(len((p.text or "").split()) for p in element.findall("p"))
    count = len(primitive.sizes)
    return element.get("count", str(count)).strip() == str(count) and stored == primitive.index.size


def _read_primitive(element: ElementTree.Element, sources: dict, shared: dict) -> Primitive:
    inputs = []
    for entry in element.findall("input"):
        offset, key = int(entry.get("offset", "0")), entry.get("source", "").lstrip("#")
        if entry.get("semantic") == "VERTEX":
            inputs += [
                (offset, inner.get("semantic"), inner.get("source", "").lstrip("#"), "") for inner in shared[key]
            ]
        else:
            inputs.append((offset, entry.get("semantic"), key, entry.get("set", "")))
    width = 1 + max(int(entry.get("offset", "0")) for entry in element.findall("input"))
    if not 0 < width <= 64:
        raise ValueError(f"an input at the offset {width - 1}")
    found = {semantic: (offset, key) for offset, semantic, key, _ in reversed(inputs)}
    if "POSITION" not in found:
        raise ValueError("a primitive without positions")
    offset, key = found["POSITION"]
    positions = _values(sources[key], 3)[:, :3]
    index, sizes = _polygons(element, width, positions, offset)
    colour = found.get("COLOR")
    return Primitive(
        symbol=element.get("material"),
        positions=positions,
        index=index,
        offset=offset,
        sizes=sizes,
        uv_inputs={s: (at, _values(sources[k], 2)) for at, semantic, k, s in inputs if semantic == "TEXCOORD"},
        colour_input=(colour[0], _values(sources[colour[1]], 3)) if colour else None,
    )


def _values(source: ElementTree.Element, width: int) -> Float[np.ndarray, "n k"]:
    """The rows of a source; at least ``width`` numbers each."""
    numbers = np.array((source.findtext("float_array") or "").split(), np.float64)
    accessor = source.find("technique_common/accessor")
    stride = int(accessor.get("stride", "1")) if accessor is not None else width
    offset = int(accessor.get("offset", "0")) if accessor is not None else 0
    if stride < width or offset < 0:
        raise ValueError(f"a source of {stride} numbers a row, {width} are needed")
    numbers = numbers[offset:]
    return numbers[: len(numbers) // stride * stride].reshape(-1, stride)


def _polygons(
    element: ElementTree.Element, width: int, positions: np.ndarray, offset: int
) -> tuple[Int[np.ndarray, "c k"], Int[np.ndarray, " p"]]:
    lists = [_indices(p.text, width) for p in element.findall("p")]
    index = np.concatenate([np.zeros((0, width), np.int64), *lists])
    if element.tag == "triangles":
        sizes = np.full(len(index) // 3, 3, np.int64)
    elif element.tag == "polylist":
        sizes = np.array((element.findtext("vcount") or "").split(), np.int64)
        if (sizes < 0).any() or sizes.sum() > len(index):
            raise ValueError(f"a polylist of {sizes.sum()} corners has {len(index)}")
    elif element.tag == "polygons":
        cut = [_with_holes(ph, width, positions, offset) for ph in element.findall("ph")]
        sizes = np.array([len(p) for p in lists] + [3] * sum(len(c) // 3 for c in cut), np.int64)
        index = np.concatenate([index, *cut])
    else:
        cut = strip_triangles if element.tag == "tristrips" else _fan_triangles
        triangles = [p[cut(np.arange(len(p)))].reshape(-1, width) for p in lists]
        index = np.concatenate([np.zeros((0, width), np.int64), *triangles])
        sizes = np.full(len(index) // 3, 3, np.int64)
    return index[: sizes.sum()], sizes


def _indices(text: str | None, width: int) -> Int[np.ndarray, "c k"]:
    numbers = np.array((text or "").split(), np.int64)
    return numbers[: len(numbers) // width * width].reshape(-1, width)


def _fan_triangles(corners: Int[np.ndarray, " c"]) -> Int[np.ndarray, "t 3"]:
    spokes = corners[1:-1]
    return np.stack([np.full_like(spokes, 0), spokes, spokes + 1], axis=-1)


def _with_holes(ph: ElementTree.Element, width: int, positions: np.ndarray, offset: int) -> Int[np.ndarray, "c k"]:
    rings = [_indices(ring.text, width) for ring in (*ph.findall("p"), *ph.findall("h"))]
    rings = [ring for ring in rings if len(ring) >= 3]
    if not rings:
        return np.zeros((0, width), np.int64)
    for ring in rings:
        check_corners("a polygon with holes", ring[:, offset], len(positions))
    return np.concatenate(rings)[triangulate_with_holes([positions[r[:, offset]] for r in rings])].reshape(-1, width)


def _at(source: tuple[int, np.ndarray] | None, index: Int[np.ndarray, "c k"]) -> Float[np.ndarray, "c d"] | None:
    if source is None:
        return None
    check_corners("a primitive", index[:, source[0]], len(source[1]))
    return source[1][index[:, source[0]]]


def _turned_round(piece: Piece) -> Piece:
    """A mirrored instance: each polygon in the other order."""
    ends = np.cumsum(piece.sizes)
    owner = np.repeat(np.arange(len(piece.sizes)), piece.sizes)
    starts = ends - piece.sizes
    order = (ends - 1)[owner] - (np.arange(len(owner)) - starts[owner])
    colours = piece.colours[order] if piece.colours is not None else None
    return Piece(piece.vertices, piece.corners[order], piece.sizes, piece.uv[order], colours)
