"""Read MATLAB files of struct arrays, as the annotation caches of CMR and U-CMR are."""

import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from ast_jax.files.limits import check_memory

HDF5_HELP = (
    "is a MATLAB 7.3 (HDF5) file; in MATLAB, load it and save it again with save(name, '-v7'), "
    "or in Octave with save -v7"
)

# MATLAB 5: the header, then elements: type and size in bytes (8 bytes), data padded to 8 bytes; a size that fits into
# the upper half of the type's word has its data in the second word. Compressed elements are not padded.
HEADER_SIZE, COMPRESSED, MATRIX = 128, 15, 14
CELL, STRUCT, OBJECT = HOLDERS = 1, 2, 3
CHARACTERS, SPARSE, COMPLEX = 4, 5, 0x800
# Of numbers and text; of matrices. Others are indices beyond a list of scipy's, in C.
DATA_TYPES, CLASSES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18), range(1, 16)
# Cells and structs within each other; scipy reads them recursively, in C, and would end the process.
MAX_DEPTH = 32


def load_variable(path: Path, name: str) -> np.ndarray:
    """One variable, with axes of length one removed; structs become objects with attributes.

    Args:
      path: of the file, MATLAB 5 to 7.2.
      name: of the variable.

    Raises:
      ValueError: the file is missing, broken, of MATLAB 7.3 or without the variable; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    check_elements(path)
    try:
        content = loadmat(path, variable_names=[name], struct_as_record=False, squeeze_me=True)
    except Exception as error:  # a truncated file raises what zlib, struct or the parser like
        raise _unreadable(path, error) from error
    if name not in content:
        raise ValueError(f"{path}: has no variable {name!r}; is it another file?")
    return np.asarray(content[name])


def load_structs(path: Path, name: str, needed: tuple[str, ...]) -> list:
    """The elements of a struct array, also where it has only one.

    Args:
      path: of the file.
      name: of the variable.
      needed: fields that every element must have.

    Returns:
      Objects with the fields as attributes.

    Raises:
      ValueError: see `load_variable`; or it is no struct array, or a field is missing.
    """
    structs = list(np.atleast_1d(load_variable(path, name)))
    if not structs:
        raise ValueError(f"{path}: {name} is empty.")
    for number, element in enumerate(structs, start=1):
        missing = [field for field in needed if not hasattr(element, field)]
        if missing:
            raise ValueError(f"{path}: {name}({number}) has no field {', '.join(missing)}.")
    return structs


def check_elements(path: Path) -> None:
    """Raises a ValueError where sizes in a MATLAB 5 file lie, elements are nested deeply, or memory would not do.

    Source: MathWorks, MAT-File Format, "Level 5 MAT-File Format".
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        header = file.read(HEADER_SIZE)
        order = {b"\0\1IM": "<", b"\1\0MI": ">"}.get(header[124:128])
        if header[124:128] in (b"\0\2IM", b"\2\0MI"):
            raise ValueError(f"{path}: {HDF5_HELP}.")
        if order is None or 0 in header[:4]:  # MATLAB 4 knows no structs, so these files are none of it
            raise ValueError(f"{path}: not a readable MATLAB file (no header of MATLAB 5 to 7.2); download it again.")
        try:
            inflated = 0
            while file.tell() < size:
                start, kind, length, _ = _tag(file, order, size)
                if kind == COMPRESSED:
                    stream = io.BufferedReader(_Inflated(file, length))
                    inflated += _check_element(stream, order, None)
                    check_memory(path, inflated)
                elif kind == MATRIX:
                    file.seek(start)
                    _check_element(file, order, size)
                file.seek(start + 8 + length)
        except (zlib.error, struct.error, EOFError) as error:
            raise _unreadable(path, error) from error
        except ValueError as error:
            raise error if str(error).startswith(f"{path}: ") else _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a readable MATLAB file ({error}); download it again.")


def _tag(file: io.BufferedIOBase, order: str, end: int | None) -> tuple[int, int, int, bytes]:
    """Where an element begins, its type, its size, and the data of a small one."""
    start = file.tell()
    word = file.read(8)
    if len(word) < 8:
        raise EOFError("it is cut short")
    kind, length = struct.unpack(f"{order}II", word)
    small = kind >> 16
    if small:
        kind, length = kind & 0xFFFF, small
        if length > 4:
            raise ValueError(f"an element at byte {start} has a size that cannot be")
    elif end is not None and start + 8 + length > end:
        raise ValueError(f"an element at byte {start} says {length} bytes, {end - start - 8} are left")
    return start, kind, length, word[4:] if small else b""


