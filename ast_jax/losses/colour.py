"""Terms that compare a rendered picture with the target, pixel by pixel. All are per image."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import TEXTURE, Seen, Term


def l1_loss(
    rgb: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    mask: Float[Array, "b h w"] | None = None,
) -> Float[jax.Array, " b"]:
    """Mean absolute difference: ``mean(|rgb - target|)``.

    Args:
      rgb: rendered picture in [0, 1] over a background.
      target: photograph in [0, 1] over the same background.
      mask: weight of each pixel in [0, 1]; the mean is then over the weighted pixels, 0 where there are none.

    Returns:
      one value in [0, 1] per image.

    Source: Chen et al., DIB-R, NeurIPS 2019, eq. 7.
    """
    return _mean_over_pixels(jnp.abs(rgb - target), mask)


def mse_loss(
    rgb: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    mask: Float[Array, "b h w"] | None = None,
) -> Float[jax.Array, " b"]:
    """Mean squared difference: ``mean((rgb - target)^2)``.

    Args:
      rgb: rendered picture in [0, 1] over a background.
      target: photograph in [0, 1] over the same background.
      mask: weight of each pixel in [0, 1]; the mean is then over the weighted pixels, 0 where there are none.

    Returns:
      one value in [0, 1] per image.

    Source: released AST code; Monnier et al., Unicorn, ECCV 2022.
    """
    return _mean_over_pixels(jnp.square(rgb - target), mask)


def _mean_over_pixels(error, mask):
    """Mean over pixels and channels, weighted by the mask if there is one."""
    per_pixel = error.mean(axis=-1)
    if mask is None:
        return per_pixel.mean(axis=(1, 2))
    area = mask.sum(axis=(1, 2))
    return (per_pixel * mask).sum(axis=(1, 2)) / jnp.where(area > 0.0, area, 1.0)


def masked_mse(seen: Seen) -> Float[jax.Array, " n"]:
    """``mean((rgb * alpha - target * mask)^2)`` of rendering and view: what only one of them covers counts, too.

    Source: released AST code.
    """
    return mse_loss(*seen.cut_out)


TERMS = (
    Term("l1", lambda seen: l1_loss(seen.rgb, seen.target), TEXTURE),
    Term("mse", lambda seen: mse_loss(seen.rgb, seen.target), TEXTURE),
    Term("masked_mse", masked_mse, TEXTURE),
)
