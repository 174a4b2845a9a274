"""The tables that a PLY file is made of, read as its header declares them."""

import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

_TYPES = {
    **{name: "i1" for name in ("char", "int8")},
    **{name: "u1" for name in ("uchar", "uint8")},
    **{name: "i2" for name in ("short", "int16")},
    **{name: "u2" for name in ("ushort", "uint16")},
    **{name: "i4" for name in ("int", "int32")},
    **{name: "u4" for name in ("uint", "uint32")},
    **{name: "f4" for name in ("float", "float32")},
    **{name: "f8" for name in ("double", "float64")},
    "int64": "i8",
    "uint64": "u8",
}
# A line of its own: comments may speak of it. Binary rows begin after one end of line, whatever their first byte is.
_END = re.compile(rb"[\r\n][ \t]*end_header[ \t]*(\r\n|\r|\n|$)")
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One column: of numbers of a type, or of lists of them, each with its length before it."""

    name: str
    dtype: np.dtype
    length_dtype: np.dtype | None = None


@dataclass
class Header:
    """What a file declares: byte order (empty: ASCII), elements as (name, rows, properties), textures."""

    order: str = ""
    elements: list[tuple[str, int, list[Property]]] = field(default_factory=list)
    textures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class List:
    """Lists of different length, end to end."""

    sizes: Int[np.ndarray, " n"]
    values: np.ndarray


@dataclass
class Element:
    """The rows of one element, by column; ``types`` are those that the header declares."""

    rows: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, List] = field(default_factory=dict)
    types: dict[str, np.dtype] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.rows


def read_header(content: bytes, name: str) -> tuple[Header, bytes]:
    """The header, and what follows it; raises ValueError, naming the file, where it is none."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    end = _END.search(content)
    if content[:3] != b"ply" or end is None:
        raise ValueError(f"{name}: not a PLY file, it must begin with ply and have an end_header.")
    head, body = content[: end.start()], content[end.end() :]
    header = Header("?")
    try:
        for line in head.decode("utf-8", errors="replace").replace("\r", "\n").split("\n"):
            _read_line(header, line.split())
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{name}: malformed PLY header ({error}).") from error
    if header.order == "?":
        raise ValueError(f"{name}: malformed PLY header (no format).")
    return header, body


def _read_line(header: Header, words: list[str]) -> None:
    if not words:
        return
    key = words[0]
    if key == "format":
        if words[1] not in _ORDERS:
            raise ValueError(f"format {words[1]!r}, expected one of {', '.join(_ORDERS)}")
        header.order = _ORDERS[words[1]]
    elif key == "comment" and len(words) > 2 and words[1].lower() == "texturefile":
        header.textures.append(" ".join(words[2:]))
    elif key == "element":
        rows = int(words[2])
        if rows < 0 or any(words[1] == other for other, _, _ in header.elements):
            raise ValueError(f"element {words[1]!r} with {rows} rows, or twice")
        header.elements.append((words[1], rows, []))
    elif key == "property":
        types = [
            np.dtype((header.order or "=").replace("?", "=") + _TYPES[word.lower()])
            for word in words[1:-1]
            if word != "list"
        ]
        if len(types) != (2 if words[1] == "list" else 1):
            raise ValueError(" ".join(words))
        header.elements[-1][2].append(Property(words[-1].lower(), types[-1], types[0] if len(types) == 2 else None))


def read_elements(header: Header, body: bytes, name: str) -> dict[str, Element]:
    """All elements of a file; raises ValueError, naming the file, where it is cut short or a number is none."""
    try:
        reader = _Words(body) if header.order == "" else _Bytes(body)
    except ValueError as error:
        raise ValueError(f"{name}: not made of numbers ({error}).") from error
    found, place = {}, 0
    for key, rows, properties in header.elements:
        try:
            found[key], place = _read_element(reader, place, rows, properties)
        except (ValueError, IndexError, OverflowError) as error:
            raise ValueError(
                f"{name}: cut short or malformed in the element {key!r} of {rows} rows ({error})."
            ) from error
    return found


class _Words:
    """The body of an ASCII file: each number is one unit."""

    def __init__(self, body: bytes):
        self.numbers = np.array(body.split(), np.float64)
        self.size = len(self.numbers)

    def unit(self, dtype: np.dtype) -> int:
        return 1

    def length(self, place: int, dtype: np.dtype) -> int:
        return int(self.numbers[place])

    def take(self, places: np.ndarray, dtype: np.dtype, count: int) -> np.ndarray:
        """``count`` numbers from each of some places."""
        return self.numbers[places[:, None] + np.arange(count)]


