"""Colours that queries gather from the picture itself, wherever in it they are to be found."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.model.layers import Array, linear, sine_positions

_KEY_DIM = 32
# At first a query with a place sees a neighbourhood of this radius; the picture is 2 wide.
_FIRST_REACH = 0.15


class ColourGather(nnx.Module):
    """Attention whose values are the picture's own colours.

    colour_q = sum_l softmax_l(<query_q, key_l> / sqrt(32) - |place_q - place_l|^2 / (2 reach^2)) * colour_l

    The result is a mean of colours that are in the picture, from the first step on. A query with a place looks
    there first; how far it sees beyond is learned, and so is where a face that the camera does not see finds its
    colour. CMR's texture flow points at one place of the picture for every texel; this points at all places,
    with weights, and so needs no image gradient to be learned.

    Args:
      channels: of the feature map whose cells are gathered from.
      dim: of the queries.
      has_places: whether queries come with places.
    """

    # AST-DIFF: the released code decodes colours from query embeddings alone; the paper speaks of gathering
    # colour from the picture, and this does it literally.
    def __init__(self, channels: int, dim: int, *, has_places: bool = False, rngs: nnx.Rngs):
        self.query_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.query = linear(dim, _KEY_DIM, rngs=rngs)
        self.key = linear(channels, _KEY_DIM, rngs=rngs)
        self.position = linear(dim, _KEY_DIM, use_bias=False, rngs=rngs)
        self.log_reach = nnx.Param(jnp.array(math.log(_FIRST_REACH), jnp.float32)) if has_places else None

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        features: Float[Array, "b i j c"],
        image: Float[Array, "b h w 3"],
        places: Float[Array, "b q 2"] | None = None,
    ) -> tuple[Float[Array, "b q 3"], Float[Array, "b 1 q l"]]:
        """Gather.

        Args:
          queries: what each face looks for.
          features: map of the encoder.
          image: RGB in [0, 1].
          places: x to the right and y up in [-1, 1], where each face is in the picture; with ``has_places`` only.
        Returns:
          one colour per query, and the weights over the cells, row by row from the top.
        """
        b, i, j, c = features.shape
        sines = jnp.asarray(sine_positions(i, j, queries.shape[-1]))
        keys = self.key(features.reshape(b, i * j, c)) + self.position(sines)[None]
        scores = jnp.einsum("bqc,blc->bql", self.query(self.query_norm(queries)), keys) * _KEY_DIM**-0.5
        if self.log_reach is not None:
            offsets = places[:, :, None] - jnp.asarray(cell_centres(i, j))[None, None]
            scores = scores - jnp.square(offsets).sum(-1) * jnp.exp(-2 * self.log_reach[...]) / 2
        weights = jax.nn.softmax(scores, axis=-1)
        colours = jax.image.resize(image, (b, i, j, 3), "linear", antialias=True).reshape(b, i * j, 3)
        return jnp.einsum("bql,blc->bqc", weights, colours), weights[:, None]


def cell_centres(height: int, width: int) -> np.ndarray:
    """x to the right and y up in [-1, 1] of every cell of a map, row by row from the top: float32 ``[h * w, 2]``."""
    x = (2 * np.arange(width) + 1) / width - 1
    y = 1 - (2 * np.arange(height) + 1) / height
    return np.stack([np.tile(x, height), np.repeat(y, width)], axis=-1).astype(np.float32)
