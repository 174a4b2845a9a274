"""A camera straight ahead, whose distance is learned."""

import jax.numpy as jnp
from flax import nnx

from ast_jax.model.cameras.answer import CameraOutput
from ast_jax.model.layers import Mlp
from render import PerspectiveCamera


class Ahead(nnx.Module):
    """``distance = 2.732 exp(MLP of the picture's summary)``."""

    sees = True

    def __init__(self, config, sizes, *, rngs: nnx.Rngs):
        self.head = Mlp((sizes.dim, sizes.dim, 1), zero_last=True, rngs=rngs)

    def __call__(self, summary) -> CameraOutput:
        distance = 2.732 * jnp.exp(self.head(summary))
        rotation = jnp.broadcast_to(jnp.eye(3), (len(summary), 3, 3))
        focal = jnp.full((len(summary), 2), 3.7)
        translation = -distance * jnp.array([[0.0, 0.0, 1.0]])
        return CameraOutput(seen=PerspectiveCamera(rotation, translation, focal, jnp.zeros_like(focal)))