class _Bytes:
    """The body of a binary file: each byte is one unit."""

    def __init__(self, body: bytes):
        self.bytes = np.frombuffer(body, np.uint8)
        self.body = body
        self.size = len(body)

    def unit(self, dtype: np.dtype) -> int:
        return dtype.itemsize

    def length(self, place: int, dtype: np.dtype) -> int:
        return int(np.frombuffer(self.body, dtype, 1, place)[0])

    def take(self, places: np.ndarray, dtype: np.dtype, count: int) -> np.ndarray:
        raw = self.bytes[places[:, None] + np.arange(count * dtype.itemsize)]
        return np.ascontiguousarray(raw).view(dtype)


def _read_element(reader, place: int, rows: int, properties: list[Property]) -> tuple[Element, int]:
    """One element from a place on, and the place after it. No memory is taken for rows that are not there."""
    element = Element(rows, types={p.name: p.dtype.newbyteorder("=") for p in properties})
    smallest = sum(reader.unit(p.length_dtype or p.dtype) for p in properties)
    if rows * max(smallest, 1) > reader.size - place:
        raise ValueError(f"{reader.size - place} are left")
    if not rows or not properties:
        return element, place
    starts, end = _row_starts(reader, place, rows, properties)
    for p in properties:
        if p.length_dtype is None:
            element.columns[p.name] = _gather(reader, starts, p.dtype)
            starts = starts + reader.unit(p.dtype)
            continue
        sizes = _gather(reader, starts, p.length_dtype).astype(np.int64)
        starts = starts + reader.unit(p.length_dtype)
        element.lists[p.name] = _gather_lists(reader, starts, sizes, p.dtype)
        starts = starts + sizes * reader.unit(p.dtype)
    return element, end


def _gather(reader, starts: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return reader.take(starts, dtype, 1)[:, 0]


def _gather_lists(reader, starts: np.ndarray, sizes: np.ndarray, dtype: np.dtype) -> List:
    firsts = np.cumsum(sizes) - sizes
    values = np.zeros(int(sizes.sum()), np.float64 if dtype.kind == "f" else np.int64)
    for size in np.unique(sizes[sizes > 0]):
        chosen = np.flatnonzero(sizes == size)
        values[firsts[chosen][:, None] + np.arange(size)] = reader.take(starts[chosen], dtype, int(size))
    return List(sizes, values)


def _row_starts(reader, place: int, rows: int, properties: list[Property]) -> tuple[Int[np.ndarray, " n"], int]:
    """Where each row begins: at equal steps if all its lists are as long as those of the first, as they mostly are."""
    steps, lengths = [], []
    for p in properties:
        if p.length_dtype is not None:
            lengths.append((sum(steps), p.length_dtype, reader.length(place + sum(steps), p.length_dtype)))
            _check_length(lengths[-1][2], reader.size)
            steps.append(reader.unit(p.length_dtype) + lengths[-1][2] * reader.unit(p.dtype))
        else:
            steps.append(reader.unit(p.dtype))
    width = sum(steps)
    starts = place + width * np.arange(rows, dtype=np.int64)
    if place + width * rows <= reader.size and all(
        (_gather(reader, starts + offset, dtype) == length).all() for offset, dtype, length in lengths
    ):
        return starts, place + width * rows
    return _walk(reader, place, rows, properties)


def _walk(reader, place: int, rows: int, properties: list[Property]) -> tuple[Int[np.ndarray, " n"], int]:
    plan = [(p.length_dtype, reader.unit(p.length_dtype or p.dtype), reader.unit(p.dtype)) for p in properties]
    starts = np.zeros(rows, np.int64)
    for k in range(rows):
        starts[k] = place
        for length_dtype, first, unit in plan:
            if length_dtype is not None:
                length = reader.length(place, length_dtype)
                _check_length(length, reader.size)
                place += length * unit
            place += first
    if place > reader.size:
        raise ValueError("a row reaches beyond the end")
    return starts, place


def _check_length(length: int, largest: int) -> None:
    if not 0 <= length <= largest:
        raise ValueError(f"a list of {length}")
