"""The aircraft of FlightGear's traffic, in the paint of many airlines."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ast_jax.files.names import safe_name
from ast_jax.shapes.freeshapes.common import GPL, Options, ac3d_object, always
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.packages import open_package

AIRCRAFT_FOLDER = "usr/share/games/flightgear/AI/Aircraft"
# Lamps, fuel tanks, wheels alone, balloons, a ferry, a hovercraft; copies whose texture the package lacks.
NOT_AN_AIRCRAFT = re.compile(
    r"light|flash|toggle|flare|exhaust|tank|wheels|banner|balloon|oon\.ac|OMSPods|SSME|bomb-5000|Ferry|Beacon|"
    r"Nav[LRB]|Strobe|/taxi|refuel|bluebird|/767\.ac|bae146-200\.2|SkymasterVH",
    re.IGNORECASE,
)


def list_aircraft(source, options: Options, cache: Path | None) -> Iterator[LazyMesh]:
    """The aircraft of FlightGear's traffic, each in its default paint and in some liveries; noses point to -x."""
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
            yield ac3d_object(path, name, note, always("-x"), group=group, textures=textures.get(livery))


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
