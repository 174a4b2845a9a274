"""CMR's texture flow: for every texel a place in the picture, whose colour it takes."""

import jax.numpy as jnp
from flax import nnx

from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Sizes
from ast_jax.model.sphere_map import SphereMap
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels, sample_uv


class FlowTexture(nnx.Module):
    """colour_i = picture(tanh(map(summary) at texel i)), bilinear; the places are NDC.

    Convolutions decode a map of places on the sphere from the picture's summary. It is learned through the slope of
    the picture at each place, that is from the colours right there; the loss `flow` pulls places onto the object.

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`.
    Source: CMR (Kanazawa et al. 2018), section 3.3; appearance flow of Zhou et al. 2016.
    """

    reads_camera = False

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.layout = layout
        self.head = SphereMap(sizes.dim, config.map_size, 2, layout.symmetric, rngs=rngs)

    def __call__(self, image, encoding: Encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; vertices and camera are not looked at."""
        flow = jnp.tanh(self.head.at(encoding.summary, self.layout.points))
        colours = sample_uv(image[..., :3], (flow + 1) / 2, wrap="clamp")
        return TextureOutput(FaceTexels(self.layout.whole(self.layout.texels_of(colours))), None, flow)
