"""Arrays of ``.npz`` files: nothing is unpickled, and no memory is taken that the file does not fill."""

import math
import os
import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ast_jax.files.limits import check_memory, check_zip

SUFFIX = ".npy"
HEADER = re.compile(rb"\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*")


def load_npz(
    path: str | Path, names: Sequence[str] | None = None, optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` file.

    Args:
      path: the file.
      names: those that are needed; None for all.
      optional: those of them that may be missing.

    Raises:
      ValueError: missing, broken, larger than memory, an array that is needed and not there, or one of pickled
        objects; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            found = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist()}
            missing = [name for name in names or () if name not in found and name not in optional]
            if missing:
                raise ValueError(f"it has no {', '.join(missing)}")
            wanted = {name: found[name] for name in (found if names is None else names) if name in found}
            check_zip(path, wanted.values(), os.path.getsize(path))
            check_memory(path, sum(info.file_size for info in wanted.values()))
            return {name: _read(archive, info, path) for name, info in wanted.items()}
    except Exception as error:  # flipped bytes can raise anything: zlib, zip, the header's parser
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(f"{path}: not a readable .npz file ({str(error) or type(error).__name__}).") from error


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    with archive.open(info) as file:
        shape, fortran, dtype = read_header(file, info, path)
        data = bytearray(file.read(math.prod(shape) * dtype.itemsize))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_header(file, info: zipfile.ZipInfo, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of an array, after a look whether the member holds as much.

    Args:
      file: the member, at its start; then at the first number.
      info: of the member.
      path: of the archive, for messages.

    Raises:
      ValueError: no array, pickled objects, or a size that lies.
    """
    shape, fortran, dtype = _parse_header(file)
    name = info.filename.removesuffix(SUFFIX)
    if dtype.hasobject:
        raise ValueError(f"{path}: array {name!r} holds pickled objects: refused.")
    if any(size < 0 for size in shape):
        raise ValueError(f"{path}: array {name!r} has the shape {shape}.")
    needed, there = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
    # Nothing along one axis would hide any length along the others.
    if needed > there or math.prod(max(size, 1) for size in shape) > max(there, 2**16):
        raise ValueError(f"{path}: array {name!r} should have shape {shape}, {needed} bytes; the file has {there}.")
    return shape, fortran, dtype


def _parse_header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type.

    Headers as `numpy.save` writes them for numbers are read here, all others by numpy: its parser is Python's `ast`,
    which before Python 3.11.10 and 3.12.5 fails now and then where another thread uses it too.
    Source: https://github.com/python/cpython/issues/106905
    """
    version = np.lib.format.read_magic(file)
    width = 2 if version == (1, 0) else 4
    start = file.tell()
    plain = HEADER.fullmatch(file.read(int.from_bytes(file.read(width), "little")))
    if plain is None:
        file.seek(start)
        return (np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0)(file)
    kind, fortran, shape = (part.decode("latin-1") for part in plain.groups())
    return tuple(int(size) for size in shape.split(",") if size.strip()), fortran == "True", np.dtype(kind)


class NpzRows:
    """The first array of a ``.npz`` file, row by row, in the memory of one row.

    A member of a zip cannot be memory-mapped, but it can be read forwards; going back reads it from its start again
    where it is compressed.

    Args:
      path: the file; its first array is taken, whatever its name.

    Raises:
      ValueError: missing, broken, no array, or an array of pickled objects; the message names the file.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = None
        try:
            self._open()
        except Exception as error:  # flipped bytes can raise anything: zlib, zip, the header's parser
            if str(error).startswith(f"{self.path}: "):
                raise
            raise ValueError(f"{path}: not a readable .npz file ({error}).") from error

    def _open(self) -> None:
        archive = zipfile.ZipFile(self.path)
        info = archive.infolist()[0]
        check_zip(self.path, [info], os.path.getsize(self.path))
        self._file = archive.open(info)
        self.shape, fortran, self.dtype = read_header(self._file, info, self.path)
        if fortran or not self.shape:
            raise ValueError(f"{self.path}: its array is not stored row by row; load it and save it with numpy again.")
        self._start = self._file.tell()

    def __len__(self) -> int:
        """How many rows."""
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        """One row.

        Raises:
          ValueError: the file ends before it, or its bytes are damaged.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            self._file.seek(self._start + row * size)
            data = self._file.read(size)
        except Exception as error:  # zlib and zip have errors of their own
            raise ValueError(f"{self.path}: damaged at row {row} ({error}).") from error
        if len(data) != size:
            raise ValueError(f"{self.path}: ends before row {row} of {len(self)}; download it again.")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])
