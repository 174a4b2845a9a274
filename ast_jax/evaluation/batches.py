"""Applies a compiled function to more pictures than fit at once."""

from collections.abc import Callable

import numpy as np

from ast_jax.arrays import Array


def map_batches(function: Callable[..., Array], batch_size: int, *arrays: np.ndarray) -> np.ndarray:
    """``function`` over slices along the first axis; the last one is filled up, so that it compiles once.

    Args:
      function: of as many arrays as are given, one result per picture.
      batch_size: pictures at once.
      *arrays: of equal length, at least 1.

    Returns:
      the results, one after the other.

    Raises:
      ValueError: no pictures, or not the same number of each.
    """
    count = len(arrays[0])
    if not count or any(len(array) != count for array in arrays):
        raise ValueError(f"got {', '.join(str(len(a)) for a in arrays)} pictures; give the same number, at least one.")
    results = []
    for start in range(0, count, batch_size):
        rows = np.minimum(np.arange(start, start + min(batch_size, count)), count - 1)  # the last picture fills up
        results.append(np.asarray(function(*(np.asarray(array[rows], np.float32) for array in arrays))))
    return np.concatenate(results)[:count]
