"""Several prepared data sets as one, for a model of many categories.

``{name}/dataset.json``, ``{name}/objects/`` for each of them, in one folder. Objects keep their split, so what one data
set holds out stays held out, and get the name of their folder in front: ``chair_armchair``.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from ast_jax.data.records import MANIFEST, Collection, LazyRecord
from ast_jax.data.store import ObjectRecord, load_object
from ast_jax.datasets import ReadOptions
from ast_jax.datasets.check import prepared_collection

# What all of them have to agree in, for one model and one batch see all of their pictures.
_COMMON = ("image_size", "fov_deg", "distance")


def read(options: ReadOptions) -> Collection:
    """List the objects of all data sets in a folder.

    Args:
      options: ``source`` is the folder that holds their folders; ``category`` names the whole, by default as the folder
        is named.

    Returns:
      Their objects. Key points are kept where all data sets have the same ones.

    Raises:
      ValueError: there is no data set in the folder, or they do not fit together; the message says which and why.
    """
    roots = sorted(path.parent for path in options.source.glob("*/dataset.json"))
    if not roots:
        raise ValueError(f"{options.source}: holds no folders with a dataset.json; prepare data sets there first.")
    parts = [prepared_collection(root) for root in roots]
    first = parts[0]
    for root, part in zip(roots, parts):
        if part.camera != first.camera:
            raise ValueError(f"{root}: camera is {part.camera}, that of {roots[0]} {first.camera}; they do not mix.")
        for name in _COMMON:
            one, other = (of.settings.get(name) for of in (first, part))
            if one != other:
                raise ValueError(f"{root}: {name} is {other}, that of {roots[0]} {one}; prepare them alike.")
    names = {part.keypoint_names for part in parts}
    keypoints = first.keypoint_names if len(names) == 1 else ()
    notices = [] if len(names) == 1 else ["the data sets have different key points, so none are kept."]
    notices += [f"{root.name}: {notice}" for root, part in zip(roots, parts) for notice in part.notices]
    notices += [f"{root.name}_{line}" for root, part in zip(roots, parts) for line in part.settings.get("notices", [])]
    records = [item for root, part in zip(roots, parts) for item in _records(root, part, bool(keypoints))]
    common = {name: first.settings[name] for name in _COMMON if name in first.settings}
    category = options.category or options.source.resolve().name
    return Collection(category, first.camera, tuple(records), keypoints, notices=tuple(notices), settings=common)


def _records(root: Path, part: Collection, has_keypoints: bool) -> list[LazyRecord]:
    origins = _origins(root)
    return [
        LazyRecord(
            f"{root.name}_{item.object_id}",
            item.split,
            partial(_load, root, item.object_id, has_keypoints),
            provenance=origins.get(item.object_id, {}),
            files=item.files,
        )
        for item in part.records
    ]


def _load(root: Path, object_id: str, has_keypoints: bool) -> ObjectRecord:
    record = load_object(root, object_id)
    return record if has_keypoints else replace(record, keypoints_ndc=record.keypoints_ndc[:, :0])


def _origins(root: Path) -> dict[str, dict]:
    """Where each object comes from, by its name; the licence travels with it."""
    path = root / MANIFEST
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        origins = {line["object_id"]: line for line in lines}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: not whole ({error}); prepare {root} again.") from error
    left = ("object_id", "split")
    return {name: {key: line[key] for key in line if key not in left} for name, line in origins.items()}
