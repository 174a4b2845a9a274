"""Free 3D models out of Debian packages: obtained, checked and unpacked without being installed."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ast_jax.files.archives import TAR_OPENERS, load_json, named, unpack_tar, unpack_zip
from ast_jax.files.inside import inside
from ast_jax.files.writing import write_text

DEB_MAGIC = b"!<arch>\n"
AR_HEADER_SIZE = 60
COMPLETE = ".complete.json"


@dataclass(frozen=True)
class PackageTree:
    """An unpacked package.

    Args:
      root: the folder that holds ``usr``.
      package, version: as the distribution names them; the version is empty where it cannot be told.
      sha256: of the archive, empty where the source was a folder.
    """

    root: Path
    package: str
    version: str = ""
    sha256: str = ""

    def provenance(self, path: Path, author: str, licence: str) -> dict:
        """What the manifest says of one object of this package."""
        return {
            "package": self.package,
            "version": self.version,
            "sha256": self.sha256,
            "path": path.relative_to(self.root).as_posix() if path.is_absolute() else path.as_posix(),
            "author": author,
            "licence": licence,
        }


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/ast-jax``, by default ``~/.cache/ast-jax``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ast-jax"


def open_package(
    package: str,
    source: str | Path | None = None,
    *,
    prefixes: Sequence[str] = ("usr/",),
    cache: Path | None = None,
) -> PackageTree:
    """Find or fetch a package and unpack what is wanted of it.

    Args:
      package: its name in the distribution.
      source: a ``.deb`` or ``.zip`` archive, a folder with the ``.deb`` in it, or a folder already unpacked
        (it holds ``usr``, or a folder named after the package that does). None downloads with ``apt-get``.
      prefixes: paths inside the package that are unpacked.
      cache: where archives and unpacked packages are kept; default ``cache_folder()``.

    Raises:
      ValueError: nothing usable there, no apt-get on this system, or an archive with unsafe names.
    """
    cache = (cache or cache_folder()).expanduser()
    if source is None:
        archive = _find_archive(cache, package) or _download(package, cache)
    else:
        source = Path(source).expanduser().resolve()
        if source.is_dir():
            for root in (source, source / package):
                if (root / "usr").is_dir():
                    return PackageTree(root, package, _version_in_tree(root, package))
            archive = _find_archive(source, package)
            if archive is None:
                raise ValueError(f"{source}: holds neither usr/, nor {package}/usr/, nor {package}_*.deb.")
        elif source.is_file():
            archive = source
            if source.suffix == ".deb" and not source.name.startswith(f"{package}_"):
                raise ValueError(f"{source}: package {package} is needed; pass it, or a folder with all packages.")
        else:
            raise ValueError(f"{source}: no such file or folder.")
    return _unpack(archive, package, prefixes, cache / "unpacked")


def _find_archive(folder: Path, package: str) -> Path | None:
    found = sorted([*folder.glob(f"{package}_*.deb"), *folder.glob(f"{package}.zip")]) if folder.is_dir() else []
    return found[-1] if found else None


def _version_in_tree(root: Path, package: str) -> str:
    """The newest entry of the changelog that every Debian package carries, or nothing."""
    path = root / "usr/share/doc" / package / "changelog.Debian.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            found = re.match(r"\S+ \((\S+?)\)", file.readline(1000))
    except (OSError, EOFError, zlib.error):
        return ""
    return found[1] if found else ""


def _download(package: str, cache: Path) -> Path:
    """``apt-get download``: the system's own client, its mirrors and signatures; nothing is installed."""
    if shutil.which("apt-get") is None:
        raise ValueError(
            f"package {package}: there is no apt-get here; get {package}_*.deb from a Debian mirror "
            "(release bookworm) and pass it with --source."
        )
    cache.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(["apt-get", "download", package], cwd=cache, capture_output=True, text=True)
    archive = _find_archive(cache, package)
    if result.returncode or archive is None:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"apt-get download {package} failed ({last}); pass the .deb with --source.")
    return archive


def _unpack(archive: Path, package: str, prefixes: Sequence[str], folder: Path) -> PackageTree:
    """Unpack once; a folder counts only when its last file was written."""
    stem = archive.name.removesuffix(archive.suffix)
    root = inside(folder, re.sub("[:/\\\\]", "-", urllib.parse.unquote(stem)))
    marker = root / COMPLETE
    if marker.is_file():
        try:
            found = load_json(marker)
            if found["size"] == archive.stat().st_size and set(prefixes) <= set(found["prefixes"]):
                return PackageTree(root, package, str(found["version"]), str(found["sha256"]))
        except (ValueError, TypeError, KeyError):
            pass  # half-written or another's: unpack again
    marker.unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    unpack_archive(archive, root, prefixes)
    version = urllib.parse.unquote(stem).split("_")[1] if stem.count("_") >= 1 else ""
    with open(archive, "rb") as file:
        tree = PackageTree(root, package, version, hashlib.file_digest(file, "sha256").hexdigest())
    note = {**asdict(tree), "root": "", "size": archive.stat().st_size, "prefixes": list(prefixes)}
    write_text(marker, json.dumps(note, indent=1) + "\n")
    return tree


def unpack_archive(archive: str | Path, target: Path, prefixes: Sequence[str] = ("",)) -> None:
    """Unpack those members of a ``.deb`` or ``.zip`` whose path begins with one of the prefixes.

    Links of a package are left out.

    Raises:
      ValueError: not such an archive, or as ``archives.unpack``.
    """
    archive = Path(archive)
    wanted = lambda name: name.startswith(tuple(prefixes))  # noqa: E731
    with named(archive):
        if zipfile.is_zipfile(archive):
            unpack_zip(archive, target, wanted)
        else:
            with open(archive, "rb") as file, _data_tar(archive, file) as stream:
                unpack_tar(archive, stream, target, wanted, leave_links=True)


def _data_tar(archive: Path, file: io.BufferedIOBase) -> io.BufferedIOBase:
    """A .deb is an ``ar`` archive with a compressed tar in it.

    Raises:
      ValueError: another kind of file, or a size that is none.
    """
    if file.read(len(DEB_MAGIC)) != DEB_MAGIC:
        raise ValueError(f"{archive}: neither a .deb nor a .zip archive.")
    while len(header := file.read(AR_HEADER_SIZE)) == AR_HEADER_SIZE:
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        left = os.path.getsize(archive) - file.tell()
        if not size.isdigit() or int(size) > left:
            raise ValueError(f"{archive}: its member {name!r} says {size!r} bytes, {left} are left.")
        if name.startswith("data.tar"):
            compression = name.removeprefix("data.tar").lstrip(".")
            if compression not in TAR_OPENERS:
                raise ValueError(f"{archive}: compressed with {compression}; unpack it with dpkg -x, pass the folder.")
            part = io.BufferedReader(_Part(file, file.tell(), int(size)))
            return TAR_OPENERS[compression](part, "rb") if compression else part
        file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise ValueError(f"{archive}: a .deb without data.tar.")


class _Part(io.RawIOBase):
    """Some bytes of a file as a file."""

    def __init__(self, file: io.BufferedIOBase, start: int, size: int):
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer) -> int:
        self._file.seek(self._start + self._place)
        data = self._file.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
