"""The container of glTF 2.0: JSON with typed look-ups, the buffers behind it, and files beside it."""

import base64
import binascii
import json
import math
import os
import posixpath
import re
import struct
import urllib.parse
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import overload

from ast_jax.shapes.mesh_files.beside import find_beside

MAGIC = b"glTF"
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
# Of the file and of all buffers and images beside it, together.
MAX_BYTES = 2 << 30
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
REQUIRED = object()


class Entry(dict):
    """A JSON object that knows its place, such as ``accessors[3]``, for messages."""

    place = ""


class Document:
    """One file: its JSON, its buffers, and what is to be told about it.

    Everything that a file can say is looked up through ``entry`` and the functions below, which check that it is of
    its kind; messages name the place, and ``load_gltf`` puts the path before them.

    Args:
      path: of a ``.glb`` or ``.gltf``; what is in it decides, not the suffix.
      root: folder in which the files that it names must lie.

    Raises:
      ValueError: not glTF 2.0, or cut short.
    """

    def __init__(self, path: Path, root: Path):
        self._path, self._root = path, root
        self._room = MAX_BYTES
        content = self._read(path)
        text, self._binary = _split_glb(content) if content[:4] == MAGIC else (content, None)
        self.tree = _parse_json(text)
        self._files: dict[str, bytes] = {}
        self._notices: Counter = Counter()
        asset = field(self.tree, "asset", dict)
        for key, default in (("version", REQUIRED), ("minVersion", "2.0")):  # section 5.9: of minVersion, all of it
            if not re.match(r"2(\.|$)" if key == "version" else r"2\.0$", field(asset, key, str, default)):
                raise ValueError(f"its {key} is {asset[key][:20]!r}; only glTF 2.0 can be read. Export it again.")

    def notice(self, text: str, count: int = 1) -> None:
        """Tell the user; what is told again is counted."""
        self._notices[text] += count

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(text if count == 1 else f"{text} ({count} times)" for text, count in self._notices.items())

    def entry(self, kind: str, index: int) -> Entry:
        """For example ``accessors``, 3."""
        entries = field(self.tree, kind, list, [])
        if not 0 <= index < len(entries):
            raise ValueError(f"{kind}[{index}] is asked for, and there are {len(entries)}.")
        if not isinstance(entries[index], dict):
            raise ValueError(f"{kind}[{index}] is no JSON object.")
        entry = Entry(entries[index])
        entry.place = f"{kind}[{index}]: "
        return entry

    def buffer(self, index: int) -> memoryview:
        """The bytes of one buffer."""
        entry = self.entry("buffers", index)
        length = integer(entry, "byteLength")
        uri = field(entry, "uri", str, None)
        if uri is not None:
            content = self.resource(uri)
        elif index == 0 and self._binary is not None:
            content = self._binary
        else:
            raise ValueError(f"buffers[{index}] has neither a URI nor a place in the file.")
        if length > len(content):
            raise ValueError(f"buffers[{index}] says {length} bytes and has {len(content)}: the file is cut short.")
        return memoryview(content)[:length]

    def view(self, index: int) -> tuple[memoryview, int]:
        """The bytes of one buffer view, and their stride (0: closely packed)."""
        entry = self.entry("bufferViews", index)
        self._check_fallback(entry)
        content = self.buffer(integer(entry, "buffer"))
        start, length = integer(entry, "byteOffset", 0), integer(entry, "byteLength")
        if start + length > len(content):
            raise ValueError(f"bufferViews[{index}] reaches to byte {start + length} of {len(content)}.")
        return content[start : start + length], integer(entry, "byteStride", 0)

    def _check_fallback(self, view: dict) -> None:
        """A compressed view may have an uncompressed copy, or a buffer that stands for one and is empty."""
        for name in MESHOPT:
            if extension(view, name) is not None:
                buffer = self.entry("buffers", integer(view, "buffer"))
                if "uri" not in buffer and field(extension(buffer, name) or {}, "fallback", bool, False):
                    raise ValueError(f"it needs {name}, which cannot be read. Export it without compression.")
                self.notice(f"read the uncompressed copy of what is there as {name} too")

    def resource(self, uri: str) -> bytes:
        """What a URI stands for: data in the URI itself, or a file.

        Raises:
          ValueError: outside the root, or not there.
        """
        if uri not in self._files:
            self._files[uri] = _decode_data_uri(uri) if uri[:5].lower() == "data:" else self._read(self._find(uri))
        return self._files[uri]

    def _find(self, uri: str) -> Path:
        folder = self._path.parent
        for name in dict.fromkeys((urllib.parse.unquote(uri), uri)):  # some exporters forget to encode a %
            windows, name = PureWindowsPath(name), posixpath.normpath(name.replace("\\", "/"))
            if URL.match(name) or windows.drive or windows.root or not self._is_inside(folder / name):
                raise ValueError(f"{uri[:200]!r} is outside {self._root.name!r}, beyond which nothing is read.")
            found = find_beside(self._path, name, self._root)
            # In another folder than the file says, it is another file: a viewer would not show it either.
            if found is not None and len(found.parts) == len(Path(os.path.normpath(folder / name)).parts):
                return found
        raise ValueError(f"{uri[:200]!r} is not there.")

    def _is_inside(self, path: Path) -> bool:
        """By its name: links in the folder are the user's own."""
        return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self._root))

    def _read(self, path: Path) -> bytes:
        try:
            self._room -= path.stat().st_size
            if self._room < 0:
                raise ValueError(f"{path.name}: with its buffers and images more than {MAX_BYTES >> 30} GiB.")
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path.name!r} cannot be read ({error.strerror}).") from error


