"""Furniture of Sweet Home 3D: catalogues (``.sh3f``, zip archives of OBJ models) with sizes and licences."""

import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from ast_jax.data.archives import safe_member
from ast_jax.data.meshes import load_mesh
from ast_jax.data.normalise import compact, transformed
from ast_jax.data.source_mesh import SourceMesh

CATALOGUE = "PluginFurnitureCatalog.properties"
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Furniture:
    """One line of a catalogue.

    Args:
      archive: the ``.sh3f`` file.
      model: path of the OBJ file inside it.
      size: width, height, depth along x, y, z in centimetres.
      rotation: of the model before it is scaled, row by row.
    """

    archive: Path
    name: str
    category: str
    model: str
    size: tuple[float, float, float]
    rotation: tuple[float, ...]
    creator: str
    licence: str


def read_catalogue(archive: Path) -> list[Furniture]:
    """All items of one catalogue whose model is an OBJ file.

    Raises:
      ValueError: not a catalogue; the message names the file.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            text = file.read(CATALOGUE).decode("latin-1")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive}: not a Sweet Home 3D furniture catalogue ({error}).") from error
    rows: dict[int, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)\s*=\s*(.*?)\s*$", text, re.MULTILINE):
        rows.setdefault(int(number), {})[key] = value
    general = re.search(r"^license\s*=\s*(.*?)\s*$", text, re.MULTILINE)
    licence = re.sub(r"\s+", " ", general[1]).strip() if general else ""
    items = [_furniture(archive, row, licence) for _, row in sorted(rows.items())]
    return [item for item in items if item.model.lower().endswith(".obj")]


def _furniture(archive: Path, row: dict[str, str], licence: str) -> Furniture:
    try:
        size = tuple(float(row[key]) for key in ("width", "height", "depth"))
        rotation = tuple(float(x) for x in row.get("modelRotation", "").split()) or IDENTITY
        name, category, model = row["name"], row["category"], row["model"].lstrip("/")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{archive}: an item of the catalogue has no good {error}.") from error
    return Furniture(
        archive, name, category, model, size, rotation, row.get("creator", ""), row.get("license", licence)
    )


def load_furniture(item: Furniture) -> SourceMesh:
    """The model in centimetres: unpacked aside, rotated, scaled to the catalogue's size; front towards +Z.

    Raises:
      ValueError: the model is missing or unreadable; the message names archive and model.
    """
    folder = PurePosixPath(item.model).parent.as_posix() + "/"
    with tempfile.TemporaryDirectory() as target, zipfile.ZipFile(item.archive) as file:
        members = [name for name in file.namelist() if name.startswith(folder)]
        for name in members:
            safe_member(item.archive, name)
            file.extract(name, target)
        try:
            mesh = load_mesh(Path(target) / item.model)
        except ValueError as error:
            raise ValueError(f"{item.archive}: {item.model}: {error}") from error
    matrix = np.array(item.rotation).reshape(3, 3)
    return scaled_to(compact(transformed(mesh, matrix)), np.array(item.size))


def scaled_to(mesh: SourceMesh, size: Float[np.ndarray, "3"]) -> SourceMesh:
    """Each axis stretched so that the bounding box has the given sides; a flat axis stays."""
    extent = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
    factor = np.where(extent > 0, size / np.where(extent > 0, extent, 1), 1)
    return mesh.replace(vertices=mesh.vertices * factor)
