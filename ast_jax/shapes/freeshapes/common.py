"""What the categories of FreeShapes share: options, licences, readers that turn the front to +Z."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ast_jax.shapes.ac3d import Part, load_ac3d
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.normalise import compact, rotation_y, transformed
from ast_jax.shapes.packages import PackageTree, open_package
from ast_jax.shapes.source_mesh import SourceMesh

GPL = "GPL-2.0-or-later"
CC_BY_SA = "CC-BY-SA-3.0"
# About +y, in degrees: what turns a front at this side to +z.
FRONT_AT = {"+z": 0.0, "-z": 180.0, "-x": 90.0, "+x": -90.0}
SCENERY_FOLDER = "usr/share/games/flightgear/Scenery/Models"
# Parts that are not solid: halos of lamps, turning propellers, flames, a brake parachute.
NOT_SOLID = re.compile(
    r"halo|glow|flare|flame|burner|shadow|prop.*(disc|disk|blur|fast)|^(disk|disc)|blur|contrail|^chute$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Options:
    """What a category may be asked for.

    Args:
      liveries: further paint schemes per airframe, and coats per animal, beside the first one.
      colour_grey: give grey and white materials without an image a random hue; None: furniture only.
      seed: chooses liveries, coats and hues.
    """

    liveries: int = 2
    colour_grey: bool | None = None
    seed: int = 0


def is_solid(part: Part) -> bool:
    """Whether a part of an AC3D file belongs to the object, by its name."""
    return not NOT_SOLID.search(part.name)


def ac3d_object(
    path: Path,
    name: str,
    note: dict,
    front: Callable[[SourceMesh], str],
    *,
    group: str | None = None,
    textures: Path | None = None,
    keep_part: Callable[[Part], bool] = is_solid,
) -> LazyMesh:
    """One AC3D file as an object.

    Args:
      path: the file.
      name: the object id.
      note: its provenance.
      front: gives the side at which the file has the front, a key of ``FRONT_AT``.
      group: keeps objects on one side of the split; the name by default.
      textures: folder where textures are looked up first.
      keep_part: tells whether a part belongs to the object.
    """

    def load() -> SourceMesh:
        mesh = load_ac3d(path, texture_folders=(textures,) if textures else (), keep_part=keep_part)
        turned = transformed(mesh, rotation_y(FRONT_AT[front(mesh)]))
        return turned.replace(object_id=name, group=group or name, provenance=note)

    return LazyMesh(name, load)


def always(side: str) -> Callable[[SourceMesh], str]:
    """The same side for every mesh."""
    return lambda mesh: side


def front_of_scenery(mesh: SourceMesh) -> str:
    """FlightGear's vehicles lie along x with the front at -x, or along z with the front at -z, but for some."""
    used = compact(mesh).vertices
    extent = np.ptp(used, axis=0)
    return "-x" if extent[0] > extent[2] else "-z"


def open_scenery(folders: tuple[str, ...], source: str | Path | None, cache: Path | None) -> PackageTree:
    """FlightGear's base scenery: these folders of its models."""
    prefixes = tuple(f"{SCENERY_FOLDER}/{name}" for name in folders)
    return open_package("flightgear-data-base", source, prefixes=prefixes, cache=cache)


def find_ac3d(tree: PackageTree, folder: str, pattern: re.Pattern) -> list[Path]:
    """The AC3D files below a folder of a package whose path from there begins with the pattern, sorted."""
    root = tree.root / folder
    return [path for path in sorted(root.rglob("*.ac")) if pattern.match(path.relative_to(root).as_posix())]