@dataclass
class _Matrix:
    """A matrix of which not all parts are read yet.

    Args:
      end: where it ends.
      parts: how many elements it has had.
      kind: its class.
      expected: how many parts scipy will read, whatever the sizes say.
    """

    end: int
    parts: int = 0
    kind: int = 0
    expected: int = 0
    count: int = 0
    name_length: int = 0


def _check_element(file: io.BufferedIOBase, order: str, end: int | None) -> int:
    """Walks over a matrix and all that it holds; returns where it ends."""
    start, kind, length, small = _tag(file, order, end)
    if kind != MATRIX or small:
        raise ValueError(f"an element of type {kind} where a matrix was expected")
    position, last = start + 8, start + 8 + length
    opened = [_Matrix(last)]
    while opened:
        parent = opened[-1]
        if position >= parent.end:
            if parent.parts and parent.parts != parent.expected:
                raise ValueError(f"a matrix of class {parent.kind} has {parent.parts} parts, not {parent.expected}")
            opened.pop()
            continue
        position = _forward(file, position)
        _, kind, length, small = _tag(file, order, parent.end)
        parent.parts += 1
        if kind == MATRIX and not small:
            if parent.kind not in HOLDERS or len(opened) >= MAX_DEPTH:
                raise ValueError(f"a matrix within one of class {parent.kind}, {len(opened)} deep")
            opened.append(_Matrix(position + 8 + length))
            position += 8
        else:
            if kind not in DATA_TYPES:
                raise ValueError(f"an element of type {kind}")
            _check_part(file, order, parent, length, small, parent.end - position)
            position += 8 if small else 8 + (length + 7) // 8 * 8
    _forward(file, last)
    return last


def _check_part(file: io.BufferedIOBase, order: str, parent: _Matrix, length: int, small: bytes, left: int) -> None:
    """What scipy believes of a matrix: its class, its sizes, the length of the names of its fields."""
    kind, words = parent.kind, length // 4
    if parent.parts == 1:
        flags = struct.unpack(f"{order}I", (small or _exactly(file, 4)))[0]
        parent.kind = flags & 0xFF
        if parent.kind not in CLASSES:
            raise ValueError(f"a matrix of class {parent.kind}")
        numbers = {CELL: 0, STRUCT: 0, OBJECT: 0, CHARACTERS: 1, SPARSE: 3}.get(parent.kind, 1)
        parent.expected = 3 + numbers + (bool(flags & COMPLEX) if parent.kind >= SPARSE else 0)
    elif parent.parts == 2:
        if words > MAX_DEPTH:
            raise ValueError(f"a matrix of {words} dimensions")
        sizes = struct.unpack(f"{order}{words}i", (small or _exactly(file, 4 * words))[: 4 * words])
        parent.count = math.prod(sizes)
        if min(sizes, default=0) < 0 or (kind in HOLDERS and parent.count * 8 > left):
            raise ValueError(f"an array of {' x '.join(map(str, sizes))} is larger than its bytes")
        parent.expected += parent.count if kind == CELL else 0
    elif parent.parts == {STRUCT: 4, OBJECT: 5}.get(kind):
        parent.name_length = struct.unpack(f"{order}i", small or _exactly(file, 4))[0] if words == 1 else 0
        if parent.name_length < 1:
            raise ValueError("names of fields without a length")
    elif parent.parts == {STRUCT: 5, OBJECT: 6}.get(kind):
        parent.expected += parent.parts - 3 + parent.count * (length // parent.name_length)


def _exactly(file: io.BufferedIOBase, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it is cut short")
    return data


def _forward(file: io.BufferedIOBase, position: int) -> int:
    """Goes on to a place, reading where there is no seeking."""
    if file.seekable():
        return file.seek(position)
    while file.tell() < position:
        _exactly(file, min(2**20, position - file.tell()))
    return position


class _Inflated(io.RawIOBase):
    """What a compressed element of a file holds, in the memory of a piece."""

    def __init__(self, file: io.BufferedIOBase, length: int):
        self._file, self._left, self._place = file, length, 0
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer) -> int:
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._file.read(min(2**16, self._left))
                self._left -= len(packed)
                if not packed:
                    raise EOFError("a compressed element is cut short")
            data = self._inflate.decompress(packed, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
