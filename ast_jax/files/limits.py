"""What a file from elsewhere may cost: sizes are added up before memory or disk is taken."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from ast_jax.machine import available_memory

# An archive may become this many times larger, and this much besides: above what any data set of pictures, meshes or
# text gains, below what is made to fill a disk. A member costs at least its entry in the folder.
MAX_RATIO, FREE_ALLOWANCE, ENTRY_COST = 200, 256 * 2**20, 1024
# Others reach ratios, in their smallest steps, that no look at sizes can stop; hardly any program writes them.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_unpacked(name: str | Path, packed: int, unpacked: int) -> None:
    """Raises a ValueError where an archive would become too many times larger.

    Args:
      name: of the archive, for the message.
      packed: its size, bytes.
      unpacked: of all that comes out, bytes.
    """
    if unpacked > FREE_ALLOWANCE + MAX_RATIO * packed:
        raise ValueError(
            f"{name}: refused, {size_text(packed)} would become more than {size_text(unpacked)}; if that is right, "
            "unpack it yourself and give the folder."
        )


def check_memory(name: str | Path, needed: int) -> None:
    """Raises a ValueError where a file needs more memory, in bytes, than there is."""
    free = available_memory()
    if free is not None and needed > free:
        raise ValueError(f"{name}: needs about {size_text(needed)} of memory, {size_text(free)} are free.")


def check_zip(name: str | Path, members: Iterable[zipfile.ZipInfo], packed: int) -> None:
    """Raises a ValueError where members of a zip are encrypted, packed in a rare way, come twice, or are too large.

    Args:
      name: of the archive.
      members: those that are wanted.
      packed: size of the archive, bytes.
    """
    total, seen = 0, set()
    for info in members:
        if info.flag_bits & 1:
            raise ValueError(f"{name}: its member {info.filename!r} is encrypted; unpack it and give the folder.")
        if info.compress_type not in ZIP_METHODS:
            raise ValueError(
                f"{name}: its member {info.filename!r} is compressed by method {info.compress_type}, only deflate can "
                "be read; unpack it and give the folder."
            )
        stored = info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size
        if stored or info.header_offset + info.compress_size > packed:
            raise ValueError(
                f"{name}: its member {info.filename!r} says {info.compress_size} bytes for {info.file_size}, the whole "
                f"archive has {packed}; it is cut short or damaged."
            )
        if info.filename in seen:
            raise ValueError(f"{name}: refused, its member {info.filename!r} comes twice.")
        seen.add(info.filename)
        total += max(info.file_size, 0) + ENTRY_COST
    check_unpacked(name, packed, total)


def size_text(count: int) -> str:
    """Bytes for people: ``1.5 GB``."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
