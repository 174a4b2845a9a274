"""What the published ShapeNet trees share: the 13 classes, lists of models, turning a world, choosing points."""

import zlib
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ast_jax.data.records import LazyRecord
from ast_jax.data.store import SPLITS, ObjectRecord
from ast_jax.files.archives import read_lines
from ast_jax.files.inside import inside
from ast_jax.near_match import hint
from render import PerspectiveCamera

# WordNet ids and the names that papers use; the first one is ours.
CLASSES = {
    "02691156": ("airplane", "aeroplane", "plane", "aircraft"),
    "02828884": ("bench",),
    "02933112": ("cabinet", "dresser"),
    "02958343": ("car", "auto", "automobile"),
    "03001627": ("chair",),
    "03211117": ("display", "monitor", "screen"),
    "03636649": ("lamp",),
    "03691459": ("loudspeaker", "speaker"),
    "04090263": ("rifle", "gun"),
    "04256520": ("sofa", "couch"),
    "04379243": ("table",),
    "04401088": ("telephone", "phone", "cellphone"),
    "04530566": ("watercraft", "vessel", "boat", "ship"),
}
ALL = "all"
# Points kept of the 100,000 of each object; variant "full" keeps all.
NUM_POINTS = 10_000
VARIANTS = ("", "full")


def class_id(category: str) -> str:
    """The WordNet id of a class, from its id or any of its names.

    Raises:
      ValueError: none of the 13; the message names the nearest and lists all.
    """
    wanted = category.strip().lower()
    for identifier, names in CLASSES.items():
        if wanted == identifier or wanted in names:
            return identifier
    known = [name for names in CLASSES.values() for name in names]
    listed = ", ".join(f"{names[0]} ({identifier})" for identifier, names in CLASSES.items())
    raise ValueError(f"category={category!r}: there are {listed}, and {ALL}{hint(wanted, [*known, *CLASSES])}")


def class_name(identifier: str) -> str:
    """Our name of a class, from its WordNet id."""
    return CLASSES[identifier][0]


def choose_classes(category: str, present: Container[str], source: Path) -> tuple[list[str], tuple[str, ...]]:
    """Which classes to read.

    Args:
      category: a name or id, ``all``, or empty where the source holds only one class.
      present: ids of the classes that the source holds.
      source: for the messages.

    Returns:
      Ids in the order of ``CLASSES``, and which of ``all`` are not there, in words.

    Raises:
      ValueError: unknown, not there, or empty where there are several.
    """
    found = [identifier for identifier in CLASSES if identifier in present]
    if not found:
        raise ValueError(f"{source}: none of the 13 classes of ShapeNet is there; see docs/data.md for the layout.")
    if category.strip().lower() == ALL:
        missing = [identifier for identifier in CLASSES if identifier not in found]
        return found, tuple(f"{source}: class {class_name(x)} ({x}) is not there." for x in missing)
    listed = ", ".join(class_name(identifier) for identifier in found)
    if not category:
        if len(found) > 1:
            raise ValueError(f"{source}: holds {listed}; choose one with --category, or --category={ALL}.")
        return found, ()
    identifier = class_id(category)
    if identifier not in found:
        raise ValueError(f"{source}: {class_name(identifier)} ({identifier}) is not there; it holds {listed}.")
    return [identifier], ()


def category_name(category: str, classes: list[str]) -> str:
    """What the index calls the objects."""
    return ALL if category.strip().lower() == ALL else class_name(classes[0])


def find_tree(source: Path, names: tuple[str, ...]) -> Path:
    """The folder that holds the folders of classes: the source, or one of these names in it."""
    for root in (source, *(source / name for name in names)):
        if any((root / identifier).is_dir() for identifier in CLASSES):
            return root
    raise ValueError(f"{source}: no folder of a ShapeNet class such as 02691156 there, nor in {', '.join(names)}.")


