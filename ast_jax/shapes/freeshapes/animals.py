"""Animals on four legs, and birds: 0 A.D., FlightGear's scenery, Sweet Home 3D."""

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ast_jax.data.images import decode_picture, image_to_array
from ast_jax.files.names import safe_name
from ast_jax.shapes.freeshapes.common import (
    CC_BY_SA,
    FRONT_AT,
    GPL,
    SCENERY_FOLDER,
    Options,
    ac3d_object,
    always,
    open_scenery,
)
from ast_jax.shapes.freeshapes.furniture import furniture_object, open_furniture, read_catalogues
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.normalise import rotation_y, transformed
from ast_jax.shapes.packages import PackageTree, open_package
from ast_jax.shapes.pmd import read_pmd
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

ZEROAD_ARCHIVE = "usr/share/games/0ad/mods/public/public.zip"
ACTORS, VARIANTS, MESHES, SKINS = "art/actors/fauna/", "art/variants/", "art/meshes/", "art/textures/skins/"
ZEROAD_BIRDS = re.compile(r"(chicken|crow|hawk|peacock|seagull)\.dae")
# No legs, or a point that other models hang on.
NOT_FOUR_LEGS = re.compile(r"fish|shark|whale|tuna|dragon|circle|walrus")
# The bind pose looks to -z, but for these.
ZEROAD_FRONT_AT_PLUS_Z = re.compile(r"/(crow|hawk|seagull|sheep)\.dae")
# Where FlightGear's animals have the head.
SCENERY_ANIMALS = {"cow": "+x", "cow-grazing": "+x", "elephant": "-x", "horse": "-x", "sheep": "-x"}
SCENERY_BIRDS = {"Kestrel": "-x", "Seagull_Flying": "-x", "Swan": "+x"}
FURNITURE_ANIMALS = re.compile(r"/(horse2?|bulldog|cat|siameseCat|dog|rabbit)\.obj")
FURNITURE_BIRDS = re.compile(r"/chicken\.obj")
NOT_A_COAT = re.compile(r"_dead|null_white")


@dataclass
class Fauna:
    """One mesh of 0 A.D. with all coats that some animal of the game wears on it.

    Args:
      mesh: its path in the archive.
      coats: paths of the textures in the archive, in the order of the files that name them.
      cut_out: the alpha of the textures cuts faces out; elsewhere it has another meaning.
    """

    mesh: str
    coats: list[str] = field(default_factory=list)
    cut_out: bool = False


def list_animals(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """Animals on four legs; those of 0 A.D. in their first coat and in some others."""
    others = (ZEROAD_BIRDS, NOT_FOUR_LEGS)
    yield from _zeroad(source, options, cache, lambda name: not any(pattern.search(name) for pattern in others))
    yield from _others(source, options, cache, SCENERY_ANIMALS, FURNITURE_ANIMALS)


def list_birds(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """The few birds that there are: enough to check a model that was trained elsewhere."""
    yield from _zeroad(source, options, cache, ZEROAD_BIRDS.search)
    yield from _others(source, options, cache, SCENERY_BIRDS, FURNITURE_BIRDS)


def _others(source, options: Options, cache: Path | None, fronts: dict[str, str], models: re.Pattern):
    tree = open_scenery(("Fauna",), source, cache)
    for name, side in fronts.items():
        path = tree.root / SCENERY_FOLDER / "Fauna" / f"{name}.ac"
        if path.is_file():
            note = tree.provenance(path, "FlightGear contributors", GPL)
            yield ac3d_object(path, f"flightgear-{name}", note, always(side))
    tree = open_furniture(source, cache)
    for item in read_catalogues(tree):
        if item.category == "Characters" and models.search(item.model):
            yield furniture_object(tree, item, options)


def _zeroad(source, options: Options, cache: Path | None, wanted) -> Iterator[LazyMesh]:
    tree = open_package("0ad-data", source, prefixes=(ZEROAD_ARCHIVE,), cache=cache)
    archive = tree.root / ZEROAD_ARCHIVE
    rng = np.random.default_rng(options.seed)
    for fauna in read_fauna(archive):
        others = fauna.coats[1:]
        chosen = sorted(rng.permutation(len(others))[: options.liveries])
        if wanted(fauna.mesh):
            for coat in [fauna.coats[0], *(others[k] for k in chosen)]:
                yield _zeroad_object(tree, archive, fauna, coat)


def read_fauna(archive: Path) -> list[Fauna]:
    """All meshes that the animals of the game use, sorted by path.

    Raises:
      ValueError: no such archive, or a file in it that cannot be read; the message names it.
    """
    result: dict[str, Fauna] = {}
    try:
        with zipfile.ZipFile(archive) as file:
            names = set(file.namelist())
            for name in sorted(n for n in names if n.startswith(ACTORS) and n.endswith(".xml")):
                root = ElementTree.fromstring(file.read(name))
                coats = [path for path in _coats(file, names, root) if path in names]
                for element in root.iter("mesh"):
                    path = f"{MESHES}{element.text}.cached.pmd"
                    if path in names and coats:
                        fauna = result.setdefault(path, Fauna(path))
                        fauna.coats += [coat for coat in coats if coat not in fauna.coats]
                        fauna.cut_out |= (root.findtext("material") or "").startswith("basic_trans")
    except (OSError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise ValueError(f"{archive}: the animals of 0 A.D. cannot be read ({error}).") from error
    return [result[path] for path in sorted(result)]


def _coats(file: zipfile.ZipFile, names: set[str], root: ElementTree.Element, depth: int = 3) -> list[str]:
    """Textures of the variants of an actor, in order; a variant may stand in a file of its own."""
    coats = []
    for element in root.iter():
        if element.tag == "texture" and element.get("name") == "baseTex":
            coats.append(f"{SKINS}{element.get('file')}.cached.dds")
        elif element.tag == "variant" and element.get("file") and depth:
            path = VARIANTS + element.get("file")
            if path in names:
                coats += _coats(file, names, ElementTree.fromstring(file.read(path)), depth - 1)
    return [coat for coat in dict.fromkeys(coats) if not NOT_A_COAT.search(coat)]


def _zeroad_object(tree: PackageTree, archive: Path, fauna: Fauna, coat: str) -> LazyMesh:
    stem, skin = (PurePosixPath(path).name.split(".")[0] for path in (fauna.mesh, coat))
    name = safe_name(f"0ad-{stem}-{skin}")

    def load() -> SourceMesh:
        note = {**tree.provenance(archive, "Wildfire Games", CC_BY_SA), "model": fauna.mesh, "texture": coat}
        with zipfile.ZipFile(archive) as file:
            mesh = read_pmd(file.read(fauna.mesh), fauna.mesh)
            image = _read_texture(file.read(coat), coat)
        if not ZEROAD_FRONT_AT_PLUS_Z.search(fauna.mesh):
            mesh = transformed(mesh, rotation_y(FRONT_AT["-z"]))
        image = image if fauna.cut_out else image[..., :3]
        materials = (Material(WHITE, image),)
        return mesh.replace(object_id=name, group=f"0ad-{stem}", materials=materials, provenance=note)

    return LazyMesh(name, load)


def _read_texture(content: bytes, name: str) -> np.ndarray:
    return image_to_array(decode_picture(content, name))
