"""FreeShapes: categories of textured models out of Debian packages, in canonical axes, with their licences.

Nothing of it is shipped: the models are fetched from the distribution and prepared on the user's machine.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ast_jax.data.ac3d import load_ac3d
from ast_jax.data.meshes import LazyMesh, safe_name
from ast_jax.data.normalise import colour_grey_materials, compact, rotation_y, transformed
from ast_jax.data.packages import PackageTree, open_package
from ast_jax.data.source_mesh import SourceMesh
from ast_jax.data.sweethome import Furniture, load_furniture, read_catalogue

GPL = "GPL-2.0-or-later"
AIRCRAFT_FOLDER = "usr/share/games/flightgear/AI/Aircraft"
SCENERY_FOLDER = "usr/share/games/flightgear/Scenery/Models"
TORCS_FOLDER = "usr/share/games/torcs"
FURNITURE_FOLDER = "usr/share/sweethome3d/furniture"


@dataclass(frozen=True)
class Options:
    """What a category may be asked for.

    Args:
      liveries: further paint schemes per airframe, beside the default one.
      colour_grey: give grey and white materials without an image a random hue; None: furniture only.
      seed: chooses liveries and hues.
    """

    liveries: int = 2
    colour_grey: bool | None = None
    seed: int = 0


def list_objects(
    category: str,
    source: str | Path | None = None,
    *,
    options: Options | None = None,
    cache: Path | None = None,
) -> list[LazyMesh]:
    """The objects of one category, read only when asked for.

    Args:
      category: ``aircraft``, ``car``, ``chair``, ``sofa`` or ``table``.
      source: see ``open_package``; None fetches the packages with apt-get.
      options: see Options.

    Raises:
      ValueError: unknown category, or a package that cannot be had.
    """
    if category not in CATEGORIES:
        raise ValueError(f"category={category!r}: choose one of {', '.join(CATEGORIES)}.")
    options = options or Options()
    if options.colour_grey is None:
        options = replace(options, colour_grey=category in FURNITURE_NAMES)
    return list(CATEGORIES[category](source, options, cache))


# ---- aircraft

# Lamps, fuel tanks, wheels alone, balloons, a ferry, a hovercraft; copies whose texture the package lacks.
NOT_AN_AIRCRAFT = re.compile(
    r"light|flash|toggle|flare|exhaust|tank|wheels|banner|balloon|oon\.ac|OMSPods|SSME|bomb-5000|Ferry|Beacon|"
    r"Nav[LRB]|Strobe|/taxi|refuel|bluebird|/767\.ac|bae146-200\.2|SkymasterVH",
    re.IGNORECASE,
)
# Parts that are not solid: halos of lamps, turning propellers, flames, a brake parachute.
NOT_SOLID = re.compile(
    r"halo|glow|flare|flame|burner|shadow|prop.*(disc|disk|blur|fast)|^(disk|disc)|blur|contrail|^chute$",
    re.IGNORECASE,
)
# About +y, in degrees: FlightGear's noses point to -x, TORCS's to +x.
FRONT_FROM_MINUS_X = 90.0
FRONT_FROM_PLUS_X = -90.0


def list_aircraft(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """The aircraft of FlightGear's traffic, each in its default paint and in some liveries."""
    tree = open_package("flightgear-data-ai", source, prefixes=(AIRCRAFT_FOLDER,), cache=cache)
    folder = tree.root / AIRCRAFT_FOLDER
    paints = read_liveries(folder)
    rng = np.random.default_rng(options.seed)
    for path in sorted(folder.rglob("*.ac")):
        relative = path.relative_to(folder)
        if NOT_AN_AIRCRAFT.search(relative.as_posix()):
            continue
        textures = paints.get(path.resolve(), {})
        first = "Default" if "Default" in textures else min(textures, default=None)
        others = sorted(set(textures) - {first})
        chosen = sorted(rng.permutation(len(others))[: options.liveries])
        group = safe_name(f"{relative.parts[0]}_{path.stem}")
        author = _author(path, folder / relative.parts[0])
        for livery in [first, *(others[k] for k in chosen)]:
            name = f"{group}-{safe_name(livery)}" if livery else group
            note = {**tree.provenance(path, author, GPL), **({"livery": livery} if livery else {})}
            yield LazyMesh(name, _ac3d_loader(path, textures.get(livery), name, group, note, FRONT_FROM_MINUS_X))


