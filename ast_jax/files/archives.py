"""Archives, JSON and lists from elsewhere, read so that a bad one does no harm and is named."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ast_jax.files.inside import inside
from ast_jax.files.limits import ENTRY_COST, check_memory, check_unpacked, check_zip, size_text
from ast_jax.files.writing import write_text

UNPACKED = ".unpacked.json"
CHUNK = 2**16
# Long names and the like in a tar, bytes: tarfile reads them as a whole, and searches them.
MAX_EXTENDED_HEADER = 2**16
EXTENDED_HEADERS = b"xgXLK"
# Python's objects take this many times the size of their JSON text.
JSON_MEMORY = 8
TAR_OPENERS = {"": open, "gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}


def everything(name: str) -> bool:
    """Wants each member of an archive."""
    return True


def safe_member(archive: str | Path, name: str) -> str:
    """The path of an archive member, without a leading ``./``.

    Raises:
      ValueError: an absolute path, one that climbs with ``..``, or none.
    """
    path = PurePosixPath(name.replace("\\", "/")).as_posix()
    try:
        if path != ".":
            inside(archive, path)
    except ValueError as error:
        raise ValueError(f"{archive}: refused, its member {name!r} would be written outside the target.") from error
    return path


def unpack(archive: str | Path, target: str | Path) -> None:
    """Unpack a zip or tar archive; every member is checked before the first one is written.

    Args:
      archive: ``.zip``, or ``.tar``, plain or compressed with gzip, bzip2 or xz.
      target: the folder to unpack into, made if need be.

    Raises:
      ValueError: neither zip nor tar, cut short, encrypted, larger than ``limits`` or the disk allow, or a member
        that comes twice, is a link, a device or lies outside the target; the message names archive and member.
    """
    archive, target = Path(archive), Path(target)
    with named(archive):
        if zipfile.is_zipfile(archive):
            unpack_zip(archive, target)
        elif (file := open_tar(archive)) is not None:
            with file:
                unpack_tar(archive, file, target)
        else:
            raise ValueError(f"{archive}: neither a zip nor a tar archive; unpack it and give the folder.")


class named:
    """Turns whatever the readers of archives raise into a ValueError that names the file."""

    def __init__(self, archive: Path):
        self.archive = archive

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, Exception) and not str(error).startswith(f"{self.archive}: "):
            reason = str(error) or type(error).__name__
            raise ValueError(f"{self.archive}: cannot be unpacked ({reason}).") from error


def unpack_zip(archive: Path, target: Path, wanted: Callable[[str], bool] = everything) -> None:
    """Unpack those members of a zip whose path is wanted; raises as ``unpack`` does, or what ``zipfile`` raises."""
    with zipfile.ZipFile(archive) as file:
        members = [(safe_member(archive, info.filename), info) for info in file.infolist()]
        members = [(path, info) for path, info in members if wanted(path) and path != "."]
        check_zip(archive, [info for _, info in members], os.path.getsize(archive))
        for _, info in members:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{archive}: refused, its member {info.filename!r} is a link or a device.")
        _check_disk(archive, target, sum(info.file_size + ENTRY_COST for _, info in members))
        for path, info in members:
            if info.is_dir():
                (target / path).mkdir(parents=True, exist_ok=True)
            else:
                with file.open(info) as content:
                    _write(content, target / path, info.file_size)


def open_tar(archive: Path) -> io.BufferedIOBase | None:
    """The uncompressed bytes of a tar archive, or None where it is none."""
    for opener in TAR_OPENERS.values():
        stream = opener(archive, "rb")
        try:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
            stream.seek(0)
            return stream
        except Exception:  # each decompressor has errors of its own
            stream.close()
    return None


def unpack_tar(
    archive: Path,
    stream: io.BufferedIOBase,
    target: Path,
    wanted: Callable[[str], bool] = everything,
    *,
    leave_links: bool = False,
) -> None:
    """Unpack those members of a tar whose path is wanted.

    Args:
      archive: the file, for its size and for messages.
      stream: uncompressed, at its start; it is read twice.
      target: the folder to unpack into.
      wanted: tells by the path.
      leave_links: links and devices are left out; else they are refused.

    Raises:
      ValueError: as ``unpack``; or what the stream raises.
    """
    packed, total, seen, files = os.path.getsize(archive), 0, set(), []
    for member in _members(stream):
        path = safe_member(archive, member.name)
        check_unpacked(archive, packed, member.offset_data + member.size)
        if not wanted(path) or path == "." or (leave_links and not (member.isreg() or member.isdir())):
            continue
        if not (member.isreg() or member.isdir()):
            raise ValueError(f"{archive}: refused, its member {member.name!r} is a link or a device.")
        if path in seen and not member.isdir():
            raise ValueError(f"{archive}: refused, its member {member.name!r} comes twice.")
        seen.add(path)
        files.append((path, None if member.isdir() else member.offset_data, member.size))
        total += member.size + ENTRY_COST
        check_unpacked(archive, packed, total)
    _check_disk(archive, target, total)
    for path, start, size in files:  # forwards: going back means to decompress from the start
        if start is None:
            (target / path).mkdir(parents=True, exist_ok=True)
        else:
            stream.seek(start)
            _write(stream, target / path, size)


class _Header(tarfile.TarInfo):
    """A header that is refused before tarfile follows what it says."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0:
            raise ValueError(f"its member {header.name!r} has the size {header.size}")
        if header.type in (tarfile.GNUTYPE_SPARSE, tarfile.SOLARIS_XHDTYPE):
            raise ValueError(f"its member {header.name!r} is of a rare kind, {header.type!r}")
        if header.type in [bytes([kind]) for kind in EXTENDED_HEADERS] and header.size > MAX_EXTENDED_HEADER:
            raise ValueError(f"a name or comment in it has {size_text(header.size)}")
        return header

    def _refuse_sparse(self, *unused):
        raise ValueError("a member of it is a sparse file")

    # What tarfile calls for the three ways to say so in a record of its own.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _members(stream: io.BufferedIOBase) -> Iterator[tarfile.TarInfo]:
    """The headers one after the other; nothing is kept of them."""
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as file:
        while (member := file.next()) is not None:
            if member.size < 0:  # by a record of its own
                raise ValueError(f"its member {member.name!r} has the size {member.size}")
            file.members = []  # ty: ignore[missing-attribute]  # not documented, but tarfile's own list
            yield member


