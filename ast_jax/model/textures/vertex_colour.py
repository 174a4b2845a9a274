"""The colours of DIB-R: one for each vertex, by an MLP on the picture's summary."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ast_jax.model.axes import constrain
from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Mlp, Sizes
from ast_jax.model.template import sphere, vertex_half
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import VertexColours


class VertexColourTexture(nnx.Module):
    """sigmoid(mean colours + MLP of the picture's summary), for the vertices of the half x >= 0 if symmetric.

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`; queries and texels do not count.
    Source: DIB-R (Chen et al. 2019), section 4.1 and its released code.
    """

    reads_camera = False

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.level, self.symmetric = layout.levels[1], layout.symmetric
        count, dim, hidden = len(self._members), sizes.dim, sizes.mlp_ratio * sizes.dim
        self.mean = nnx.Param(nnx.initializers.zeros(rngs.params(), (count, 3)))
        self.head = Mlp((dim, hidden, hidden, 3 * count), zero_last=True, last_bias=False, rngs=rngs)

    @property
    def _members(self) -> np.ndarray:
        return vertex_half(self.level).members if self.symmetric else np.arange(len(sphere(self.level).vertices))

    def __call__(self, image, encoding: Encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; image, vertices and camera are not looked at."""
        values = self.mean[...][None] + self.head(encoding.summary).reshape(len(image), -1, 3)
        colours = jax.nn.sigmoid(values)
        if self.symmetric:
            colours = jnp.take(colours, vertex_half(self.level).source, axis=1)
        return TextureOutput(VertexColours(constrain(colours, "batch", "vertices", "channels")), None)
