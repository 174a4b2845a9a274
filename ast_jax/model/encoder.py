"""Image -> tokens for the decoders, and one vector for the whole picture."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import constrain, named
from ast_jax.model.backbones import BACKBONES
from ast_jax.model.layers import EMBEDDING_DEVIATION, linear, scaled_normal, sine_positions
from ast_jax.near_match import choose

_SUMMARY_GRID = 4  # CMR (Kanazawa et al. 2018) also keeps a 4 x 4 layout in front of its linear layer


class Encoding(NamedTuple):
    """What the branches read: tokens, a summary of the whole picture, and the backbone's maps, finest first.

    ``mirrored`` is the summary of the mirror image, where it was asked for.
    """

    tokens: Float[Array, "b l d"]
    summary: Float[Array, "b d"]
    features: tuple[Float[Array, "b _ _ _"], ...]
    mirrored: Float[Array, "b d"] | None = None


class ImageEncoder(nnx.Module):
    """Backbone, then tokens of several scales with 2-D sine positions and a level embedding, and a summary.

    Args:
      config: ``config.model.encoder``; see `ast_jax.config.model.EncoderConfig`.
      dim: embedding size d.
      has_tokens: whether anything reads tokens; otherwise there are none.

    Raises:
      ValueError: an unknown backbone, or weights that do not exist or do not fit.
    """

    def __init__(self, config, dim: int, *, has_tokens: bool = True, rngs: nnx.Rngs):
        make = BACKBONES[choose("config.model.encoder.name", config.name, BACKBONES)]
        self.backbone = make(config, rngs=rngs)
        self.input_size = config.input_size
        channels = self.backbone.channels
        levels = config.token_levels if has_tokens else ()
        self.levels = tuple(map_index(level, len(channels)) for level in levels)
        self.projections = nnx.List([linear(channels[level], dim, rngs=rngs) for level in self.levels])
        self.norms = nnx.List([nnx.LayerNorm(dim, rngs=rngs) for _ in self.levels])
        count = len(self.levels)
        init = scaled_normal(count * EMBEDDING_DEVIATION**2)
        axes = named("levels", "embed")
        self.level_embedding = nnx.Param(init(rngs.params(), (count, dim)), **axes) if count else None
        self.pool = config.pool
        cells = _SUMMARY_GRID**2 if self.pool == "grid" else 1
        self.summary = linear(cells * channels[-1], dim, rngs=rngs)
        self.summary_norm = nnx.LayerNorm(dim, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> Encoding:
        """Encode a picture.

        Args:
          image: RGB in [0, 1].
        Returns:
          tokens, level after level in the order of ``token_levels``, each row by row from the top; the
          summary; the maps that both were made of.
        """
        # The picture takes the precision of the weights: they are bfloat16 where training says so.
        image = image.astype(jax.tree.leaves(nnx.state(self.backbone))[0].dtype)
        features = self.backbone(constrain(self._resize(image), "encoder_batch", "height", "width", "channels"))
        tokens = [jnp.zeros((len(image), 0, self.summary.out_features), image.dtype)]
        for i, level in enumerate(self.levels):
            b, h, w, c = features[level].shape
            projected = self.norms[i](self.projections[i](features[level].reshape(b, h * w, c)))
            position = jnp.asarray(sine_positions(h, w, projected.shape[-1]), projected.dtype)
            tokens.append(projected + position[None] + self.level_embedding[...][i][None, None])
        summary = self.summary_norm(self.summary(self._pool(features[-1])))
        return Encoding(
            constrain(jnp.concatenate(tokens, axis=1), "batch", "tokens", "embed"),
            constrain(summary, "batch", "embed"),
            tuple(features),
        )

    def token_grids(self, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level's tokens for a picture of that (height, width)."""
        image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
        features = jax.eval_shape(lambda x: self.backbone(self._resize(x)), image)
        return tuple(features[level].shape[1:3] for level in self.levels)

    def _resize(self, image):
        if not self.input_size or image.shape[1:3] == (self.input_size, self.input_size):
            return image
        return jax.image.resize(image, (len(image), self.input_size, self.input_size, 3), "bilinear")

    def _pool(self, features):
        """Mean over all cells, or over each of 4 x 4 regions where the layout shall survive."""
        if self.pool == "mean":
            return features.mean((1, 2))
        b, h, w, c = features.shape
        if (h, w) != (_SUMMARY_GRID, _SUMMARY_GRID):
            features = jax.image.resize(features, (b, _SUMMARY_GRID, _SUMMARY_GRID, c), "bilinear")
        return features.reshape(b, -1)


def map_index(level: int, count: int, name: str = "encoder.token_levels") -> int:
    """The feature map counted from the finest (0, 1, ...) or from the coarsest (-1, -2, ...)."""
    if not -count <= level < count:
        raise ValueError(f"{name} has {level}, but the encoder gives {count} feature maps")
    return level % count