def _write(content: io.BufferedIOBase, path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        while size > 0:
            data = content.read(min(CHUNK, size))
            if not data:
                raise EOFError(f"it ends within {path.name}")
            out.write(data)
            size -= len(data)
        if isinstance(content, zipfile.ZipExtFile):
            content.read(1)  # so that an empty member's checksum is compared, too


def _check_disk(archive: Path, target: Path, needed: int) -> None:
    folder = target
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{archive}: needs {size_text(needed)} in {target}, there are {size_text(free)}.")


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
        target.mkdir(exist_ok=True)
        write_text(marker, json.dumps(note) + "\n")
    elif load_json(marker) != note:
        raise ValueError(f"{target}: was unpacked from another {source.name}; delete it to unpack this one.")
    return target


def load_json(path: str | Path):
    """What a JSON file holds.

    Raises:
      ValueError: missing, not JSON, nested too deeply, or more than memory can take; the message names the file.
    """
    try:
        check_memory(path, JSON_MEMORY * os.path.getsize(path))
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error) or type(error).__name__
        raise ValueError(f"{path}: not a readable JSON file ({reason}).") from error


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file, without blanks around them and without empty ones.

    Bytes that are no UTF-8 stay what they are, as they do in names of files: so a list in another encoding still names
    its files.

    Raises:
      ValueError: missing, or not text; the message names the file.
    """
    try:
        check_memory(path, JSON_MEMORY * os.path.getsize(path))
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ValueError(f"{path}: not a readable text file ({error}).") from error
    if "\0" in text:
        raise ValueError(f"{path}: not a readable text file (it has zeros in it).")
    return [line.strip() for line in text.splitlines() if line.strip()]
