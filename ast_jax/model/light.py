"""The light of the picture, so that shading is not taken for colour."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.layers import Mlp
from render import SphericalHarmonicsLight

_NUM_LEARNED = 8
# Of the first harmonic: the mean of the shading over all directions is 1.
_WHITE = np.float32(np.sqrt(4 * np.pi))


class LightHead(nnx.Module):
    """Nine spherical harmonics of the shading, by an MLP on the picture's summary; white ambient light at first.

    ``shading(n) = 1 + sum_{k = 1 .. 8} c_k Y_k(n)`` for all three channels, n the normal in world space: the mean over
    all directions is 1, so that brightness and hue are left to the texture.

    Args:
      dim: embedding size d of the summary.
    Source: DIB-R (Chen et al. 2019), section 3.3, light as spherical harmonics of Ramamoorthi and Hanrahan 2001.
    """

    # With all nine numbers free, as in DIB-R, colours and brightness are known up to a factor only.
    def __init__(self, dim: int, *, rngs: nnx.Rngs):
        self.head = Mlp((dim, dim, _NUM_LEARNED), zero_last=True, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> SphericalHarmonicsLight:
        learned = self.head(summary)
        coefficients = jnp.concatenate([jnp.full_like(learned[:, :1], _WHITE), learned], axis=-1)
        return SphericalHarmonicsLight(jnp.broadcast_to(coefficients[..., None], (*coefficients.shape, 3)))
