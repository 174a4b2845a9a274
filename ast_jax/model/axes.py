"""What whoever trains may decide about a model without its knowing: where arrays lie, and what is computed again.

Parameters carry names for their axes as metadata (`named`), activations pass through `constrain`, and blocks are called
by `run_block`. What a name means on a device mesh, and whether a block's activations are kept for the backward pass, is
said by `placing` and `recomputing` around the call. Without them, as when a model is only used, nothing happens.
"""

import contextlib
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import jax
from flax import nnx

_KEY = "axes"

# f(array, names) -> array, placed on the devices.
Place = Callable[[Any, tuple[str, ...]], Any]
_place: ContextVar[Place | None] = ContextVar("place", default=None)
# f(function) -> function of arrays that lead with the batch, for the devices' shares of it.
_split: ContextVar[Callable | None] = ContextVar("split", default=None)
_recompute: ContextVar[bool] = ContextVar("recompute", default=False)


def named(*axes: str) -> dict[str, Any]:
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
def placing(place: Place, split: Callable | None = None) -> Generator[None]:
    """While a function is traced in here, its activations are placed by ``place``.

    Args:
      place: see `constrain`.
      split: see `each_share`.
    """
    tokens = _place.set(place), _split.set(split)
    try:
        yield
    finally:
        _place.reset(tokens[0])
        _split.reset(tokens[1])


def each_share(function: Callable) -> Callable:
    """The same function of arrays that lead with the batch, computed for each device's share by that device alone."""
    split = _split.get()
    return function if split is None else split(function)


def constrain(x: Any, *axes: str) -> Any:
    """The activation itself, on the devices that its axes belong to.

    Args:
      x: one array.
      axes: a name for each of its axes.
    """
    place = _place.get()
    return x if place is None else place(x, axes)


@contextlib.contextmanager
def recomputing(enabled: bool = True) -> Generator[None]:
    """While a function is traced in here, of every block only what goes in is kept for the backward pass."""
    token = _recompute.set(enabled)
    try:
        yield
    finally:
        _recompute.reset(token)


def run_block(block: nnx.Module, *arrays: Any, **options: Any) -> Any:
    """``block(*arrays, **options)``, whose inner activations are computed again in the backward pass if so wished.

    Args:
      block: without state.
      arrays: that it is differentiated by.
      options: that are no arrays.

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".
    """
    if not _recompute.get():
        return block(*arrays, **options)
    graphdef, params = nnx.split(block)
    run = jax.checkpoint(lambda params, *arrays: nnx.merge(graphdef, params)(*arrays, **options))
    return run(params, *arrays)
