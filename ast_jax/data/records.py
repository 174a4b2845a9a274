"""From a published data set to the one format on disk: each object is read when it is written, bad ones are named."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ast_jax.data.contact_sheet import save_contact_sheet
from ast_jax.data.record_check import check_arrays
from ast_jax.data.store import (
    CAMERAS,
    SPLITS,
    ObjectRecord,
    load_index,
    load_object,
    object_path,
    save_index,
    save_object,
)
from ast_jax.files.writing import remove_leftovers, write_text

MANIFEST = "manifest.jsonl"
SETTINGS = "settings.json"
# Letters and digits of every script, and what can stand in the name of a file on every system.
_SAFE_ID = re.compile(r"[^\W_][^\s\\/:*?\"<>|\x00-\x1f\x7f\ud800-\udfff]*")
# Bytes: what a file system takes, less the endings of files.
MAX_ID = 200


@dataclass(frozen=True)
class LazyRecord:
    """One object of a source, read when it is needed.

    Args:
      object_id: unique; letters, digits and ``. _ + -``, for it names a file.
      split: ``train``, ``val`` or ``test``.
      load: reads it; raises a ValueError that names the file where that is missing or broken.
      provenance: goes into the manifest: where the object comes from.
      files: that it is read from, as far as they are known without reading; a check looks whether they are there.
      notices: filled by ``load``: what of the files was left out or guessed; goes into ``dataset.json``.
    """

    object_id: str
    split: str
    load: Callable[[], ObjectRecord]
    provenance: dict = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notices: list[str] = field(default_factory=list)

    def read(self, num_keypoints: int | None = None) -> ObjectRecord:
        """Load and check it.

        Args:
          num_keypoints: see `check_record`.

        Raises:
          ValueError: whatever is wrong with it, files that ask for more memory than there is included.
        """
        try:
            with np.errstate(all="ignore"):  # what overflows is not finite afterwards, and that is looked at
                record = self.load()
                check_record(record, num_keypoints)
        except ValueError:
            raise
        except Exception as error:  # one bad object stops no other, whatever its reader did not think of
            where = f"{self.files[0]}: " if self.files else ""
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ValueError(f"{where}cannot be read ({reason}).") from error
        return record


@dataclass(frozen=True)
class Count:
    """How many there are of something, and how many were published.

    Args:
      name: of what.
      found: that are there.
      expected: that were published.
      tolerance: a difference that does not matter.
    """

    name: str
    found: int
    expected: int
    tolerance: int = 0


@dataclass(frozen=True)
class Collection:
    """A data set as its source lists it.

    Args:
      category: what the objects are.
      camera: one of ``store.CAMERAS``.
      records: in the order of the source.
      keypoint_names: ``left`` and ``right`` in a name tell which key points swap in the mirror.
      expected: number of objects of each split as published, where that is known.
      problems: what is wrong with the source: files that are missing or broken, by name, and what they cost.
      notices: what is left out by design.
      counts: further ones, that a check compares.
      settings: further facts for ``dataset.json``, such as the padding of the boxes.
    """

    category: str
    camera: str
    records: tuple[LazyRecord, ...]
    keypoint_names: tuple[str, ...] = ()
    expected: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    settings: dict = field(default_factory=dict)


def prepare_records(
    collection: Collection, root: str | Path, *, on_error: str = "skip", progress: bool = False
) -> dict:
    """Write ``dataset.json``, ``objects/``, ``manifest.jsonl`` and ``contact.png``.

    Objects that are already there are not read again. The same source gives the same bytes.

    Args:
      collection: what to write.
      root: folder of the data set.
      on_error: ``skip`` leaves a bad object out and names it under ``skipped``, ``raise`` stops there.
      progress: show a bar.

    Returns:
      The index as written to ``dataset.json``.

    Raises:
      ValueError: settings other than those of the objects there, a bad object or two of one name with
        ``on_error="raise"``, or no good object at all.
      OSError: an object cannot be written.
    """
    if on_error not in ("skip", "raise"):
        raise ValueError(f"on_error={on_error!r}: choose 'skip' or 'raise'.")
    records, unsound = check_collection(collection)
    root = Path(root)
    facts = {"category": collection.category, "camera": collection.camera, **collection.settings}
    claim_folder(root, facts)
    skipped, lines = [*collection.problems, *unsound], []
    if skipped and on_error == "raise":
        raise ValueError(skipped[0])
    for item in tqdm(records, desc=f"prepare {collection.category}", disable=not progress):
        try:
            _write_once(root, item, len(collection.keypoint_names))
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(f"{item.object_id}: {error}") from error
            skipped.append(f"{item.object_id}: {error}")
            continue
        lines.append({"object_id": item.object_id, "split": item.split, **item.provenance})
    if not lines:
        reason = " ".join(skipped[:3]) or "The source lists none."
        raise ValueError(f"{root}: no object could be prepared. {reason}")
    write_text(root / MANIFEST, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    splits = {name: [line["object_id"] for line in lines if line["split"] == name] for name in SPLITS}
    index = {**facts, "keypoint_names": list(collection.keypoint_names), "splits": splits, "skipped": skipped}
    notices = _notices(collection, root)
    if notices:
        index["notices"] = notices
    save_index(root, index)
    save_contact_sheet(root, [line["object_id"] for line in lines])
    return index


def _notices(collection: Collection, root: Path) -> list[str]:
    """Those of the source and of the objects; of objects that were there already, those of the index before."""
    earlier = load_index(root).get("notices", []) if (root / "dataset.json").is_file() else []
    new = [f"{item.object_id}: {notice}" for item in collection.records for notice in item.notices]
    read = {item.object_id for item in collection.records if item.notices}
    ids = {item.object_id for item in collection.records} - read
    kept = [note for note in earlier if note.partition(": ")[0] in ids]
    return [*collection.notices, *kept, *new]


def check_collection(collection: Collection) -> tuple[list[LazyRecord], list[str]]:
    """The records whose names and splits are those of the format, and what is wrong with the others, in words.

    Raises:
      ValueError: there is no such kind of camera.
    """
    if collection.camera not in CAMERAS:
        raise ValueError(f"camera={collection.camera!r}: choose one of {', '.join(CAMERAS)}.")
    seen: set[str] = set()
    sound, problems = [], []
    for item in collection.records:
        if item.object_id in seen:
            problems.append(f"object_id={item.object_id!r} comes twice; every object needs its own.")
        elif not _SAFE_ID.fullmatch(item.object_id) or len(item.object_id.encode()) > MAX_ID:
            problems.append(
                f"object_id={item.object_id[:200]!r}: no name of a file; use letters and digits of any script, . _ + -."
            )
        elif item.split not in SPLITS:
            problems.append(f"{item.object_id}: split={item.split!r}, choose one of {', '.join(SPLITS)}.")
        else:
            seen.add(item.object_id)
            sound.append(item)
    return sound, problems


def check_record(record: ObjectRecord, num_keypoints: int | None = None) -> None:
    """Raises a ValueError where the arrays of a record are none, do not fit together, or show no key point.

    Args:
      record: what a loader made.
      num_keypoints: how many the collection names, or None; where it names some, one has to be visible in some view.
    """
    arrays = {f.name: getattr(record, f.name) for f in fields(record)}
    check_arrays({name: array for name, array in arrays.items() if array is not None})
    if num_keypoints is not None and record.keypoints_ndc.shape[1] != num_keypoints:
        raise ValueError(f"keypoints are {record.keypoints_ndc.shape}, expected {num_keypoints} in each view.")
    if num_keypoints and not (record.keypoints_ndc[..., 2] > 0.5).any():
        raise ValueError("none of its key points is visible.")


def claim_folder(root: Path, wanted: dict) -> None:
    """Leave the settings in a fresh folder; refuse one that was begun with others. What a killed process left goes."""
    remove_leftovers(root)
    path = root / SETTINGS
    wanted = json.loads(json.dumps(wanted))
    if path.is_file():
        try:
            found = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: not whole ({error}); remove it, and start as before.") from error
        differing = [f"{k}={found.get(k)}" for k in wanted if wanted[k] != found.get(k)]
        if differing:
            raise ValueError(f"{root}: was begun with {', '.join(differing)}; choose another folder or delete it.")
        return
    root.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=1) + "\n")


def _write_once(root: Path, item: LazyRecord, num_keypoints: int) -> None:
    """Read and save one object, unless it is there already and readable."""
    if object_path(root, item.object_id).is_file():
        try:
            load_object(root, item.object_id)
            return
        except ValueError:
            pass  # cut short by a crash; read it again
    save_object(root, item.object_id, item.read(num_keypoints or None))
