"""The decoder of the Shape Transformer: learned queries that read image tokens."""

from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import constrain, run_block
from ast_jax.model.layers import Attention, Mlp, Sizes


class DecoderLayer(nnx.Module):
    """Self-attention of the queries, cross-attention to the tokens, and an MLP on each query.

    Each part adds to the queries: ``x + part(norm(x))`` in the order ``pre``, ``norm(x + part(x))`` in the order
    ``post``.

    Args:
      dim, heads, mlp_ratio, self_attention: see `QueryDecoder`.
      norm_order: ``pre`` (Xiong et al. 2020) or ``post`` (Vaswani et al. 2017, DETR).
    """

    # AST-DIFF: without the dropout of 0.1 of the released code, so that training and evaluation are one function.
    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: int,
        *,
        self_attention: bool,
        norm_order: str = "pre",
        rngs: nnx.Rngs,
    ):
        self.norm_order = norm_order
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
            x = self._before(self.self_norm, queries)
            queries = self._after(self.self_norm, queries + self.self_attention(x, x)[0])
        x = self._before(self.cross_norm, queries)
        read, weights = self.cross_attention(x, tokens, return_weights=return_weights)
        queries = self._after(self.cross_norm, queries + read)
        answer = self.mlp(self._before(self.mlp_norm, queries))
        return self._after(self.mlp_norm, queries + answer), weights

    def _before(self, norm, x):
        return norm(x) if self.norm_order == "pre" else x

    def _after(self, norm, x):
        return norm(x) if self.norm_order == "post" else x


class QueryDecoder(nnx.Module):
    """A stack of decoder layers over the tokens of all levels together.

    Args:
      dim: embedding size d.
      heads: attention heads, a divisor of dim.
      layers: how many, >= 1.
      mlp_ratio: hidden size of the MLP over dim.
      self_attention: whether queries also attend to each other; costs q^2.
      norm_order: see `DecoderLayer`; the order ``pre`` needs no warm-up (Xiong et al. 2020).
    Source: Carion et al. 2020 (DETR), appendix A.3.
    """

    # AST-DIFF: the self-attention of the released code has only biases as values (its target starts at zero, beside
    # the query embedding); here the query embedding itself is the residual stream.
    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        mlp_ratio: int,
        *,
        self_attention: bool = True,
        norm_order: str = "pre",
        rngs: nnx.Rngs,
    ):
        if layers < 1:
            raise ValueError(f"layers={layers}: a decoder needs at least one")
        options = dict(self_attention=self_attention, norm_order=norm_order, rngs=rngs)
        self.layers = nnx.List([DecoderLayer(dim, heads, mlp_ratio, **options) for _ in range(layers)])

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
    options = dict(self_attention=config.self_attention, norm_order=sizes.norm_order)
    return QueryDecoder(*sizes_of_layers, **options, rngs=rngs)
