"""What ``launch.prepare_data`` does: render meshes, convert published data sets, look a download over."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ast_jax.data.contact_sheet import FILE_NAME
from ast_jax.data.near_duplicates import check_fractions
from ast_jax.data.records import prepare_records
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.check import check_download, prepared_collection, save_report
from ast_jax.shapes.freeshapes import Options, list_objects
from ast_jax.shapes.meshes import left_out, scan_folder
from ast_jax.shapes.prepare import PictureSettings, prepare_objects

RENDERED = ("freeshapes", "meshes")
_MAX_PROBLEMS = 50
_MAX_NOTICES = 50


def read_options(source: str | None, **options) -> ReadOptions:
    """Options of a reader.

    Raises:
      ValueError: no source is given.
    """
    if not source:
        raise ValueError("--source is not given: the download.")
    return ReadOptions(Path(source).expanduser(), **options)


def look_over(dataset: str, source: str | None, root: str | None, output: str, **options) -> int:
    """Print what a check finds, and write its contact sheet.

    Args:
      dataset: its name.
      source: the download.
      root: a folder that was prepared; looked over where no source is given, and of what we render ourselves.
      output: folder that gets the contact sheet.
      **options: as for ``ReadOptions``.

    Returns:
      0, or 1 where there is a problem.

    Raises:
      ValueError: there is nothing to look over; the message says what to give.
    """
    if dataset in RENDERED and not root:
        raise ValueError(f"--check --dataset={dataset} looks over a folder that was prepared: give it as --root.")
    folder = Path(root or "").expanduser()
    if dataset in RENDERED or (root and not source and (folder / "dataset.json").is_file()):
        report = check_download(prepared_collection(folder), read_all=True)
    else:
        report = check_download(read_dataset(dataset, replace(read_options(source or root, **options), checking=True)))
    sheet = save_report(report, output)
    print(*report.lines, *(f"PROBLEM {problem}" for problem in report.problems[:_MAX_PROBLEMS]), sep="\n")
    print(f"{len(report.problems)} problems; look at {sheet}" if sheet else f"{len(report.problems)} problems")
    return 1 if report.problems else 0


def convert(dataset: str, source: str | None, root: str, *, on_error: str, **options) -> dict:
    """A published data set in our format; as ``prepare_records``, with a bar."""
    collection = read_dataset(dataset, read_options(source, **options))
    return prepare_records(collection, root, on_error=on_error, progress=True)


def render(
    dataset: str,
    source: str | None,
    root: str,
    pictures: PictureSettings,
    *,
    category: str,
    split: Sequence[str],
    freeshapes: Options,
    on_error: str,
) -> dict:
    """Meshes in our format; as ``prepare_objects``, with a bar.

    Args:
      dataset: one of ``RENDERED``.
      source: of the meshes; FreeShapes fetches its own where there is none.
      root: folder of the data set.
      pictures: how they are made.
      category: of FreeShapes; of other meshes any name.
      split: fractions of train, val and test.
      freeshapes: what is made of its meshes.
      on_error: see ``prepare_objects``.

    Raises:
      ValueError: no source where one is needed; as ``prepare_objects``.
    """
    category, notices = category or "mesh", []
    try:
        fractions = tuple(map(float, split))
    except ValueError as error:
        raise ValueError(f"--split={','.join(split)}: three numbers are needed.") from error
    check_fractions(fractions)
    if dataset == "meshes":
        folder = read_options(source).source
        objects, notices = scan_folder(folder), left_out(folder)
    else:
        objects = list_objects(category, source, options=freeshapes)
    return prepare_objects(
        objects, root, pictures,
        category=category, split_fractions=fractions, on_error=on_error, notices=notices, progress=True,
    )  # fmt: skip


def print_index(index: dict, root: str) -> None:
    """What was made, and what was not."""
    sizes = {name: len(ids) for name, ids in index["splits"].items()}
    parts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    print(f"{sum(sizes.values())} objects in {root}: {parts}")
    notices = index.get("notices", [])
    if notices:
        print("\n  ".join([f"{len(notices)} notices", *notices[:_MAX_NOTICES]]))
    if len(notices) > _MAX_NOTICES:
        print(f"  .. and {len(notices) - _MAX_NOTICES} more in {Path(root) / 'dataset.json'}")
    print("\n  ".join([f"{len(index['skipped'])} skipped", *index["skipped"]]))
    print(f"look at {Path(root) / FILE_NAME}")
