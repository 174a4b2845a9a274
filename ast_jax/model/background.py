"""What lies behind the object in the picture, so that pictures can be explained without masks."""

import jax
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.codes import CodeEmbedding, LiveCodes, ProgressiveCode
from ast_jax.model.sphere_map import SphereMap


class BackgroundHead(nnx.Module):
    """sigmoid(picture decoded from a code of the summary by convolutions that double its size).

    Args:
      config: ``config.model.background``; see `ast_jax.config.model.BackgroundConfig`.
      dim: embedding size d of the summary.

    Raises:
      ValueError: no such number of rows.
    Source: Monnier et al., Unicorn, ECCV 2022, whose generator has connections past each doubling.
    """

    def __init__(self, config, dim: int, *, rngs: nnx.Rngs):
        self.code = ProgressiveCode(dim, config.code_size, rngs=rngs)
        self.embedding = CodeEmbedding(config.code_size, dim, rngs=rngs)
        # A map of half a sphere has no seam: it is a plain picture.
        self.picture = SphereMap(dim, config.size, 3, half=True, key="config.model.background.size", rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"], live: LiveCodes) -> Float[jax.Array, "b h w 3"]:
        """Colours in [0, 1] of the whole frame; ``live.background`` numbers of the code count."""
        return jax.nn.sigmoid(self.picture(self.embedding(self.code(summary, live.background))))
