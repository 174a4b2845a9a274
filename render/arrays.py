"""The array type of the annotations, and checks of arguments that more than one module needs."""

from typing import Literal, NamedTuple, TypeAlias, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
Tree = TypeVar("Tree")
Backend = Literal["xla", "nvdiffrast"]


def is_concrete(value: object) -> bool:
    """True when the numbers of an argument are known while tracing, so that they can be checked."""
    return not isinstance(value, jax.core.Tracer)


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
    values = jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"{name} must hold floats, got {values.dtype}; convert it first")
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def positive_part(values: jax.Array) -> jax.Array:
    """max(values, 0), with a derivative that survives a compiler.

    That of `jnp.maximum` asks whether its result equals its argument. Where XLA computes the argument twice, once with
    multiply-adds in one rounding, it does not, and the derivative is gone.
    """
    return jnp.where(values > 0, values, 0.0)


def floats_of(tree: Tree) -> Tree:
    """A pytree with its arrays on the device, and bfloat16 and float16 as float32."""

    def widen(leaf):
        leaf = jnp.asarray(leaf)
        short = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
        return leaf.astype(jnp.float32) if short else leaf

    return jax.tree.map(widen, tree)


def check_faces(faces: Array, num_vertices: int, batch: int) -> None:
    """Checks triangle indices.

    Args:
        faces: `[f, 3]` shared by the batch or `[b, f, 3]`.
        num_vertices: vertices that the indices may name.
        batch: expected leading axis of `[b, f, 3]`.

    Raises:
        ValueError: wrong shape, no integers, or an index out of range.
    """
    if faces.ndim not in (2, 3) or faces.shape[-1] != 3:
        raise ValueError(f"faces must have shape [f, 3] or [b, f, 3], got {faces.shape}")
    if faces.ndim == 3 and faces.shape[0] != batch:
        raise ValueError(f"faces has batch {faces.shape[0]}, vertices have batch {batch}; make them equal")
    if not jnp.issubdtype(faces.dtype, jnp.integer):
        raise ValueError(f"faces must hold integers, got {faces.dtype}")
    if not is_concrete(faces) or faces.size == 0:
        return
    low, high = int(faces.min()), int(faces.max())
    if low < 0 or high >= num_vertices:
        raise ValueError(
            f"faces name vertices {low}..{high}, but there are {num_vertices}; pad faces with index 0 and a face_mask"
        )


def check_positive(name: str, value: float | jax.Array) -> None:
    """Raises a ValueError when a number that must be > 0 is known not to be."""
    if is_concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"{name} must be > 0, got {value}")


def check_backend(name: str) -> str:
    """The name of a backend; a ValueError when there is none of that name."""
    if name not in get_args(Backend):
        raise ValueError(f'backend must be "xla" or "nvdiffrast", got {name!r}')
    return name


def check_layers(layers: int | None) -> None:
    """Raises a ValueError when a number of layers is neither None nor an integer >= 1."""
    if layers is not None and (isinstance(layers, bool) or int(layers) != layers or layers < 1):
        raise ValueError(f"layers must be None or an integer >= 1, got {layers!r}")


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raises a ValueError when (height, width) is not two positive integers."""
    if len(image_size) != 2 or any(int(side) != side or side < 1 for side in image_size):
        raise ValueError(f"image_size must be (height, width) with both >= 1, got {image_size}")


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


def join_floats(structure: Structure, floats: list[jax.Array], others: list[jax.Array]) -> object:
    """Undoes `split_floats`, perhaps with other floats."""
    floats, others = iter(floats), iter(others)
    leaves = [next(floats) if kind else next(others) for kind in structure.is_float]
    return jax.tree.unflatten(structure.tree, leaves)
