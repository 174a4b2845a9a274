"""The term that teaches a model where in the picture the object is."""

import jax
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.silhouette import bce_iou_loss
from ast_jax.losses.term import SALIENCY, Seen, Term


def saliency_loss(saliency: Float[Array, "b i j"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """`bce_iou_loss` of what is told of each cell and the mask, at the resolution of the former.

    Args:
      saliency: probability of each cell to show the object.
      mask: of the object in the same picture; it is resized, bilinear and antialiased, if need be.

    Returns:
      one value >= 0 per image.

    Source: released AST code.
    """
    return bce_iou_loss(saliency, jax.image.resize(mask, saliency.shape, "linear"))


def _saliency(seen: Seen) -> Float[jax.Array, " b"]:
    return saliency_loss(seen.prediction.saliency, seen.input_mask)


TERMS = (Term("saliency", _saliency, SALIENCY, phases=("shape",)),)
