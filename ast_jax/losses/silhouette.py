"""Terms that compare a rendered soft silhouette with a mask. All are per image; the caller averages."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.flow import outside_barrier
from ast_jax.losses.term import Term

# Probabilities are kept this far from 0 and 1 before the logarithm (released AST code).
_BCE_CLAMP = 1e-7
# Added to both sides of the ratio in the released AST code, pixels.
_AST_SMOOTHING = 1.0


def iou_loss(alpha: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """Soft intersection over union of silhouette and mask.

    ``1 - sum(alpha * mask) / sum(alpha + mask - alpha * mask)``; 0 where both are empty.

    Args:
      alpha: rendered coverage in [0, 1].
      mask: target in [0, 1]; it may be empty.

    Returns:
      one value in [0, 1] per image. An empty mask gives no gradient.

    Source: Liu et al., Soft Rasterizer, ICCV 2019, eq. 6 of the supplement (as in NMR, CVPR 2018).
    """
    intersection, union = _intersection_and_union(alpha, mask)
    both_empty = union <= 0.0
    return jnp.where(both_empty, 0.0, 1.0 - intersection / jnp.where(both_empty, 1.0, union))


def mse_mask_loss(alpha: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """Mean squared difference of silhouette and mask: ``mean((alpha - mask)^2)``.

    Args:
      alpha: rendered coverage in [0, 1].
      mask: target in [0, 1].

    Returns:
      one value in [0, 1] per image.

    Source: Kanazawa et al., CMR, ECCV 2018, mask loss.
    """
    return jnp.square(alpha - mask).mean(axis=(1, 2))


def mask_barrier_loss(alpha: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """What is drawn far from the mask: ``mean(alpha * D)`` with the barrier D of `outside_barrier`.

    Unlike the squares of `mse_mask_loss` it tells how far away a silhouette is that misses the mask.

    Args:
      alpha: rendered coverage in [0, 1].
      mask: target in [0, 1]; a pixel counts above 0.5.

    Returns:
      one value in [0, 1] per image.

    Source: Goel et al., U-CMR, ECCV 2020, mask loss.
    """
    return (alpha * outside_barrier(mask)).mean(axis=(1, 2))


def bce_iou_loss(alpha: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """Binary cross entropy plus a smoothed soft IoU.

    ``mean(-mask log a - (1 - mask) log(1 - a)) + 1 - (I + 1) / (U + 1)`` with a = alpha kept within
    [1e-7, 1 - 1e-7], I = sum(alpha * mask), U = sum(alpha + mask) - I, sums in pixels.

    Args:
      alpha: rendered coverage in [0, 1].
      mask: target in [0, 1]; it may be empty.

    Returns:
      one value >= 0 per image.

    Source: released AST code (silhouette and saliency term).
    """
    clamped = jnp.clip(alpha, _BCE_CLAMP, 1.0 - _BCE_CLAMP)
    cross_entropy = -(mask * jnp.log(clamped) + (1.0 - mask) * jnp.log1p(-clamped)).mean(axis=(1, 2))
    intersection, union = _intersection_and_union(alpha, mask)
    return cross_entropy + 1.0 - (intersection + _AST_SMOOTHING) / (union + _AST_SMOOTHING)


def _intersection_and_union(alpha, mask):
    """Soft pixel counts of each image."""
    product = alpha * mask
    return product.sum(axis=(1, 2)), (alpha + mask - product).sum(axis=(1, 2))


TERMS = (
    Term("iou", lambda seen: iou_loss(seen.alpha, seen.mask)),
    Term("mask_mse", lambda seen: mse_mask_loss(seen.alpha, seen.mask)),
    Term("mask_barrier", lambda seen: mask_barrier_loss(seen.alpha, seen.mask)),
    Term("bce_iou", lambda seen: bce_iou_loss(seen.alpha, seen.mask)),
)
