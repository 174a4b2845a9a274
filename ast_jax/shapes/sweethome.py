"""Furniture of Sweet Home 3D: catalogues (``.sh3f``, zip archives of OBJ models) with sizes and licences."""

import os
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from ast_jax.files.archives import named, safe_member, unpack_zip
from ast_jax.files.inside import inside
from ast_jax.files.limits import check_zip
from ast_jax.shapes.meshes import load_mesh
from ast_jax.shapes.normalise import compact, transformed
from ast_jax.shapes.source_mesh import SourceMesh

CATALOGUE = "PluginFurnitureCatalog.properties"
_NUMBER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Furniture:
    """One line of a catalogue.

    Args:
      archive: the ``.sh3f`` file.
      model: path of the OBJ file inside it.
      size: width, height, depth along x, y, z in centimetres, as the catalogue writes them.
      rotation: of the model before it is scaled, row by row, as the catalogue writes it; may be empty.
    """

    archive: Path
    name: str
    category: str
    model: str
    size: tuple[str, ...]
    rotation: str
    creator: str
    licence: str


def read_catalogue(archive: Path) -> list[Furniture]:
    """All items of one catalogue whose model is an OBJ file.

    Raises:
      ValueError: not a catalogue; the message names the file.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            info = file.getinfo(CATALOGUE)
            check_zip(archive, [info], os.path.getsize(archive))
            text = file.read(info).decode("latin-1")
    except Exception as error:  # flipped bytes can raise anything
        raise ValueError(f"{archive}: not a Sweet Home 3D furniture catalogue ({error}).") from error
    rows: dict[int, dict[str, str]] = {}
    licence = ""
    for line in text.splitlines():
        key, found, value = line.partition("=")
        key, _, number = key.strip().partition("#")
        if found and _NUMBER.fullmatch(number):
            rows.setdefault(int(number), {})[key] = value.strip()
        elif found and key == "license":
            licence = " ".join(value.split())
    items = [_furniture(archive, row, licence) for _, row in sorted(rows.items())]
    return [item for item in items if item.model.lower().endswith(".obj")]


def _furniture(archive: Path, row: dict[str, str], licence: str) -> Furniture:
    size = tuple(row.get(key, "") for key in ("width", "height", "depth"))
    name, category, model = (row.get(key, "") for key in ("name", "category", "model"))
    return Furniture(
        archive,
        name,
        category,
        model.lstrip("/"),
        size,
        row.get("modelRotation", ""),
        row.get("creator", ""),
        row.get("license", licence),
    )


def load_furniture(item: Furniture) -> SourceMesh:
    """The model in centimetres: unpacked aside, rotated, scaled to the catalogue's size; front towards +Z.

    Raises:
      ValueError: the model is missing or unreadable, or its size or rotation is none; the message names archive and
        model.
    """
    where = f"{item.archive}: {item.model}"
    size = _numbers(item.size, 3, f"{where}: width, height, depth")
    matrix = _numbers(item.rotation.split(), 9, f"{where}: modelRotation") if item.rotation else np.eye(3).ravel()
    if not (size > 0).all():
        raise ValueError(f"{where}: width, height, depth are {', '.join(item.size)}.")
    folder = PurePosixPath(item.model).parent.as_posix() + "/"
    with tempfile.TemporaryDirectory() as target:
        with named(item.archive):
            path = inside(target, safe_member(item.archive, item.model))
            unpack_zip(item.archive, Path(target), lambda name: folder == "./" or name.startswith(folder))
        try:
            mesh = load_mesh(path)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return scaled_to(compact(transformed(mesh, matrix.reshape(3, 3))), size)


def _numbers(words: Sequence[str], count: int, what: str) -> Float[np.ndarray, " count"]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(f"{what}: {error}.") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{what}: expected {count} numbers.")
    return numbers


def scaled_to(mesh: SourceMesh, size: Float[np.ndarray, "3"]) -> SourceMesh:
    """Each axis stretched so that the bounding box has the given sides; a flat axis stays."""
    extent = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
    factor = np.where(extent > 0, size / np.where(extent > 0, extent, 1), 1)
    return mesh.replace(vertices=mesh.vertices * factor)
