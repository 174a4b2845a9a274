"""Names for the axes of parameters and activations. What a name means on a device mesh is decided by whoever trains.

Parameters carry the names as metadata (`named`), activations pass through `constrain`. Without a `placing` around the
call, as when a model is only used, both do nothing.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from flax import nnx

_KEY = "axes"

# f(array, names) -> array, placed on the devices.
Place = Callable[[Any, tuple[str, ...]], Any]
_place: ContextVar[Place | None] = ContextVar("place", default=None)


def named(*axes: str) -> dict[str, tuple[str, ...]]:
    """Metadata of a parameter with these axes, one name each; for ``nnx.Param`` and the layers of flax."""
    return {_KEY: axes}


def axes_of_parameters(model: nnx.Module) -> dict:
    """The names of every parameter's axes.

    Args:
      model: with parameters, or abstract.

    Returns:
      a dict like the parameters' (``nnx.to_pure_dict``), with a tuple of names as leaf, or None where a parameter
      has none.
    """
    tree: dict = {}
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = variable.get_metadata().get(_KEY)
    return tree


@contextlib.contextmanager
def placing(place: Place) -> Iterator[None]:
    """While a function is traced in here, its activations are placed by ``place``."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def constrain(x: Any, *axes: str) -> Any:
    """The activation itself, on the devices that its axes belong to.

    Args:
      x: one array.
      axes: a name for each of its axes.
    """
    place = _place.get()
    return x if place is None else place(x, axes)
