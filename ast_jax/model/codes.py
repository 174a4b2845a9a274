"""Codes of a picture of which only the first numbers are live: progressive conditioning."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import named
from ast_jax.model.layers import Mlp, linear, scaled_normal


class LiveCodes(NamedTuple):
    """How much of what describes a picture is live; a training stage says it, and everything is where nobody does.

    Args:
      shape, texture, background: numbers of each code that are live, from the first on; None: all.
      scale: factor on the predicted stretch of the shape, 0 or 1; None: 1.
    """

    shape: int | Array | None = None
    texture: int | Array | None = None
    background: int | Array | None = None
    scale: float | Array | None = None


ALL_LIVE = LiveCodes()


def first_entries(code: Float[Array, "*b n"], live: int | Array | None) -> Float[Array, "*b n"]:
    """The code with zeros behind its first ``live`` numbers, which then get no gradient; None: the code itself."""
    return code if live is None else jnp.where(jnp.arange(code.shape[-1]) < live, code, jnp.zeros_like(code))


class ProgressiveCode(nnx.Module):
    """A code by an MLP of three layers on a vector; zero at first, so that a number is zero until it has been live.

    Args:
      dim: embedding size d.
      size: numbers n of the code.
    Source: Monnier et al., Unicorn, ECCV 2022, progressive conditioning.
    """

    def __init__(self, dim: int, size: int, *, rngs: nnx.Rngs):
        self.regressor = Mlp((dim, dim, dim, dim, size), zero_last=True, rngs=rngs)

    def __call__(self, vector: Float[Array, "*b d"], live: int | Array | None = None) -> Float[Array, "*b n"]:
        """The code of which the first ``live`` numbers are not zero; None: all."""
        return first_entries(self.regressor(vector), live)


class CodeEmbedding(nnx.Module):
    """``constant + linear(code)``: what a decoder starts from. The learned constant is what all pictures share.

    A decoder of convolutions has no slope at a code of zeros, nor anything to tell at a code without a live number.

    Args:
      size: numbers n of the code.
      dim: embedding size d.
    """

    def __init__(self, size: int, dim: int, *, rngs: nnx.Rngs):
        self.constant = nnx.Param(scaled_normal(1.0)(rngs.params(), (1, dim)), **named("one", "embed"))
        self.linear = linear(size, dim, use_bias=False, rngs=rngs)

    def __call__(self, code: Float[Array, "b n"]) -> Float[jax.Array, "b d"]:
        return self.constant[...] + self.linear(code)
