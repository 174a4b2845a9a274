"""Queries that read the mean of all tokens."""

from flax import nnx

from ast_jax.model.layers import Mlp, Sizes


class MeanDecoder(nnx.Module):
    """One MLP for each step."""

    def __init__(self, steps: int, dim: int, *, rngs: nnx.Rngs):
        self.steps = nnx.List([Mlp((dim, dim, dim), rngs=rngs) for _ in range(steps)])

    def __call__(self, queries, tokens, *, return_weights: bool = False):
        outputs = []
        for step in self.steps:
            queries = queries + step(queries + tokens.mean(1, keepdims=True))
            outputs.append(queries)
        return tuple(outputs), None


def make(config, sizes: Sizes, *, rngs: nnx.Rngs) -> MeanDecoder:
    """The decoder of ``config.model.shape``."""
    return MeanDecoder(config.layers, sizes.dim, rngs=rngs)
