"""Where in the picture the object is, from the encoder's finest map."""

import jax
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.layers import scaled_normal


class SaliencyHead(nnx.Module):
    """sigmoid(conv1x1(relu(conv3x3(relu(conv3x3(map)))))): c, c / 4 and one channel.

    Args:
      channels: c, of the map.
    Source: released AST code, the saliency head on its local encoder.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        fewer = max(channels // 4, 1)
        self.first = nnx.Conv(channels, channels, (3, 3), kernel_init=scaled_normal(2.0), rngs=rngs)
        self.second = nnx.Conv(channels, fewer, (3, 3), kernel_init=scaled_normal(2.0), rngs=rngs)
        self.last = nnx.Conv(fewer, 1, (1, 1), kernel_init=scaled_normal(1.0), rngs=rngs)

    def __call__(self, features: Float[Array, "b h w c"]) -> Float[Array, "b h w"]:
        """The probability of each cell to show the object."""
        x = jax.nn.relu(self.second(jax.nn.relu(self.first(features))))
        return jax.nn.sigmoid(self.last(x))[..., 0]
