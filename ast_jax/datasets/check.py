"""Is a download complete and right? Counts, missing files, and a picture with masks, key points and shapes drawn in."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ast_jax.data.records import Collection, Count, LazyRecord, check_collection
from ast_jax.data.store import SPLITS, ObjectRecord, load_index, load_object, object_path
from ast_jax.datasets.check_sheet import Tile, draw_tile, join_tiles
from ast_jax.files.writing import replacing

SHEET_NAME = "check.png"
NUM_SAMPLES = 64
# Files that are missing or empty are named up to this many, and counted beyond.
MAX_NAMED = 20
# Of the points of a shape, which share has to fall on the mask; less means that axes or cameras are not understood.
_LEAST_INSIDE = 0.95
# How far mean key points may lie from the visible ones on average, fraction of the square's side: birds bend, but less.
_MOST_ERROR = 0.15


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
      lines: to print.
      problems: what is wrong; empty if all is well.
      sheet: the contact sheet.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    sheet: UInt8[np.ndarray, "h w 3"] | None


def check_download(collection: Collection, *, num_samples: int = NUM_SAMPLES, read_all: bool = False) -> Report:
    """Count all objects, look for the files of all, read an even choice of them, and draw these.

    Args:
      collection: from ``read_dataset`` or ``prepared_collection``.
      num_samples: how many objects to draw.
      read_all: read the others, too.

    Returns:
      The report; problems in it, not raised.
    """
    sound, unsound = check_collection(collection)
    problems = [*collection.problems, *unsound]
    lines = [f"note: {note}" for note in collection.notices] + _count(collection, problems)
    lines.append(_look_for_files(collection.records, problems))
    chosen = set(np.linspace(0, len(sound) - 1, num_samples).round().astype(int).tolist())
    mean = collection.settings.get("mean_keypoints")
    mean = None if mean is None else np.array(mean, np.float32)
    tiles, asked = {}, 0
    for number, item in enumerate(sound):
        if not read_all and number not in chosen:
            continue
        asked += 1
        record = _read(item, len(collection.keypoint_names), problems)
        if record is not None:
            tiles[item.object_id] = draw_tile(record, collection.camera, mean) if number in chosen else None
    lines.append(f"{len(tiles)} of {asked} {'' if read_all else 'sampled '}objects read well")
    tiles = {name: tile for name, tile in tiles.items() if tile is not None}
    lines += _agreement(tiles, problems)
    return Report(tuple(lines), tuple(problems), join_tiles(list(tiles.values())) if tiles else None)


def prepared_collection(root: str | Path) -> Collection:
    """A folder that was prepared, listed as a download is; ``mean_keypoints`` and the like under its settings.

    Raises:
      ValueError: no such folder; the message says how to make one.
    """
    root = Path(root)
    index = load_index(root)
    records = [
        LazyRecord(name, split, partial(load_object, root, name), files=_object_files(root, name))
        for split, names in index.get("splits", {}).items()
        for name in names
    ]
    skipped = index.get("skipped", [])
    skipped = skipped if isinstance(skipped, list) else []
    return Collection(
        category=index.get("category", ""),
        camera=index.get("camera", "perspective"),
        records=tuple(records),
        keypoint_names=tuple(index.get("keypoint_names", ())),
        notices=(f"{len(skipped)} objects were left out when it was prepared.",) if skipped else (),
        settings=index,
    )


def _object_files(root: Path, name: str) -> tuple[Path, ...]:
    """None for a name that leads elsewhere: reading it says so."""
    try:
        return (object_path(root, name),)
    except ValueError:
        return ()


def save_report(report: Report, folder: str | Path) -> Path | None:
    """Write the contact sheet, if there is one, and tell where."""
    if report.sheet is None:
        return None
    path = Path(folder) / SHEET_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(report.sheet).save(partial, format="PNG")
    return path


def _read(item: LazyRecord, num_keypoints: int, problems: list[str]) -> ObjectRecord | None:
    try:
        return item.read(num_keypoints)
    except ValueError as error:
        problems.append(f"{item.object_id}: {error}")
        return None


def _count(collection: Collection, problems: list[str]) -> list[str]:
    """One line for each split, for each class where there are several, and for what the source counts besides."""
    found, lines = Counter(item.split for item in collection.records), []
    for split in SPLITS:
        expected = collection.expected.get(split)
        lines.append(f"{split}: {found[split]} objects" + (f" of {expected}" if expected is not None else ""))
        if expected is not None and found[split] != expected:
            problems.append(f"{split}: {found[split]} objects, published are {expected}.")
    if not sum(found.values()):
        problems.append("There is no object.")
    classes = Counter((item.provenance.get("class"), item.split) for item in collection.records)
    for name in dict.fromkeys(name for name, _ in classes if name):
        lines.append(f"class {name}: " + ", ".join(f"{split} {classes[name, split]}" for split in SPLITS))
        problems += [f"class {name}: its {split} split is empty." for split in SPLITS if not classes[name, split]]
    return lines + [_compare(count, problems) for count in collection.counts]


def _compare(count: Count, problems: list[str]) -> str:
    text = f"{count.name}: {count.found}, published are {count.expected}"
    if abs(count.found - count.expected) > count.tolerance:
        problems.append(f"{text}.")
    return text + (f" (give or take {count.tolerance})" if count.tolerance else "")


def _look_for_files(records: Iterable[LazyRecord], problems: list[str]) -> str:
    """Whether the files of all objects are there and not empty, without opening any."""
    files = dict.fromkeys(path for item in records for path in item.files)
    bad = [(path, state) for path in files if (state := _state(path))]
    problems += [f"{path}: {state}." for path, state in bad[:MAX_NAMED]]
    if len(bad) > MAX_NAMED:
        problems.append(f"{len(bad)} files are missing or empty; the first {MAX_NAMED} are named.")
    return f"{len(files) - len(bad)} of {len(files)} files are there"


def _state(path: Path) -> str:
    """What is wrong with a file, from its entry in the folder alone."""
    try:
        return "" if os.stat(path).st_size else "the file is empty"
    except OSError:
        return "no such file"


def _agreement(tiles: dict[str, Tile], problems: list[str]) -> list[str]:
    """How well shapes agree with masks, and mean key points with the visible ones."""
    shares = {name: tile.share for name, tile in tiles.items() if tile.share is not None}
    errors = [tile.error for tile in tiles.values() if tile.error is not None]
    lines = []
    if shares:
        mean, lowest = np.mean(list(shares.values())), min(shares.values())
        lines.append(f"shapes fall on their masks: {mean:.1%} of their points, at worst {lowest:.1%}")
        bad = {name: share for name, share in shares.items() if share < _LEAST_INSIDE}
        problems += [f"{name}: only {share:.0%} of the shape falls on the mask." for name, share in bad.items()]
    if errors:
        mean = f"{np.mean(errors):.1%} of the picture's side"
        lines.append(f"mean key points lie {mean} from the visible ones, at worst {max(errors):.1%}")
        if np.mean(errors) > _MOST_ERROR:
            problems.append(f"mean key points lie {mean} from the visible ones: cameras or axes are not understood.")
    return lines
