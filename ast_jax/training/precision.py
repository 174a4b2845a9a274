"""Mixed precision: parameters stay float32, most of the model computes in bfloat16, losses and renderer in float32."""

import re

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict


def check_pattern(name: str, pattern: str) -> None:
    """Raises a ValueError unless ``pattern`` is a regular expression; ``name`` is what the user calls it."""
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{name}={pattern!r}: not a regular expression ({error}).") from error


def cast_parameters(params: dict, precision: ConfigDict) -> dict:
    """The parameters in the precision that they are computed with; gradients come back in float32.

    Activations take the precision of the parameters that they meet, and the wider of two. Parameters that stay
    float32 are those whose output is a position or a colour: bfloat16 has three digits, a hundredth of a pixel at
    the middle of the picture and half a pixel of 256 at its edge.

    Args:
      params: float32.
      precision: ``config.precision``: ``compute``, and ``keep_float32``, a regular expression for the dotted paths
        of the parameters that stay as they are.
    """
    if precision.compute == "float32":
        return params
    keep = re.compile(precision.keep_float32)

    def cast(path, param):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return param if keep.search(name) else param.astype(jnp.bfloat16)

    return jax.tree_util.tree_map_with_path(cast, params)
