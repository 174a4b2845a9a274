"""Many photographs as a folder of meshes and pages; a bad one stops no other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import logging
from tqdm import tqdm

from ast_jax.datasets.photo_list import list_photos
from ast_jax.export import MESH_FORMATS, Gallery, ObjectRow, Table, Text, encode_png, report_page
from ast_jax.files.names import printable
from ast_jax.files.output_folder import OutputFolder, unique_names
from ast_jax.near_match import choose
from ast_jax.pretrained.saliency import DoubtfulMask
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.reconstruction.result import Reconstruction
from ast_jax.reconstruction.scene import encode_scene

# Of all files that one name may get.
_ENDINGS = (".gif", ".png", "-mask.png", "_camera.json", ".mtl", "_texture.png", *(f".{name}" for name in MESH_FORMATS))
_PAGE_SIZE = 50  # pictures on one page of the report: a browser shows that many meshes, and memory stays flat


def reconstruct_files(
    reconstructor: Reconstructor,
    images: Sequence[str],
    output: str | Path,
    *,
    masks: Sequence[str] = (),
    refine_steps: int = 0,
    formats: Sequence[str] = (),
    turntable: bool = False,
) -> list[str]:
    """Reconstruct every picture and write meshes, pictures and ``index.html``; a bad picture stops no other.

    Of every object ``NAME.glb``, ``NAME.png``, the overlay, and ``NAME_camera.json``. A picture of several objects
    gives ``NAME-1.glb`` and so on, and all of them together as ``NAME.glb``. Where a mask was found that is not to be
    trusted, ``NAME-mask.png`` is that mask, to be mended. Files that were not written by an earlier call stay as they
    are: a name that they have gets a number. Fifty objects share a page; the second page is ``index-2.html``.

    Args:
      reconstructor: a trained model.
      images: files of any size, or folders; see ``list_photos``.
      output: folder, made if it is missing.
      masks: none, or one file per picture; white is object.
      refine_steps: see ``Reconstructor.reconstruct``.
      formats: of ``MESH_FORMATS``, to write beside the GLB.
      turntable: write ``NAME.gif``, too.

    Returns:
      one line for every picture that could not be reconstructed.

    Raises:
      ValueError: masks are given, but not one per picture, there is no picture, or ``index.html`` is another's.
    """
    formats = check_formats(formats)
    folder = OutputFolder(output)
    photos, problems, notices = list_photos(images, masks, skip=folder.is_ours)
    folder.keep(path for photo in photos for path in photo if path is not None)
    names = unique_names([image for image, _ in photos], lambda name: _is_free(folder, name))
    report, taken = _Report(folder, len(photos)), set(names)
    for notice in notices:
        logging.info("%s", notice)
    for (image, mask), name in tqdm(list(zip(photos, names)), unit="picture", disable=len(photos) < 2):
        try:
            results = reconstructor.reconstruct_all(image, mask, name=name, refine_steps=refine_steps)
            results = _named(results, name, folder, taken)
            rows = [write_files(folder, result, formats=formats, turntable=turntable) for result in results]
            if len(results) > 1:
                folder.write(f"{name}.glb", encode_scene(results))
        except Exception as error:  # whatever is wrong with one picture, or with the memory that it takes
            problems.append(_one_line(image, error) + _shown(folder, name, error))
            continue
        for row, result in zip(rows, results):
            logging.info("%s: %s: overlap with the mask (%s) %.3f", image, row.name, result.found_by, result.mask_iou)
            report.add(row, result.notices)
        for notice in results[0].notices:
            logging.info("%s: %s", image, notice)
    report.finish([printable(line) for line in notices], problems)
    return problems


def check_files(
    images: Sequence[str], output: str | Path, *, masks: Sequence[str] = (), formats: Sequence[str] = ()
) -> None:
    """What can be known before a model is loaded; arguments as for :func:`reconstruct_files`.

    Raises:
      ValueError: a format is unknown, none of the pictures is there, or the results cannot be written.
    """
    check_formats(formats)
    photos, problems, _ = list_photos(images, masks)
    lost = [f"{path}: no such file." for photo in photos for path in photo if not (path is None or path.exists())]
    if not any(all(path is None or path.exists() for path in photo) for photo in photos):
        raise ValueError(" ".join(printable(line) for line in (*problems, *lost)))
    for line in lost:
        logging.warning("%s", printable(line))
    folder = OutputFolder(output)
    folder.check_writable()
    _Report(folder, len(photos))


def check_formats(formats: Sequence[str]) -> list[str]:
    """The formats; raises a ValueError with the near match where one is none of ``MESH_FORMATS``."""
    return [choose("format", value, MESH_FORMATS) for value in formats]


def write_files(
    folder: OutputFolder, result: Reconstruction, *, formats: Sequence[str] = (), turntable: bool = False
) -> ObjectRow:
    """Write one result, see :func:`reconstruct_files`; return the row of the report."""
    views = {"turntable": result.turntable()} if turntable else {}
    row = result.row(views)
    files = {f"{result.name}.glb": row.glb, f"{result.name}.png": encode_png(result.overlay())}
    files[f"{result.name}_camera.json"] = result.camera_json().encode()
    for suffix in formats:
        files |= result.encode(suffix)
    for name, content in files.items():
        folder.write(name, content)
    if turntable:
        folder.write(f"{result.name}.gif", views["turntable"])
    return row


def _is_free(folder: OutputFolder, name: str) -> bool:
    return all(folder.is_free(name + ending) for ending in _ENDINGS)


def _named(results: list[Reconstruction], name: str, folder: OutputFolder, taken: set[str]) -> list[Reconstruction]:
    """Numbered, if there are several; no name twice."""
    if len(results) == 1:
        return results
    wanted = [f"{name}-{index}.png" for index in range(1, len(results) + 1)]
    names = unique_names(wanted, lambda name: name not in taken and _is_free(folder, name))
    taken.update(names)
    return [replace(result, name=name) for result, name in zip(results, names)]


def _shown(folder: OutputFolder, name: str, error: Exception) -> str:
    """Writes a mask that is not to be trusted, and says where it is."""
    if not isinstance(error, DoubtfulMask):
        return ""
    file = f"{name}-mask.png"
    try:
        folder.write(file, encode_png(np.round(255 * error.mask).astype(np.uint8)))
    except (OSError, ValueError):
        return ""
    return printable(f" {folder.path / file} shows it.")


class _Report:
    """Pages of so many photographs; each is written when it is full, so memory stays flat.

    Raises:
      ValueError: a page would replace another's file.
    """

    def __init__(self, folder: OutputFolder, num_photos: int):
        self._folder, self._rows, self._notices, self._page = folder, [], [], 0
        for page in range(max(-(-num_photos // _PAGE_SIZE), 1)):
            if not folder.is_free(self._name(page)):
                raise ValueError(f"{folder.path / self._name(page)}: is not of this command; choose another --output.")

    def add(self, row: ObjectRow, notices: Sequence[str]) -> None:
        if len(self._rows) == _PAGE_SIZE:
            self._write([Text("", [f"More on {self._name(self._page + 1)}."])])
            self._rows, self._notices, self._page = [], [], self._page + 1
        self._rows.append(row)
        self._notices += [f"{row.name}: {notice}" for notice in notices]

    def finish(self, left_out: Sequence[str], problems: Sequence[str]) -> None:
        self._notices += left_out
        if self._rows:
            self._write([Text("Not reconstructed", problems)] if problems else [])
            print(f"wrote {printable(str(self._folder.path / self._name(0)))}")

    @staticmethod
    def _name(page: int) -> str:
        return f"index-{page + 1}.html" if page else "index.html"

    def _write(self, last: list[Text]) -> None:
        rows, sections = self._rows, [Gallery("", self._rows)]
        if len(rows) > 1:
            table = [[row.name, *row.metrics.values()] for row in rows]
            sections.append(Table("Numbers", ["picture", *rows[0].metrics], table))
        if self._notices:
            sections.append(Text("Noticed", self._notices))
        count = "1 object" if len(rows) == 1 else f"{len(rows)} objects"
        subtitle = f"Meshes of {count}, from one view each."
        page = report_page("Reconstructions", *sections, *last, subtitle=subtitle)
        self._folder.write(self._name(self._page), page.encode())


def _one_line(image: Path, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (ValueError, OSError)):
        text = f"{type(error).__name__}: {text}"
    return printable(text if str(image) in text else f"{image}: {text}")
