"""Key points as soft choices among the vertices of the mesh."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array

# Chosen: logits of size 1, reached within some hundred steps of Adam, then prefer one vertex out of 642
# decisively.
_TEMPERATURE = 0.1


class KeypointHead(nnx.Module):
    """k_p = sum_v softmax(a_p / T)_v x_v: where each key point lies on the template, shared by all pictures.

    Args:
      count: key points p.
      vertices: of the mesh.
    Source: CMR (Kanazawa et al. 2018), section 3.2, the assignment matrix A.
    """

    def __init__(self, count: int, vertices: int, *, rngs: nnx.Rngs):
        self.logits = nnx.Param(nnx.initializers.zeros(rngs.params(), (count, vertices)))

    def assignment(self) -> Float[Array, "p v"]:
        """Weights of the vertices for each key point; rows sum to 1; uniform at first."""
        return jax.nn.softmax(self.logits[...] / _TEMPERATURE, axis=-1)

    def entropy(self, batch: int) -> Float[Array, "b p"]:
        """Of each row of the assignment, nats, the same for every picture; log v at first."""
        logits = self.logits[...] / _TEMPERATURE
        entropy = -(jax.nn.softmax(logits, axis=-1) * jax.nn.log_softmax(logits, axis=-1)).sum(-1)
        return jnp.broadcast_to(entropy[None], (batch, len(entropy)))

    def __call__(self, vertices: Float[Array, "b v 3"]) -> Float[Array, "b p 3"]:
        return jnp.einsum("pv,bvc->bpc", self.assignment(), vertices)
