"""Files from elsewhere: archives, numpy files and JSON, read so that a bad one does no harm and is named."""

import json
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

UNPACKED = ".unpacked.json"


def safe_member(archive: str | Path, name: str) -> str:
    """The path of an archive member, without a leading ``./``.

    Raises:
      ValueError: an absolute path, or one that climbs with ``..``.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise ValueError(f"{archive}: refused, its member {name!r} would be written outside the target folder.")
    return path.as_posix()


def unpack(archive: str | Path, target: str | Path) -> None:
    """Unpack a zip or tar archive; every member is checked before the first one is written.

    Args:
      archive: ``.zip``, or ``.tar`` with any compression that Python reads.
      target: the folder to unpack into, made if need be.

    Raises:
      ValueError: neither zip nor tar, cut short, or a member that is a link, a device or lies outside the target;
        the message names archive and member.
    """
    archive, target = Path(archive), Path(target)
    try:
        if zipfile.is_zipfile(archive):
            unpack_zip(archive, target)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, target)
        else:
            raise ValueError(f"{archive}: neither a zip nor a tar archive; unpack it and give the folder.")
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive}: cannot be unpacked ({error}).") from error


def unpack_zip(archive: Path, target: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpack those members of a zip whose path is wanted; as ``unpack``."""
    with zipfile.ZipFile(archive) as file:
        chosen = [info for info in file.infolist() if wanted(safe_member(archive, info.filename))]
        for info in chosen:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{archive}: refused, its member {info.filename!r} is a link.")
        for info in chosen:
            file.extract(info, target)


def _unpack_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        for member in members:
            safe_member(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"{archive}: refused, its member {member.name!r} is a link or a device.")
        for member in members:
            file.extract(member, target, filter="data")


def source_folder(source: str | Path) -> Path:
    """The folder of a download: itself, or an archive unpacked once into a folder beside it.

    ``data.zip`` becomes ``data.zip.unpacked/``, which counts only when its last file was written.

    Raises:
      ValueError: as ``unpack``; nothing there; the folder holds what another archive of that name had.
    """
    source = Path(source)
    if source.is_dir():
        return source
    if not source.is_file():
        raise ValueError(f"{source}: no such file or folder.")
    target = source.with_name(source.name + ".unpacked")
    marker, note = target / UNPACKED, {"archive": source.name, "size": source.stat().st_size}
    if not marker.is_file():
        unpack(source, target)
        marker.write_text(json.dumps(note) + "\n")
    elif load_json(marker) != note:
        raise ValueError(f"{target}: was unpacked from another {source.name}; delete it to unpack this one.")
    return target


def load_npz(path: str | Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` file, without ever unpickling.

    Args:
      path: the file.
      names: those that are needed; None for all.

    Raises:
      ValueError: missing, broken, an array that is needed and not there, or one of pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    arrays, name = {}, None
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names or () if name not in file]
            if missing:
                raise KeyError(f"it has no {', '.join(missing)}")
            for name in file.files if names is None else names:
                arrays[name] = file[name]
    except Exception as error:  # flipped bytes can raise anything: zlib, zip, the header's parser
        if "Object arrays" in str(error):
            raise ValueError(f"{path}: array {name!r} holds pickled objects: refused.") from error
        raise ValueError(f"{path}: not a readable .npz file ({str(error).strip(chr(39))}).") from error
    return arrays


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
        name = archive.namelist()[0]
        self._file = archive.open(name)
        version = np.lib.format.read_magic(self._file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, fortran, self.dtype = header(self._file)
        if self.dtype.hasobject:
            raise ValueError(f"{self.path}: array {name.removesuffix('.npy')!r} holds pickled objects: refused.")
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
        size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        try:
            self._file.seek(self._start + row * size)
            data = self._file.read(size)
        except Exception as error:  # zlib and zip have errors of their own
            raise ValueError(f"{self.path}: damaged at row {row} ({error}).") from error
        if len(data) != size:
            raise ValueError(f"{self.path}: ends before row {row} of {len(self)}; download it again.")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])


def load_json(path: str | Path):
    """What a JSON file holds.

    Raises:
      ValueError: missing or not JSON; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable JSON file ({error}).") from error


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file, without blanks around them and without empty ones.

    Raises:
      ValueError: missing or not text; the message names the file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable text file ({error}).") from error
    return [line.strip() for line in lines if line.strip()]
