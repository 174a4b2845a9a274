"""Names of files as ids of objects: usable as a file name, unique, and still readable in every script."""

import hashlib
import re
import unicodedata

MAX_BYTES = 200  # file systems take 255, and ".partial.npz" comes after it


def safe_name(text: str) -> str:
    """The text as a file name of ASCII alone: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "object"


def id_of_path(*spellings: str, taken: set[str] | None = None) -> str:
    """An object id made of a path: its letters, digits and marks of any script, dots, dashes, underscores.

    Args:
      spellings: the first one is taken, or the next one where that is taken already, or the last one with a number that
        is made of it, so that the id does not depend on what else there is.
      taken: ids that are there, folded; the new one is added.
    """
    taken = set() if taken is None else taken
    digest = hashlib.sha256(spellings[-1].encode("utf-8", "surrogatepass")).hexdigest()
    candidates = [_readable(text) for text in spellings]
    candidates += [f"{candidates[-1]}-{digest[:count]}" for count in (8, 64)]
    chosen = next(name for name in candidates if _folded(name) not in taken)
    taken.add(_folded(chosen))
    return chosen


def _readable(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    kept = [c if c in "._-" or unicodedata.category(c)[0] in "LNM" else "\x00" for c in text]
    name = re.sub("\x00+", "_", "".join(kept)).strip("._") or "object"
    if len(name.encode()) <= MAX_BYTES - 65:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return name.encode()[: MAX_BYTES - 65 - 9].decode(errors="ignore") + "-" + digest


def _folded(name: str) -> str:
    """Equal for names that are one file where cases or forms of letters are not told apart."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def printable(text: object) -> str:
    """The text with escapes for bytes of a file name that are no UTF-8: those can be neither printed nor written."""
    return str(text).encode("utf-8", "backslashreplace").decode()
