"""Which backends of the renderer can be used here."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from render import rasterize
from render.backends import BACKENDS


def available_backends(say: Callable[[str], None]) -> list[str]:
    """Backends that draw a triangle; says of the others what keeps them from it.

    Args:
        say: takes a line.
    """
    corners = jnp.array([[[-0.5, -0.5, 0, 1], [0.5, -0.5, 0, 1], [0, 0.5, 0, 1]]], jnp.float32)
    found = []
    for backend in BACKENDS:
        try:
            rasterize(corners, np.array([[0, 1, 2]], np.int32), (4, 4), backend=backend)
            found.append(backend)
        except (RuntimeError, ImportError) as error:
            say(f"| {backend} | left out: {str(error).partition(' To install')[0].splitlines()[0]} |")
    return found
