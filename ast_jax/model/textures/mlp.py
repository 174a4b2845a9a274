"""The baseline of CMR and DIB-R: an MLP on the picture's summary."""

import jax
from flax import nnx

from ast_jax.model.axes import named
from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Mlp, Sizes
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels


class MlpTexture(nnx.Module):
    """sigmoid(mean texture + MLP of the picture's summary).

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`.
    """

    reads_camera = False

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.layout = layout
        dim, hidden = sizes.dim, sizes.mlp_ratio * sizes.dim
        shape = len(layout.members), layout.outputs
        self.mean = nnx.Param(nnx.initializers.zeros(rngs.params(), shape), **named("queries", "output"))
        self.head = Mlp((dim, hidden, hidden, shape[0] * shape[1]), zero_last=True, last_bias=False, rngs=rngs)

    def __call__(self, image, encoding: Encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; image, vertices and camera are not looked at."""
        values = self.mean[...][None] + self.head(encoding.summary).reshape(len(image), *self.mean.shape)
        return TextureOutput(FaceTexels(jax.nn.sigmoid(self.layout.whole(self.layout.texels_of(values)))), None)
