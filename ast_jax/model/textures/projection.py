"""The paper's projection of the picture onto the mesh."""

import jax
from flax import nnx

from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Sizes
from ast_jax.model.projection import look, projected_texels
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels, PerspectiveCamera


class ProjectedTexture(nnx.Module):
    """What the picture shows of each face, or else the colour of the nearest that it shows; nothing is learned."""

    reads_camera = True

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.layout = layout

    def __call__(
        self, image, encoding: Encoding, vertices, camera: PerspectiveCamera, *, return_attention: bool = False
    ) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`."""
        level = self.layout.levels[1]
        view = look(image, vertices, camera, level, self.layout.texels)
        return TextureOutput(FaceTexels(projected_texels(view, jax.lax.stop_gradient(vertices), level)), None)