def tree_records(
    root: Path,
    classes: list[str],
    list_names: tuple[str, ...],
    load: Callable[[Path, str], ObjectRecord],
    files: tuple[str, ...],
) -> tuple[tuple[LazyRecord, ...], tuple[str, ...]]:
    """The models that the lists of a tree name: ``{class}/{list}`` holds one model id per line.

    Args:
      root: holds the folders of classes.
      classes: their ids.
      list_names: of the lists, with ``{split}`` in them; the first one that is there counts.
      load: reads a model from its folder; its second argument is the object id.
      files: of every model, relative to its folder.

    Returns:
      Records, and what is missing, in words.

    Raises:
      ValueError: no list at all.
    """
    records, problems = [], []
    for identifier in classes:
        for split in SPLITS:
            paths = [root / identifier / name.format(split=split) for name in list_names]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                problems.append(f"{paths[0]}: no such list; the {split} split of {class_name(identifier)} is empty.")
                continue
            for model in read_lines(path):
                try:
                    object_id, folder = f"{identifier}_{model}", inside(root / identifier, model)
                except ValueError as error:
                    problems.append(f"{path}: {error}")
                    continue
                provenance, needed = {"class": identifier, "model": model}, tuple(folder / name for name in files)
                lazy = LazyRecord(object_id, split, partial(load, folder, object_id), provenance, needed)
                records.append(lazy)
    if not records:
        raise ValueError(f"{root}: no model is listed. {' '.join(problems[:3])}")
    return tuple(records), tuple(problems)


def picture_names(root: Path, classes: list[str], folders: tuple[str, ...]) -> tuple[str, ...]:
    """What the folders of pictures hold in the first model that has them, relative to the model: all are alike."""
    for identifier in classes:
        for model in sorted((root / identifier).iterdir()):
            found = [path for name in folders for path in sorted((model / name).glob("*.*"))]
            if found:
                return tuple(str(path.relative_to(model)) for path in found)
    return ()


def camera_fields(camera: PerspectiveCamera, turn: Float[np.ndarray, "3 3"]) -> dict[str, np.ndarray]:
    """Fields of a record: the cameras of a world that is turned, ``x_new = turn x_old``.

    Args:
      camera: of the old world.
      turn: orthogonal; a reflection undoes one that the cameras have.
    """
    rotation = np.asarray(camera.rotation, np.float64) @ turn.T
    return {
        "rotation": rotation.astype(np.float32),
        "translation": np.asarray(camera.translation, np.float32),
        "focal": np.asarray(camera.focal, np.float32),
        "principal": np.asarray(camera.principal, np.float32),
    }


def unmirror(camera: PerspectiveCamera) -> Float[np.ndarray, "3 3"]:
    """z negated where the cameras mirror, so that their world becomes right-handed; else the identity."""
    mirrored = np.linalg.det(np.asarray(camera.rotation, np.float64)[0]) < 0
    return np.diag([1.0, 1.0, -1.0 if mirrored else 1.0])


def turned(vectors: np.ndarray, turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "m 3"]:
    """Points or normals of a world that is turned, float32."""
    return (np.asarray(vectors, np.float64) @ turn.T).astype(np.float32)


def choose_points(count: int, object_id: str, seed: int, variant: str) -> Int[np.ndarray, " m"]:
    """Which of an object's points are kept: ``NUM_POINTS`` drawn at random, in their order; all for "full".

    Raises:
      ValueError: unknown variant.
    """
    check_variant(variant)
    if variant == "full" or count <= NUM_POINTS:
        return np.arange(count)
    rng = np.random.default_rng([seed, zlib.crc32(object_id.encode())])
    return np.sort(rng.choice(count, NUM_POINTS, replace=False))


def check_variant(variant: str) -> None:
    """Raises a ValueError for a variant that these trees do not have."""
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r}: leave it empty ({NUM_POINTS} points per object) or choose 'full'.")
