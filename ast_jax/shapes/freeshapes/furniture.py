"""Furniture of Sweet Home 3D by category."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ast_jax.files.names import safe_name
from ast_jax.shapes.freeshapes.common import Options
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.normalise import colour_grey_materials
from ast_jax.shapes.packages import PackageTree, open_package
from ast_jax.shapes.source_mesh import SourceMesh
from ast_jax.shapes.sweethome import Furniture, load_furniture, read_catalogue

FURNITURE_FOLDER = "usr/share/sweethome3d/furniture"
# Which names of the catalogues belong to a category, and which of these are something else after all.
FURNITURE_NAMES = {
    "bed": (r"\bbed\b|\bcrib\b|^futon$", r"bedside"),
    "cabinet": (
        r"cabinet|wardrobe|cupboard|bookcase|shelves|dresser|vanity|^tv stand$|fridge|refrigerator|^chest|^safe$",
        r"corner|upper",
    ),
    "chair": (r"chair|\bstool\b|\bseat\b", r"ottoman|sitting"),
    "sofa": (r"sofa|couch", r"opened"),
    "table": (
        r"\btable\b|\bdesk\b|\btable with|\btable on",
        r"lamp|fan|bat\b|chair|bedside|dressing|changing|girl",
    ),
}


def furniture_lister(category: str) -> Callable:
    """What lists one of ``FURNITURE_NAMES``."""

    def list_category(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
        wanted, unwanted = (re.compile(p, re.IGNORECASE) for p in FURNITURE_NAMES[category])
        tree = open_furniture(source, cache)
        for item in read_catalogues(tree):
            if item.category != "Vehicles" and wanted.search(item.name) and not unwanted.search(item.name):
                yield furniture_object(tree, item, options)

    return list_category


def open_furniture(source: str | Path | None, cache: Path | None) -> PackageTree:
    """The package of the catalogues."""
    return open_package("sweethome3d-furniture", source, prefixes=(FURNITURE_FOLDER,), cache=cache)


def read_catalogues(tree: PackageTree) -> list[Furniture]:
    """All items of all catalogues.

    Raises:
      ValueError: the package has none.
    """
    archives = sorted((tree.root / FURNITURE_FOLDER).glob("*.sh3f"))
    if not archives:
        raise ValueError(f"{tree.root / FURNITURE_FOLDER}: no .sh3f catalogue there.")
    return [item for archive in archives for item in read_catalogue(archive)]


def furniture_object(tree: PackageTree, item: Furniture, options: Options) -> LazyMesh:
    """One item of a catalogue as an object."""
    name = safe_name(f"{item.archive.stem}-{PurePosixPath(item.model).stem}")

    def load() -> SourceMesh:
        note = {
            **tree.provenance(item.archive, item.creator, item.licence),
            "model": item.model,
            "name": item.name,
        }
        mesh = load_furniture(item).replace(object_id=name, provenance=note)
        return colour_grey_materials(mesh, options.seed) if options.colour_grey else mesh

    return LazyMesh(name, load)
