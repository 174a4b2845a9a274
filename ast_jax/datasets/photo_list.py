"""From what was asked for, files, lists of files and folders, to pictures and their masks."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ast_jax.datasets.folder import find_pictures


def list_photos(
    images: Sequence[str], masks: Sequence[str] = (), *, skip: Callable[[Path], bool] = lambda path: False
) -> tuple[list[tuple[Path, Path | None]], list[str], list[str]]:
    """Pictures with their masks.

    Args:
      images: each a file, a folder, or several of them separated by commas; what exists is never split.
      masks: none, or files, one for each picture; of folders they are found by their names, see docs/data/folder.md.
      skip: files of folders that are passed over, such as earlier results.

    Returns:
      The pictures, each with the file of its mask or None; a line for each folder without pictures; and notices of
      what was left out of folders.

    Raises:
      ValueError: masks are given, but not one for each picture, or there is nothing at all.
    """
    files, problems, notices = [], [], []
    for value in split_at_commas(images):
        if not os.path.isdir(value):
            files.append((Path(value), None))
            continue
        try:
            listing = find_pictures(Path(value))
        except ValueError as error:
            problems.append(str(error))
            continue
        files += [(picture, listing.masks.get(picture)) for picture in listing.pictures if not skip(picture)]
        notices += [f"{value}: {note}" for note in listing.notices]
    if not files and not problems:
        raise ValueError("image: no file given.")
    given = split_at_commas(masks)
    if not given:
        return list(dict.fromkeys(files)), problems, notices
    if any(os.path.isdir(value) for value in (*split_at_commas(images), *given)):
        raise ValueError("mask: goes with files; in a folder, call the masks NAME_mask.png or masks/NAME.png.")
    if len(given) != len(files):
        raise ValueError(f"mask: {len(given)} files for {len(files)} pictures; give one for each, or none.")
    return [(image, Path(mask)) for (image, _), mask in zip(files, given)], problems, notices


def split_at_commas(values: Sequence[str]) -> list[str]:
    """Every value that exists as it is; the others in pieces."""
    pieces = []
    for value in values:
        whole = os.path.lexists(value) or "," not in value
        pieces += [value] * bool(value) if whole else [piece.strip() for piece in value.split(",") if piece.strip()]
    return pieces
