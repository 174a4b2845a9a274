"""The array type of the annotations, and checks of arguments that more than one module needs."""

import difflib
import operator
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
Tree = TypeVar("Tree")


class StaticArray:
    """A numpy array that compares and hashes by content, as the static half of a pytree must."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self._key = (array.shape, array.dtype.str, array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticArray) and (self.array is other.array or self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)


def is_concrete(value: object) -> bool:
    """True when the numbers of an argument are known here while tracing, so that they can be checked."""
    # What is spread over several hosts is known to none of them.
    return not isinstance(value, jax.core.Tracer) and getattr(value, "is_fully_addressable", True)


def to_float(name: str, values: Array) -> jax.Array:
    """An array of floats in at least single precision, the least that geometry can be computed in.

    Args:
        name: of the argument, for the message.
        values: floats; bfloat16 and float16 become float32.

    Returns:
        The array.

    Raises:
        ValueError: integers, booleans or complex numbers.
    """
    check_floats(name, values)
    values = jnp.asarray(values)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def positive_part(values: jax.Array) -> jax.Array:
    """max(values, 0), with a derivative that survives a compiler.

    That of `jnp.maximum` asks whether its result equals its argument. Where XLA computes the argument twice, once with
    multiply-adds in one rounding, it does not, and the derivative is gone.
    """
    return jnp.where(values > 0, values, 0.0)


def check_trailing(**arrays: tuple) -> None:
    """Checks arrays with free leading axes.

    Args:
        arrays: by name of the argument, the array and the shapes that it may end with.

    Raises:
        ValueError: an array that ends otherwise, or leading axes that do not broadcast.
    """
    lead = {}
    for name, (array, *endings) in arrays.items():
        # All alternatives have as many axes.
        shape, free = np.shape(array), np.ndim(array) - len(endings[0])
        if free < 0 or shape[free:] not in endings:
            wanted = " or ".join(f"[{', '.join(['...', *map(str, ending)])}]" for ending in endings)
            raise ValueError(f"{name} must have shape {wanted}, got {shape}")
        lead[name] = shape[:free]
    try:
        np.broadcast_shapes(*lead.values())
    except ValueError:
        found = ", ".join(f"{name} {shape}" for name, shape in lead.items())
        raise ValueError(f"leading axes must broadcast to one another, got {found}") from None


def check_floats(name: str, values: Array) -> None:
    """Raises a ValueError when an argument is no array of floats."""
    dtype = getattr(values, "dtype", type(values).__name__)
    if not hasattr(values, "dtype") or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{name} must be an array of floats, got {dtype}; convert it first")


def check_mask(name: str, values: Array | None, shape: tuple[int, ...]) -> None:
    """Raises a ValueError when a mask is neither None nor an array of booleans of that shape."""
    if values is None:
        return
    found = getattr(values, "shape", None), getattr(values, "dtype", type(values).__name__)
    if found[0] != shape or found[1] != jnp.bool_:
        raise ValueError(f"{name} must be an array of booleans of shape [b, f] = {shape}, got {found[1]} {found[0]}")


def floats_of(tree: Tree) -> Tree:
    """A pytree with its arrays on the device, and bfloat16 and float16 as float32."""

    def widen(leaf):
        leaf = jnp.asarray(leaf)
        short = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
        return leaf.astype(jnp.float32) if short else leaf

    return jax.tree.map(widen, tree)


def check_faces(faces: Array, num_vertices: int | None = None, batch: int | None = None) -> None:
    """Checks triangle indices.

    Args:
        faces: `[f, 3]` shared by the batch or `[b, f, 3]`.
        num_vertices: vertices that the indices may name, None for any number.
        batch: expected leading axis of `[b, f, 3]`, None for any.

    Raises:
        ValueError: wrong shape, no integers, or an index out of range.
    """
    shape = getattr(faces, "shape", None)
    if shape is None or len(shape) not in (2, 3) or shape[-1] != 3:
        raise ValueError(f"faces must be an array of shape [f, 3] or [b, f, 3], got {shape or type(faces).__name__}")
    if faces.ndim == 3 and batch is not None and faces.shape[0] != batch:
        raise ValueError(f"faces has batch {faces.shape[0]}, vertices have batch {batch}; make them equal")
    if not jnp.issubdtype(faces.dtype, jnp.integer):
        raise ValueError(f"faces must hold integers, got {faces.dtype}")
    if num_vertices is None or not is_concrete(faces) or faces.size == 0:
        return
    # By numpy: under `jax.jit` even the least of known numbers would be traced.
    low, high = int(np.min(np.asarray(faces))), int(np.max(np.asarray(faces)))
    if low < 0 or high >= num_vertices:
        raise ValueError(
            f"faces name vertices {low}..{high}, but there are {num_vertices}; pad faces with index 0 and a face_mask"
        )


def check_positive(name: str, value: float | jax.Array) -> None:
    """Raises a ValueError when what must be one finite number > 0 is known not to be."""
    if np.ndim(value) != 0:
        raise ValueError(f"{name} must be one number, got an array of shape {np.shape(value)}")
    if not is_concrete(value):
        return
    try:
        right = not isinstance(value, str) and 0.0 < float(value) < float("inf")
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[str], where: str = "") -> None:
    """Checks an argument that names one of several things.

    Args:
        name: of the argument, for the message.
        value: what was given.
        choices: all that can be.
        where: when these are the choices, for the message.

    Raises:
        ValueError: it is none of them; names all, and the nearest.
    """
    choices = tuple(choices)
    if isinstance(value, str) and value in choices:
        return
    near = difflib.get_close_matches(str(value).lower(), choices, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(f'"{choice}"' for choice in choices)
    raise ValueError(f"{name} must be one of {listed}{where}, got {value!r}{meant}")


def check_layers(layers: int | None) -> None:
    """Raises a ValueError when a number of layers is neither None nor an integer >= 1."""
    if layers is not None and (isinstance(layers, bool) or not is_integer(layers) or layers < 1):
        raise ValueError(f"layers must be None or an integer >= 1, got {layers!r}")


def check_cull_backfaces(cull_backfaces: bool) -> None:
    """Raises a ValueError when the option is not static."""
    if not isinstance(cull_backfaces, bool):
        raise ValueError(f"cull_backfaces must be True or False, static, got {cull_backfaces!r}")


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raises a ValueError when (height, width) is not two positive integers."""
    sides = tuple(image_size) if np.iterable(image_size) else ()
    if len(sides) != 2 or not all(is_integer(side) and side >= 1 for side in sides):
        raise ValueError(f"image_size must be (height, width), two static integers >= 1, got {image_size!r}")


