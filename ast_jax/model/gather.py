"""Colours that queries gather from the picture itself, wherever in it they are to be found."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.model.layers import Array, linear, sine_positions

_KEY_DIM = 32


class ColourGather(nnx.Module):
    """Attention whose values are the picture's own colours.

    colour_q = sum_l softmax_l(<query_q, key_l> / sqrt(32)) * colour_l

    The result is a mean of colours that are in the picture, from the first step on; a face that the camera does
    not see can take the colour of one that it does. CMR's texture flow points at one place of the picture for
    every texel; this points at all places, with weights, and so needs no image gradient to be learned.

    Args:
      channels: of the feature map whose cells are gathered from.
      dim: of the queries.
    """

    # AST-DIFF: the released code decodes colours from query embeddings alone; the paper speaks of gathering
    # colour from the picture, and this does it literally.
    def __init__(self, channels: int, dim: int, *, rngs: nnx.Rngs):
        self.query_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.query = linear(dim, _KEY_DIM, rngs=rngs)
        self.key = linear(channels, _KEY_DIM, rngs=rngs)
        self.position = linear(dim, _KEY_DIM, use_bias=False, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        features: Float[Array, "b i j c"],
        image: Float[Array, "b h w 3"],
    ) -> tuple[Float[Array, "b q 3"], Float[Array, "b 1 q l"]]:
        """Gather.

        Args:
          queries: what each face looks for.
          features: map of the encoder.
          image: RGB in [0, 1].
        Returns:
          one colour per query, and the weights over the cells, row by row from the top.
        """
        b, i, j, c = features.shape
        places = jnp.asarray(sine_positions(i, j, queries.shape[-1]))
        keys = self.key(features.reshape(b, i * j, c)) + self.position(places)[None]
        scores = jnp.einsum("bqc,blc->bql", self.query(self.query_norm(queries)), keys) * _KEY_DIM**-0.5
        weights = jax.nn.softmax(scores, axis=-1)
        colours = jax.image.resize(image, (b, i, j, 3), "linear", antialias=True).reshape(b, i * j, 3)
        return jnp.einsum("bql,blc->bqc", weights, colours), weights[:, None]
