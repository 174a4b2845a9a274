"""What queries take from the picture: features round their place, colours from wherever they are to be found."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.layers import linear, sine_positions

_KEY_DIM = 32
# At first a query with a place sees a neighbourhood of this radius; the picture is 2 wide.
_FIRST_REACH = 0.15
_LEAST_COVERAGE = 1e-3


class PictureReader(nnx.Module):
    """Queries read the picture round the place where they are seen now.

    ``read_q = sum_l softmax_l(<query_q, key_l> / sqrt(d) - |place_q - place_l|^2 / (2 reach^2)) value_l``: the
    cross-attention of the paper, with a place for queries and keys.

    Args:
      channels: of the map that is read.
      dim: of queries and of what they read.
    """

    # AST-DIFF: queries of the paper know no place; they all attend to the same cells, and learn nothing from them.
    def __init__(self, channels: int, dim: int, *, rngs: nnx.Rngs):
        self.query, self.key = linear(dim, _KEY_DIM, rngs=rngs), linear(channels, _KEY_DIM, rngs=rngs)
        self.value = linear(channels, dim, rngs=rngs)
        self.log_reach = nnx.Param(jnp.array(math.log(_FIRST_REACH), jnp.float32))

    def __call__(
        self, queries: Float[Array, "b q d"], features: Float[Array, "b i j c"], places: Float[Array, "b q 2"]
    ) -> Float[Array, "b q d"]:
        """Read.

        Args:
          queries: what each looks for.
          features: map of the encoder.
          places: NDC of each query; no gradient flows into them.
        """
        b, i, j, c = features.shape
        cells = features.reshape(b, i * j, c)
        scores = _scores(self.query(queries), self.key(cells), places, (i, j), self.log_reach[...])
        # Dividing after the sum over cells halves the backward pass, see `ast_jax.model.layers.Attention`.
        powers = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        return jnp.einsum("bql,bld->bqd", powers, self.value(cells)) / powers.sum(-1, keepdims=True)


class ColourGather(nnx.Module):
    """Attention whose values are the picture's own colours, wherever in it they are.

    colour_q = sum_l softmax_l(<query_q, key_l> / sqrt(32) - |place_q - place_l|^2 / (2 reach^2) + log coverage_l)
               * colour_l

    The result is a mean of colours of the object, from the first step on, for faces of which the picture shows
    nothing: at first of those round the place behind which the face lies. CMR's texture flow points at one place of
    the picture for every texel; this points at all places, with weights, and so needs no image gradient to be learned.

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
        self.log_reach = nnx.Param(jnp.array(math.log(_FIRST_REACH), jnp.float32))

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        features: Float[Array, "b i j c"],
        image: Float[Array, "b h w k"],
        places: Float[Array, "b q 2"],
    ) -> tuple[Float[Array, "b q 3"], Float[Array, "b 1 q l"]]:
        """Gather.

        Args:
          queries: what each face looks for.
          features: map of the encoder.
          image: RGB in [0, 1]; a fourth channel is the coverage of the object.
          places: NDC of each face; no gradient flows into them.
        Returns:
          one colour per query, and the weights over the cells, row by row from the top.
        """
        b, i, j, c = features.shape
        sines = jnp.asarray(sine_positions(i, j, queries.shape[-1]))
        keys = self.key(features.reshape(b, i * j, c)) + self.position(sines)[None]
        scores = _scores(self.query(self.query_norm(queries)), keys, places, (i, j), self.log_reach[...])
        colours, coverage = _cells(image, (i, j))
        weights = jax.nn.softmax(scores + jnp.log(coverage + _LEAST_COVERAGE)[:, None], axis=-1)
        return jnp.einsum("bql,blc->bqc", weights, colours), weights[:, None]


def _scores(queries, keys, places, shape, log_reach) -> Float[Array, "b q l"]:
    """``<query, key> / sqrt(d) - |place of the query - place of the cell|^2 / (2 reach^2)``."""
    apart = jnp.square(places[:, :, None] - jnp.asarray(cell_centres(*shape))[None, None]).sum(-1)
    return jnp.einsum("bqc,blc->bql", queries, keys) * _KEY_DIM**-0.5 - apart * jnp.exp(-2 * log_reach) / 2


def _cells(image, shape):
    """Mean colour of the object in each cell of a map `[b, l, 3]`, and how much of the cell it covers `[b, l]`."""
    coverage = image[..., 3:] if image.shape[-1] == 4 else jnp.ones_like(image[..., :1])
    parts = jnp.concatenate([image[..., :3] * coverage, coverage], axis=-1)
    parts = jax.image.resize(parts, (len(image), *shape, 4), "linear", antialias=True).reshape(len(image), -1, 4)
    return parts[..., :3] / jnp.maximum(parts[..., 3:], _LEAST_COVERAGE), parts[..., 3]


def cell_centres(height: int, width: int) -> np.ndarray:
    """x to the right and y up in [-1, 1] of every cell of a map, row by row from the top: float32 ``[h * w, 2]``."""
    x = (2 * np.arange(width) + 1) / width - 1
    y = 1 - (2 * np.arange(height) + 1) / height
    return np.stack([np.tile(x, height), np.repeat(y, width)], axis=-1).astype(np.float32)
