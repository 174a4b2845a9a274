"""What lets shape queries read the picture's tokens, one file each; a new one gets a line in ``DECODERS``.

A line names ``make(config, sizes, *, rngs)``: from ``config.model.shape`` and `ast_jax.model.layers.Sizes` to a module
that is called as `ast_jax.model.decoders.transformer.QueryDecoder` is, and answers the queries after each of
``config.layers`` steps. None: nothing reads tokens, and the shape is what the MLP or the field on the summary says.
"""

from collections.abc import Callable

from flax import nnx

from ast_jax.model.decoders import transformer

DECODERS: dict[str, Callable[..., nnx.Module] | None] = {"transformer": transformer.make, "mlp": None, "field": None}
