"""Cars; trucks and buses: road vehicles of FlightGear's scenery, Sweet Home 3D and TORCS."""

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
    is_solid,
    open_scenery,
)
from ast_jax.shapes.freeshapes.furniture import furniture_object, open_furniture, read_catalogues
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.packages import open_package

TORCS_FOLDER = "usr/share/games/torcs"
ROAD_FOLDERS = ("Transport", "Airport/Vehicle", "Military")
# Cars, pick-ups and vans among FlightGear's scenery.
FLIGHTGEAR_CARS = re.compile(
    r"Transport/(VW|bmw|camaro|dodgeram|gr_(paramedic|policar)|hatchback|honda|hummer|it_policecar|mazda|minibus|"
    r"motorhome|pickup|tcamry|van|volvoxc|voyager|vwgolf)|Airport/Vehicle/(BFD_Sprinter|EDD[IT]-FollowMe|ELW_Sprinter|"
    r"RTW_Sprinter|airvehpickup|boxvan|fourgon|gr_van|hatchback|rover|traffic-ba|van-aegean)|Military/humvee-pickup"
)
# Trucks with a cab, fire engines, tankers, catering trucks, buses; no trailers, tugs, dollies, building machines.
FLIGHTGEAR_TRUCKS = re.compile(
    r"Airport/Vehicle/(94-f600|CCS_|Cobus|EDXW_Catering|FireTruck|Fuel_Truck|RW_GWG|Rosenbauer|airvehcat|anac-fire|"
    r"catruck|citerne|cobus|crashtender|dicingtruck|dragon|fedextruck|fire-?truck|fueltruck|groundforce_bus|hoskosh|"
    r"larfueltruck|lirq_cobus|medfueltruck|medtruck|smfueltruck|sweeper|tank1)|Military/fuel-truck|"
    r"Transport/(110Bus|BlueContainerTruck|CCS_|DPostTruck|Norberttruck|Trailer\.|YellowContainerTruck|boxtruck|bus-|"
    r"bus_bi-|busgr|bussmall|comtruck|consdumptruck|mxvtfedtr\.|mxvtftr(box|wh)|tourbus|truck|yard-tractor)"
)
FURNITURE_CARS = re.compile(
    r"fordFocus|concept-sedan|VW-new-beetle|seat_leon|peugeot-308|renault-scenic|suv|chevrolet|/van\.obj|smart-car"
)
FURNITURE_TRUCKS = re.compile(r"peterbilt|dafTruck|/truck\.obj|/bus\.obj|cityBus")
# Those that look to another side than their kind; found by looking at all of them.
FRONT_SIDE: dict[str, str] = {
    "FireTruck_7.30m": "+x",
    "bus-ba": "+z",
    "bus_bi-ba": "+z",
    "busgr-ba": "+z",
    "citerne-ba": "+x",
    "dragon-ba": "+z",
    "fire-truck-ba": "+x",
    "it_policecar1": "+z",
    "vwgolfsilver": "+z",
}
# Beams of headlamps.
NOT_A_BODY = ("YellowContainerTruck_03.png",)
# TORCS bodies under this licence; the rest is GPL.
TORCS_FREE_ART = re.compile(r"acura|baja|car\d-(ow|stock|trb)")


def list_cars(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """Cars of FlightGear's scenery, of Sweet Home 3D, and TORCS's racing cars (bodies without wheels)."""
    yield from _road_vehicles(source, options, cache, FLIGHTGEAR_CARS, FURNITURE_CARS)
    tree = open_package("torcs-data", source, prefixes=(f"{TORCS_FOLDER}/cars", f"{TORCS_FOLDER}/data"), cache=cache)
    for path in sorted((tree.root / TORCS_FOLDER / "cars").glob("*/*.acc")):
        if path.stem == path.parent.name:
            licence = "LAL-1.3" if TORCS_FREE_ART.match(path.stem) else GPL
            note = tree.provenance(path, "TORCS contributors", licence)
            name, textures = safe_name(f"torcs-{path.stem}"), tree.root / TORCS_FOLDER / "data/textures"
            yield ac3d_object(path, name, note, always("+x"), textures=textures)


def list_trucks(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """Trucks, fire engines, tankers and buses of FlightGear's scenery and of Sweet Home 3D."""
    yield from _road_vehicles(source, options, cache, FLIGHTGEAR_TRUCKS, FURNITURE_TRUCKS)


def _road_vehicles(
    source, options: Options, cache: Path | None, scenery: re.Pattern, models: re.Pattern
) -> Iterator[LazyMesh]:
    tree = open_scenery(ROAD_FOLDERS, source, cache)
    for path in find_ac3d(tree, SCENERY_FOLDER, scenery):
        name = safe_name(path.stem)
        note = tree.provenance(path, "FlightGear contributors", GPL)
        front = always(FRONT_SIDE[name]) if name in FRONT_SIDE else front_of_scenery
        yield ac3d_object(path, name, note, front, keep_part=_is_body)
    tree = open_furniture(source, cache)
    for item in read_catalogues(tree):
        if item.category == "Vehicles" and models.search(item.model):
            yield furniture_object(tree, item, options)


def _is_body(part: Part) -> bool:
    return is_solid(part) and part.texture not in NOT_A_BODY
