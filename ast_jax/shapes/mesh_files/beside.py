"""Files that a mesh file names: material libraries and textures, wherever its author had them."""

import re
import unicodedata
from pathlib import Path

# How names may be meant: tried where a name that was read as Latin-1 is not there.
_OLD_ENCODINGS = ("utf-8", "cp1252", "cp932", "gbk", "cp1251")


def find_beside(path: Path, name: str, root: Path | None = None) -> Path | None:
    """The file that a mesh file means by a name, or None.

    Backslashes, another letter case or Unicode form, and folders that exist on the author's machine alone do not
    matter: of ``C:\\art\\red.png``, first ``art/red.png`` is looked for, then ``red.png``.

    Args:
      path: the mesh file.
      name: as it stands there.
      root: folder that the file must lie in; by default that of the mesh file. ``..`` leads no further up.
    """
    folder = path.parent
    root = folder if root is None else root
    for spelling in _spellings(name):
        parts = [
            part for part in re.sub(r"^[A-Za-z]:", "", spelling.replace("\\", "/")).split("/") if part not in ("", ".")
        ]
        places = [(folder, parts[k:]) for k in range(len(parts)) if ".." not in parts[k:]]
        if ".." in parts:
            places.insert(0, _climb(folder, parts, root))
        for start, rest in places:
            found = _descend(start, rest) if start is not None and rest else None
            if found is not None:
                return found
    return None


def _climb(folder: Path, parts: list[str], root: Path) -> tuple[Path | None, list[str]]:
    """Where leading ``..`` lead, as long as that lies in ``root``, and what follows them."""
    ups = next((k for k, part in enumerate(parts) if part != ".."), len(parts))
    inside = [folder, *folder.parents]
    if ".." in parts[ups:] or ups >= len(inside) or not inside[ups].is_relative_to(root):
        return None, []
    return inside[ups], parts[ups:]


def _descend(folder: Path, parts: list[str]) -> Path | None:
    for part in parts:
        exact = folder / part
        try:
            if not exact.exists():
                wanted = _folded(part)
                exact = next((p for p in sorted(folder.iterdir()) if _folded(p.name) == wanted), None)
        except (OSError, ValueError):  # no folder, too long for a name, or a null character in it
            return None
        if exact is None:
            return None
        folder = exact
    return folder if folder.is_file() else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _spellings(name: str) -> list[str]:
    """The name, without quotation marks, without a comment after it, and as older encodings spell it."""
    name = name.strip()
    bare = name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name
    found = [bare, re.split(r"\s#", bare)[0].strip()]
    for encoding in _OLD_ENCODINGS if not bare.isascii() else ():
        try:
            found.append(bare.encode("latin-1").decode(encoding))
        except UnicodeError:
            continue
    return [spelling for spelling in dict.fromkeys(found) if spelling]