def _split_glb(content: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the first binary chunk of a GLB; chunks of other kinds are skipped, as section 4.4.3 says."""
    if len(content) < 20:
        raise ValueError("cut short: no GLB is as small.")
    _, version, length = struct.unpack_from("<III", content)
    if version != 2:
        raise ValueError(f"GLB of version {version}; only version 2 can be read. Export it again.")
    if length > len(content):
        raise ValueError(f"cut short: the header says {length} bytes, and there are {len(content)}.")
    chunks, start = [], 12
    while start + 8 <= length:
        size, kind = struct.unpack_from("<II", content, start)
        if start + 8 + size > length:
            raise ValueError("cut short: a chunk reaches beyond the end of the file.")
        chunks.append((kind, start + 8, size))
        start += 8 + size
    if not chunks or chunks[0][0] != JSON_CHUNK:
        raise ValueError("not a GLB: its first chunk is not JSON.")
    text, *rest = (content[at : at + size] for kind, at, size in chunks if kind in (JSON_CHUNK, BINARY_CHUNK))
    return text, rest[0] if rest else None


def _parse_json(text: bytes) -> dict:
    def refuse(name):
        raise ValueError(f"{name} is no number of JSON.")

    try:
        tree = json.loads(text.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON cannot be read ({error}).") from error
    if not isinstance(tree, dict):
        raise ValueError("its JSON is no object.")
    return tree


def _decode_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise ValueError("a data URI without data.")
    body = urllib.parse.unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return body
    body = b"".join(body.split())
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a data URI that is not base64 ({error}).") from error


def field(owner: dict, key: str, kind: type, default=REQUIRED):
    """``owner[key]``, of that type.

    Raises:
      ValueError: missing and without a default, or of another type.
    """
    value = owner.get(key, default)
    if value is default and default is not REQUIRED:
        return default
    if value is REQUIRED:
        raise ValueError(f"{_place(owner)}{key!r} is missing.")
    if not isinstance(value, kind):
        raise ValueError(f"{_place(owner)}{key!r} is {str(value)[:40]!r}, expected a {_KINDS[kind]}.")
    return value


def _place(owner: dict) -> str:
    return owner.place if isinstance(owner, Entry) else ""


_KINDS = {dict: "JSON object", list: "list", str: "text", bool: "true or false"}


@overload
def integer(owner: dict, key: str, default: None) -> int | None: ...
@overload
def integer(owner: dict, key: str, default: int = ...) -> int: ...
def integer(owner, key, default=REQUIRED):
    """``owner[key]`` as a whole number of 0 or more, 24.0 being one too; or the default, where the key is missing."""
    value = owner.get(key, default)
    if value is default and default is not REQUIRED:
        return default
    if value is REQUIRED:
        raise ValueError(f"{_place(owner)}{key!r} is missing.")
    return _as_index(value, key, owner)


def _as_index(value, key: str, owner: dict) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise ValueError(f"{_place(owner)}{key!r} is {str(value)[:40]!r}, expected a whole number of 0 or more.")
    return value


def indices(owner: dict, key: str) -> list[int]:
    """A list of whole numbers; none if it is missing."""
    return [_as_index(value, key, owner) for value in field(owner, key, list, [])]


def numbers(owner: dict, key: str, default: list[float], count: int | None = None) -> list[float]:
    """A list of finite numbers, as many as the default has, or ``count``, or any number of them (0)."""
    values = field(owner, key, list, default)
    count = len(default) if count is None else count
    if count and len(values) != count:
        raise ValueError(f"{_place(owner)}{key!r} has {len(values)} numbers, expected {count}.")
    return [_finite(value, key, owner) for value in values]


def number(owner: dict, key: str, default: float) -> float:
    """A finite number."""
    return _finite(owner.get(key, default), key, owner)


def _finite(value, key: str, owner: dict) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_place(owner)}{key!r} has {str(value)[:40]!r}, expected a number.")
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{_place(owner)}{key!r} has a number that is not finite.")
    return value


def extension(owner: dict, name: str) -> dict | None:
    """What an extension says at this place, or None."""
    return field(field(owner, "extensions", dict, {}), name, dict, None)
