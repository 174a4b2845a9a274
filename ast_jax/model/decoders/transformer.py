"""The decoder of the Shape Transformer: learned queries that read image tokens."""

from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import constrain, run_block
from ast_jax.model.layers import Attention, Mlp, Sizes


class DecoderLayer(nnx.Module):
    """Pre-norm: self-attention of the queries, cross-attention to the tokens, and an MLP on each query."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, *, self_attention: bool, rngs: nnx.Rngs):
        self.self_norm = nnx.LayerNorm(dim, rngs=rngs) if self_attention else None
        self.self_attention = Attention(dim, heads, rngs=rngs) if self_attention else None
        self.cross_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.cross_attention = Attention(dim, heads, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.mlp = Mlp((dim, mlp_ratio * dim, dim), rngs=rngs)

    def __call__(
        self, queries: Float[Array, "b q d"], tokens: Float[Array, "b l d"], *, return_weights: bool
    ) -> tuple[Float[Array, "b q d"], Float[Array, "b n q l"] | None]:
        if self.self_attention is not None:
            normed = self.self_norm(queries)
            queries = queries + self.self_attention(normed, normed)[0]
        read, weights = self.cross_attention(self.cross_norm(queries), tokens, return_weights=return_weights)
        queries = queries + read
        return queries + self.mlp(self.mlp_norm(queries)), weights


class QueryDecoder(nnx.Module):
    """A stack of decoder layers over the tokens of all levels together.

    Args:
      dim: embedding size d.
      heads: attention heads, a divisor of dim.
      layers: how many, >= 1.
      mlp_ratio: hidden size of the MLP over dim.
      self_attention: whether queries also attend to each other; costs q^2.
    Source: Carion et al. 2020 (DETR), appendix A.3, in pre-norm form (Xiong et al. 2020), which needs no
    warm-up.
    """

    # AST-DIFF: the released code is post-norm with one layer whose self-attention has only biases as values
    # (its target starts at zero); here the query embedding itself is the residual stream.
    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        mlp_ratio: int,
        *,
        self_attention: bool = True,
        rngs: nnx.Rngs,
    ):
        if layers < 1:
            raise ValueError(f"layers={layers}: a decoder needs at least one")
        make = (DecoderLayer(dim, heads, mlp_ratio, self_attention=self_attention, rngs=rngs) for _ in range(layers))
        self.layers = nnx.List(make)

    def __call__(
        self, queries: Float[Array, "b q d"], tokens: Float[Array, "b l d"], *, return_weights: bool = False
    ) -> tuple[tuple[Float[Array, "b q d"], ...], tuple[Float[Array, "b n q l"], ...] | None]:
        """Run the stack.

        Args:
          queries: their embeddings, positions included.
          tokens: what they read, positions included.
          return_weights: also give the cross-attention weights; nothing is computed for them otherwise.
        Returns:
          the queries after every layer, and per layer the weights (rows sum to 1 over the tokens) or None.
        """
        outputs, weights = [], []
        for layer in self.layers:
            queries, layer_weights = run_block(layer, queries, tokens, return_weights=return_weights)
            queries = constrain(queries, "batch", "tokens", "embed")
            outputs.append(queries)
            weights.append(layer_weights)
        return tuple(outputs), tuple(weights) if return_weights else None


def make(config, sizes: Sizes, *, rngs: nnx.Rngs) -> QueryDecoder:
    """The decoder of ``config.model.shape``."""
    sizes_of_layers = (sizes.dim, sizes.heads, config.layers, sizes.mlp_ratio)
    return QueryDecoder(*sizes_of_layers, self_attention=config.self_attention, rngs=rngs)
