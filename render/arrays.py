"""The array type of the annotations, and checks of arguments that more than one module needs."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray


def is_concrete(value: object) -> bool:
    """True when the numbers of an argument are known while tracing, so that they can be checked."""
    return not isinstance(value, jax.core.Tracer)


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


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raises a ValueError when (height, width) is not two positive integers."""
    if len(image_size) != 2 or any(int(side) != side or side < 1 for side in image_size):
        raise ValueError(f"image_size must be (height, width) with both >= 1, got {image_size}")
