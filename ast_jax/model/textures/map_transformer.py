"""The Texture Transformer of the released AST code: a grid of queries on the surface, and convolutions behind it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import run_block
from ast_jax.model.codes import ALL_LIVE, LiveCodes, ProgressiveCode
from ast_jax.model.decoders.transformer import DecoderLayer, QueryDecoder
from ast_jax.model.encoder import Encoding, map_index
from ast_jax.model.layers import QueryEmbedding, Sizes, linear, scaled_normal, sine_positions
from ast_jax.model.sphere_map import convolution, look_up, sphere_points, with_border
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels

# Of what a query answers, and of the last map but one; the released code.
_CODE, _INNER = 32, 16


class MapHead(nnx.Module):
    """Answers of a grid of queries -> logits of a map with twice as many rows and columns.

    ``conv3x3(relu(conv3x3(transposed2x2(code(norm(x))))))``. The code of each query is zero at first, and the biases
    behind it keep the ReLU from being as dead as its input.

    Args:
      dim: of the answers.
      cells: rows, and columns, of the grid.
      half: whether the map shows only x >= 0; the borders of a whole one are neighbours.
    """

    # AST-DIFF: the released map is padded with zeros on all sides, and has a seam.
    def __init__(self, dim: int, cells: int, half: bool, *, rngs: nnx.Rngs):
        self.cells, self.half = cells, half
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.code = ProgressiveCode(dim, _CODE, rngs=rngs)
        # Two by two, and as far apart: each texel comes from one cell, by a quarter of the kernel.
        doubling = dict(strides=(2, 2), kernel_init=scaled_normal(4.0), bias_init=nnx.initializers.normal(1.0))
        self.double = nnx.ConvTranspose(_CODE, _CODE, (2, 2), **doubling, rngs=rngs)
        self.middle = convolution(_CODE, _INNER, gain=2.0, rngs=rngs)
        self.last = convolution(_INNER, 3, gain=1.0, rngs=rngs)

    def __call__(
        self, queries: Float[Array, "b q d"], live: int | Array | None = None
    ) -> tuple[Float[Array, "b h w 3"], Float[Array, "b q n"]]:
        """The map and the codes that it comes from, of which so many numbers are live; None: all."""
        codes = self.code(self.norm(queries), live)
        x = self.double(codes.reshape(len(codes), self.cells, self.cells, _CODE))
        x = jax.nn.relu(self.middle(with_border(x, self.half)))
        return self.last(with_border(x, self.half)), codes


class MapTransformerTexture(nnx.Module):
    """sigmoid(map at each texel), bilinear; the map comes from queries that read the picture.

    One query for each cell of a grid over the surface (`ast_jax.model.sphere_map`), with half as many rows as the map,
    and as many columns as rows. The encoder's map is read after one layer of self-attention.

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`.
    Raises:
      ValueError: ``config.map_size`` is odd.
    Source: released AST code, ``texture_uv`` of src/model/ast.py: 32 x 32 queries, a map of 64 x 64.
    """

    reads_camera = False

    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        if config.map_size % 2:
            raise ValueError(f"config.model.texture.map_size={config.map_size}: must be even for map_transformer.")
        self.layout, cells, dim = layout, config.map_size // 2, sizes.dim
        self.map_level = map_index(config.map_level, len(sizes.channels), "texture.map_level")
        self.projection = linear(sizes.channels[self.map_level], dim, rngs=rngs)
        self.token_norm = nnx.LayerNorm(dim, rngs=rngs)
        layer = (dim, sizes.heads, sizes.mlp_ratio)
        # Tokens that read each other as queries read tokens: the layer of an encoder.
        self.encoder = DecoderLayer(*layer, self_attention=False, norm_order=sizes.norm_order, rngs=rngs)
        positions = sphere_points(_middles(cells), layout.symmetric).reshape(-1, 3)
        self.embedding = QueryEmbedding(positions, dim, condition_on_global=config.condition_on_global, rngs=rngs)
        decoder = (dim, sizes.heads, config.layers, sizes.mlp_ratio)
        self.decoder = QueryDecoder(*decoder, norm_order=sizes.norm_order, rngs=rngs)
        self.head = MapHead(dim, cells, layout.symmetric, rngs=rngs)

    def __call__(
        self,
        image,
        encoding: Encoding,
        vertices,
        camera,
        *,
        live: LiveCodes = ALL_LIVE,
        return_attention: bool = False,
    ) -> TextureOutput:
        """See `ast_jax.model.textures.transformer.TextureTransformer`; image, vertices and camera are not looked at.
        ``live.texture`` numbers of each query's code count."""
        queries = self.embedding(encoding.summary)
        tokens = self._tokens(encoding.features[self.map_level])
        outputs, attention = self.decoder(queries, tokens, return_weights=return_attention)
        decoded, codes = self.head(outputs[-1], live.texture)
        values = look_up(decoded, self.layout.points, self.layout.symmetric)
        texels = self.layout.whole(self.layout.texels_of(jax.nn.sigmoid(values)))
        return TextureOutput(FaceTexels(texels), attention, code=codes.reshape(len(codes), -1))

    def _tokens(self, features):
        b, h, w, c = features.shape
        tokens = self.token_norm(self.projection(features.reshape(b, h * w, c)))
        tokens = tokens + jnp.asarray(sine_positions(h, w, tokens.shape[-1]), tokens.dtype)[None]
        return run_block(self.encoder, tokens, tokens, return_weights=False)[0]


def _middles(cells: int) -> Float[np.ndarray, "n n 2"]:
    """The uv of the middle of each cell of a square grid, row by row from the top."""
    along = (np.arange(cells) + 0.5) / cells
    return np.stack(np.meshgrid(along, 1 - along), axis=-1)
