"""Joining lists of unequal length without a loop."""

import numpy as np
from jaxtyping import Int


def enumerate_pairs(counts: Int[np.ndarray, " m"]) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """All (owner, number) with ``0 <= number < counts[owner]``, in order.

    Args:
      counts: how many each owner has, >= 0.

    Returns:
      owner and number of each pair.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - starts[owner]
