"""FreeShapes: categories of textured models out of Debian packages, in canonical axes, with their licences.

Nothing of it is shipped: the models are fetched from the distribution and prepared on the user's machine.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ast_jax.near_match import choose
from ast_jax.shapes.freeshapes.aircraft import list_aircraft
from ast_jax.shapes.freeshapes.animals import list_animals, list_birds
from ast_jax.shapes.freeshapes.common import Options
from ast_jax.shapes.freeshapes.furniture import FURNITURE_NAMES, furniture_lister
from ast_jax.shapes.freeshapes.ships import list_ships
from ast_jax.shapes.freeshapes.vehicles import list_cars, list_trucks
from ast_jax.shapes.meshes import LazyMesh

__all__ = ["CATEGORIES", "Options", "list_objects"]

# Name of the category -> what lists it: ``(source, options, cache) -> objects``.
CATEGORIES: dict[str, Callable] = {
    "aircraft": list_aircraft,
    "animal": list_animals,
    "bird": list_birds,
    "car": list_cars,
    "ship": list_ships,
    "truck": list_trucks,
    **{name: furniture_lister(name) for name in FURNITURE_NAMES},
}


def list_objects(
    category: str,
    source: str | Path | None = None,
    *,
    options: Options | None = None,
    cache: Path | None = None,
) -> list[LazyMesh]:
    """The objects of one category, read only when asked for; the order does not depend on the file system.

    Args:
      category: one of ``CATEGORIES``.
      source: see ``open_package``; None fetches the packages with apt-get.
      options: see Options.
      cache: see ``open_package``.

    Raises:
      ValueError: unknown category, or a package that cannot be had.
    """
    choose("--category", category, CATEGORIES)
    options = options or Options()
    if options.colour_grey is None:
        options = replace(options, colour_grey=category in FURNITURE_NAMES)
    return list(CATEGORIES[category](source, options, cache))
