"""Pictures that are drawn in one colour now and then, so that what shapes can tell is learned by shapes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from ast_jax.arrays import Array
from ast_jax.prediction import Prediction


def with_mean_texture(prediction: Prediction, is_plain: Bool[Array, " b"]) -> Prediction:
    """Some pictures' textures are the mean of their colours, on the whole surface.

    Args:
      prediction: with a texture; without one it stays as it is.
      is_plain: which pictures.

    Source: Monnier et al., Unicorn, ECCV 2022, released code, which draws once for a batch and takes the mean of one
      texel in each of a fifth of the rows of its map.
    """
    if prediction.texture is None:
        return prediction

    def averaged(colours):
        mean = colours.mean(axis=tuple(range(1, colours.ndim - 1)), keepdims=True)
        return jnp.where(is_plain.reshape(-1, *[1] * (colours.ndim - 1)), mean, colours)

    return replace(prediction, texture=jax.tree.map(averaged, prediction.texture))
