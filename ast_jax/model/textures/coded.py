"""Colours from a code of the picture, of which a stage may let only the first numbers be live."""

from flax import nnx

from ast_jax.model.codes import CodeEmbedding, LiveCodes, ProgressiveCode
from ast_jax.model.encoder import Encoding
from ast_jax.model.layers import Sizes
from ast_jax.model.textures.layout import TextureBranch, TextureOutput


class CodedTexture(nnx.Module):
    """A texture branch that reads a code in place of the picture's summary.

    Args:
      branch: that looks at nothing but the summary.
      size: numbers of the code.
      sizes: of the network.
    Source: Monnier et al., Unicorn, ECCV 2022, progressive conditioning of the texture.
    """

    reads_camera = False

    def __init__(self, branch: TextureBranch, size: int, sizes: Sizes, *, rngs: nnx.Rngs):
        self.code = ProgressiveCode(sizes.dim, size, rngs=rngs)
        self.embedding = CodeEmbedding(size, sizes.dim, rngs=rngs)
        self.branch = branch

    def __call__(
        self, image, encoding: Encoding, vertices, camera, *, live: LiveCodes, return_attention: bool = False
    ) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; ``live.texture`` numbers of the code count."""
        code = self.code(encoding.summary, live.texture)
        told = encoding._replace(summary=self.embedding(code))
        painted = self.branch(image, told, vertices, camera, return_attention=return_attention)
        return painted._replace(code=code)
