"""A picture of the surface, decoded by convolutions: the texture of DIB-R's later version, U-CMR and Unicorn."""

import jax
from flax import nnx

from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Sizes
from ast_jax.model.sphere_map import SphereMap
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels


class MapTexture(nnx.Module):
    """sigmoid(map(summary) at each texel), bilinear, of a map on the sphere (`ast_jax.model.sphere_map`).

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`.
    """

    reads_camera = False

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.layout = layout
        self.head = SphereMap(sizes.dim, config.map_size, 3, layout.symmetric, rngs=rngs)

    def __call__(self, image, encoding: Encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; image, vertices and camera are not looked at."""
        values = self.head.at(encoding.summary, self.layout.points)
        return TextureOutput(FaceTexels(jax.nn.sigmoid(self.layout.whole(self.layout.texels_of(values)))), None)