def static_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as integers of Python, which compare and hash, whatever `check_image_size` let through."""
    height, width = image_size
    return operator.index(height), operator.index(width)


def is_integer(value: object) -> bool:
    """Whether a static argument is an integer of Python or numpy."""
    try:
        operator.index(value)
    except TypeError:  # What is traced has no value yet and is a TypeError too.
        return False
    return True


class Structure(NamedTuple):
    """How a pytree was taken apart by `split_floats`; static.

    Attributes:
        tree: structure of the pytree.
        is_float: whether each of its arrays holds floats.
    """

    tree: jax.tree_util.PyTreeDef
    is_float: tuple[bool, ...]


def split_floats(tree: object) -> tuple[list[jax.Array], list[jax.Array], Structure]:
    """Takes a pytree apart for a `custom_vjp`: into what has gradients and what has none.

    Args:
        tree: any pytree of arrays.

    Returns:
        Its arrays of floats, its other arrays, and how to put them together again.
    """
    leaves, structure = jax.tree.flatten(tree)
    is_float = tuple(bool(jnp.issubdtype(leaf.dtype, jnp.floating)) for leaf in leaves)
    floats, others = ([leaf for leaf, kind in zip(leaves, is_float) if kind is wanted] for wanted in (True, False))
    return floats, others, Structure(structure, is_float)


def join_floats(structure: Structure, floats: list[jax.Array], others: list[jax.Array]) -> Any:
    """Undoes `split_floats`, perhaps with other floats."""
    next_float, next_other = iter(floats), iter(others)
    leaves = [next(next_float) if kind else next(next_other) for kind in structure.is_float]
    return jax.tree.unflatten(structure.tree, leaves)
