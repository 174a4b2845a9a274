"""Wrong starts: what teaches the steps of synthesis to read the picture.

The coarse shape comes from a summary of the same picture. Steps that only ever begin there find little left to learn,
and what they read can be exchanged at no cost. So in training some of them begin elsewhere: on the way to the shape of
another picture, seen through a camera that is turned. The picture alone says where they should have been.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.cameras.geometry import moved_camera
from render import PerspectiveCamera

# Standard deviation of a camera's motion where the shape is the other picture's altogether: turns about the axes of the
# view, rad; logarithm of a scale; NDC. Regressed cameras err most about the horizontal axis (docs/results/birds.md).
_SPREADS = np.array([0.12, 0.08, 0.04, 0.05, 0.02, 0.02], np.float32)


class WrongStarts(NamedTuple):
    """Which starts are wrong, and how: ``a`` is uniform in [0, 1] for the share that starts wrong, else 0.

    Args:
      share: of the batch that starts wrong, in [0, 1].
      key: of the random numbers, another one in each training step.
    """

    share: float | Float[Array, ""]
    key: jax.Array

    def shapes(self, displacement: Float[Array, "b q 3"]) -> Float[Array, "b q 3"]:
        """``(1 - a) displacement + a other``; the other is that of the batch in reverse, into which no gradient flows.

        Args:
          displacement: of the queries, after the coarse shape.
        """
        other = jax.lax.stop_gradient(displacement[::-1])
        return displacement + self._amounts(len(displacement))[..., None] * (other - displacement)

    def cameras(self, camera: PerspectiveCamera) -> PerspectiveCamera:
        """The camera moved by ``a spreads * N(0, 1)``; no gradient flows through it.

        Args:
          camera: the predicted one of each picture.
        """
        amounts = self._amounts(len(camera.rotation))
        motions = jax.random.normal(jax.random.fold_in(self.key, 2), (len(amounts), len(_SPREADS)))
        return moved_camera(jax.lax.stop_gradient(camera), amounts * motions * _SPREADS[None])

    def _amounts(self, count: int) -> Float[Array, "b 1"]:
        wrong, amount = (jax.random.uniform(jax.random.fold_in(self.key, k), (count, 1)) for k in range(2))
        return jnp.where(wrong < self.share, amount, 0.0)
