"""A field of displacements: where each point of a surface goes, from its place and a code."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.codes import ProgressiveCode
from ast_jax.model.layers import Mlp, linear


class ProgressiveField(nnx.Module):
    """``mlp(gelu(A x + B code))``, zero at first; a code of zeros is one displacement of the surface for all pictures.

    Args:
      dim: embedding size d of what the code is told from.
      size: numbers n of the code.
      units: hidden size of the field.
    Source: Monnier et al., Unicorn, ECCV 2022, and its released code: an MLP of three layers and 128 units, with ReLU.
    """

    def __init__(self, dim: int, size: int, units: int = 128, *, rngs: nnx.Rngs):
        self.code = ProgressiveCode(dim, size, rngs=rngs)
        self.place = linear(3, units, rngs=rngs)
        self.condition = linear(size, units, use_bias=False, rngs=rngs)
        self.mlp = Mlp((units, units, units, 3), zero_last=True, rngs=rngs)

    def __call__(self, points: Float[Array, "*n 3"], code: Float[Array, "b *m c"]) -> Float[Array, "b q 3"]:
        """The displacement of every point for every code.

        Args:
          points: ``[q, 3]``, or ``[b, q, 3]`` where each picture has its own.
          code: of ``self.code``: ``[b, n]``, or ``[b, q, n]`` where each point has its own.
        """
        points = jnp.asarray(points, self.place.kernel.dtype)
        points = points if points.ndim == 3 else points[None]
        condition = self.condition(code)
        condition = condition if condition.ndim == 3 else condition[:, None]
        return self.mlp(nnx.gelu(self.place(points) + condition))