def read_liveries(folder: Path) -> dict[Path, dict[str, Path]]:
    """Model file -> livery name -> folder of its textures, from the XML files of FlightGear's AI traffic."""
    result: dict[Path, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/*.xml")):
        text = _xml_value(path, "texture-path")
        model = _xml_value(path, "path")
        if not text or not model or not model.endswith(".ac"):
            continue
        textures, target = path.parent / text, (path.parent / model).resolve()
        if textures.is_dir() and any(textures.iterdir()):
            result.setdefault(target, {})[Path(text).name] = textures
    return result


def _xml_value(path: Path, tag: str, depth: int = 3) -> str | None:
    """A direct child of the root, else the same of the file that it includes."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    value = root.findtext(tag)
    if value is not None:
        return value.strip()
    include = root.get("include")
    return _xml_value(path.parent / include, tag, depth - 1) if include and depth else None


def _author(path: Path, folder: Path) -> str:
    """The author in the XML file that shows this model, as far as there is one."""
    for candidate in [*sorted(path.parent.glob("*.xml")), *sorted(folder.glob("*main*.xml"))]:
        model, author = _xml_value(candidate, "path"), _xml_value(candidate, "author")
        if model and author and Path(model).name == path.name:
            return author
    return "FlightGear contributors"


def _ac3d_loader(
    path: Path, textures: Path | None, name: str, group: str, note: dict, turn_deg: float | None
) -> Callable[[], SourceMesh]:
    def load() -> SourceMesh:
        folders = (textures,) if textures else ()
        mesh = load_ac3d(path, texture_folders=folders, keep_part=lambda part: not NOT_SOLID.search(part))
        angle = turn_deg if turn_deg is not None else _turn_of_car(mesh, name)
        return transformed(mesh, rotation_y(angle)).replace(object_id=name, group=group, provenance=note)

    return load


# ---- furniture

# Which names of the catalogues belong to a category, and which of these are something else after all.
FURNITURE_NAMES = {
    "chair": (r"chair|\bstool\b|\bseat\b", r"ottoman|sitting"),
    "sofa": (r"sofa|couch", r"opened"),
    "table": (
        r"\btable\b|\bdesk\b|\btable with|\btable on",
        r"lamp|fan|bat\b|chair|bedside|dressing|changing|girl",
    ),
}


def _list_furniture(category: str) -> Callable:
    def list_category(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
        wanted, unwanted = (re.compile(p, re.IGNORECASE) for p in FURNITURE_NAMES[category])
        tree = open_package("sweethome3d-furniture", source, prefixes=(FURNITURE_FOLDER,), cache=cache)
        for item in _catalogue(tree):
            if item.category != "Vehicles" and wanted.search(item.name) and not unwanted.search(item.name):
                yield _furniture_object(tree, item, options)

    return list_category


def _catalogue(tree: PackageTree) -> list[Furniture]:
    archives = sorted((tree.root / FURNITURE_FOLDER).glob("*.sh3f"))
    if not archives:
        raise ValueError(f"{tree.root / FURNITURE_FOLDER}: no .sh3f catalogue there.")
    return [item for archive in archives for item in read_catalogue(archive)]


def _furniture_object(tree: PackageTree, item: Furniture, options: Options) -> LazyMesh:
    name = safe_name(f"{item.archive.stem}-{Path(item.model).stem}")

    def load() -> SourceMesh:
        note = {
            **tree.provenance(item.archive, item.creator, item.licence),
            "model": item.model,
            "name": item.name,
        }
        mesh = load_furniture(item).replace(object_id=name, provenance=note)
        return colour_grey_materials(mesh, options.seed) if options.colour_grey else mesh

    return LazyMesh(name, load)


# ---- cars

# Cars, pick-ups and vans among FlightGear's scenery.
FLIGHTGEAR_CARS = re.compile(
    r"Transport/(VW|bmw|camaro|dodgeram|gr_(paramedic|policar)|hatchback|honda|hummer|it_policecar|mazda|minibus|"
    r"motorhome|pickup|tcamry|van|volvoxc|voyager|vwgolf)|Airport/Vehicle/(BFD_Sprinter|EDD[IT]-FollowMe|ELW_Sprinter|"
    r"RTW_Sprinter|airvehpickup|boxvan|fourgon|gr_van|hatchback|rover|traffic-ba|van-aegean)|Military/humvee-pickup"
)
FURNITURE_CARS = re.compile(
    r"fordFocus|concept-sedan|VW-new-beetle|seat_leon|peugeot-308|renault-scenic|suv|chevrolet|/van\.obj|smart-car"
)
FRONT_AT_PLUS_Z = ("it_policecar1", "vwgolfsilver")  # found by looking at all of them
# TORCS bodies under this licence; the rest is GPL.
TORCS_FREE_ART = re.compile(r"acura|baja|car\d-(ow|stock|trb)")


def list_cars(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """Cars of FlightGear's scenery, of Sweet Home 3D, and TORCS's racing cars (bodies without wheels)."""
    folders = tuple(f"{SCENERY_FOLDER}/{name}" for name in ("Transport", "Airport/Vehicle", "Military"))
    tree = open_package("flightgear-data-base", source, prefixes=folders, cache=cache)
    folder = tree.root / SCENERY_FOLDER
    for path in sorted(folder.rglob("*.ac")):
        if FLIGHTGEAR_CARS.match(path.relative_to(folder).as_posix()):
            name = safe_name(path.stem)
            note = tree.provenance(path, "FlightGear contributors", GPL)
            yield LazyMesh(name, _ac3d_loader(path, None, name, name, note, None))
    tree = open_package("sweethome3d-furniture", source, prefixes=(FURNITURE_FOLDER,), cache=cache)
    for item in _catalogue(tree):
        if item.category == "Vehicles" and FURNITURE_CARS.search(item.model):
            yield _furniture_object(tree, item, options)
    tree = open_package("torcs-data", source, prefixes=(f"{TORCS_FOLDER}/cars", f"{TORCS_FOLDER}/data"), cache=cache)
    for path in sorted((tree.root / TORCS_FOLDER / "cars").glob("*/*.acc")):
        if path.stem == path.parent.name:
            licence = "LAL-1.3" if TORCS_FREE_ART.match(path.stem) else GPL
            note = tree.provenance(path, "TORCS contributors", licence)
            name, textures = safe_name(f"torcs-{path.stem}"), tree.root / TORCS_FOLDER / "data/textures"
            yield LazyMesh(name, _ac3d_loader(path, textures, name, name, note, FRONT_FROM_PLUS_X))


def _turn_of_car(mesh: SourceMesh, name: str) -> float:
    """FlightGear's cars lie along x with the front at -x, or along z with the front at -z, but for two."""
    used = compact(mesh).vertices
    extent = used.max(axis=0) - used.min(axis=0)
    if extent[0] > extent[2]:
        return FRONT_FROM_MINUS_X
    return 0.0 if name in FRONT_AT_PLUS_Z else 180.0


CATEGORIES: dict[str, Callable] = {
    "aircraft": list_aircraft,
    "car": list_cars,
    **{name: _list_furniture(name) for name in FURNITURE_NAMES},
}
