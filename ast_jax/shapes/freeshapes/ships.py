"""Ships and boats of FlightGear's scenery."""

import re
from collections.abc import Iterator
from pathlib import Path

from ast_jax.files.names import safe_name
from ast_jax.shapes.ac3d import Part
from ast_jax.shapes.freeshapes.common import (
    GPL,
    SCENERY_FOLDER,
    Options,
    ac3d_object,
    always,
    find_ac3d,
    front_of_scenery,
    open_scenery,
)
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.packages import open_package

MODELS_FOLDER = "usr/share/games/flightgear/Models"
# Left out: lighthouses, piers, a crane, a dam, a lock, barges without a bow, files that hold several boats or an
# unfinished one, a hovercraft, and a container ship that is there twice.
SCENERY_SHIPS = re.compile(
    r"Maritime/(Civilian|Military)/(?!Altenbrucher|Lighthouse|Ponton|Shipyard|dam|lock|barge|Solar_Barge|Fishingboat|"
    r"Trawler|trimaran|PSC9|RNLI_Hovercraft|containership1sailing)|Maritime/Misc/(Marine_Research_Vessel|Narrowboat)"
)
# What the other package has beside copies of the above.
MODELS_SHIPS = re.compile(
    r"Maritime/Military/LPD17|Geometry/Nimitz/(nimitz|vinson|truman)\.ac|Geometry/sailboat1/sailboat\.ac"
)
# Wakes, lamps at the origin that the game moves to their place, beacons.
NOT_A_SHIP = re.compile(r"wake|sillage|light|halo|glow|flare|^bec\d|beac|mastlit", re.IGNORECASE)
# Those that lie along z, or look to the other side; found by looking at all of them.
FRONT_AT_PLUS_Z = re.compile(r"Dhow|HouseBoat[78]$|SailBoat_38feet")
FRONT_AT_PLUS_X = re.compile(r"Amphibious_assault_ship")


def list_ships(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """Ships and boats of two FlightGear packages, without their wakes."""
    tree = open_scenery(("Maritime",), source, cache)
    prefixes = (f"{MODELS_FOLDER}/Maritime", f"{MODELS_FOLDER}/Geometry")
    more = open_package("flightgear-data-models", source, prefixes=prefixes, cache=cache)
    for package, folder, pattern in ((tree, SCENERY_FOLDER, SCENERY_SHIPS), (more, MODELS_FOLDER, MODELS_SHIPS)):
        for path in find_ac3d(package, folder, pattern):
            name = safe_name(path.stem)
            note = package.provenance(path, "FlightGear contributors", GPL)
            yield ac3d_object(path, name, note, _front(name), keep_part=_is_ship)


def _front(name: str):
    if FRONT_AT_PLUS_Z.search(name):
        return always("+z")
    return always("+x") if FRONT_AT_PLUS_X.search(name) else front_of_scenery


def _is_ship(part: Part) -> bool:
    return not (NOT_A_SHIP.search(part.name) or NOT_A_SHIP.search(part.texture))
