"""One colour for the whole object, as colours of vertices."""

import jax
import jax.numpy as jnp
from flax import nnx

from ast_jax.model.layers import Mlp
from ast_jax.model.textures.layout import TextureOutput
from render import VertexColours


class OneColour(nnx.Module):
    """sigmoid(MLP of the picture's summary)."""

    reads_camera = False

    def __init__(self, config, layout, sizes, *, rngs: nnx.Rngs):
        self.head = Mlp((sizes.dim, sizes.dim, 3), rngs=rngs)

    def __call__(self, image, encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput:
        colour = jax.nn.sigmoid(self.head(encoding.summary))
        return TextureOutput(VertexColours(jnp.broadcast_to(colour[:, None], vertices.shape)), None)
