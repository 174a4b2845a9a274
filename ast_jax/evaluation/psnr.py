"""Peak signal-to-noise ratio of a rendered picture. On the CPU in float64, one value per image."""

import numpy as np
from jaxtyping import Bool, Float

Masks = Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"]


def psnr(
    image: Float[np.ndarray, "b h w c"], target: Float[np.ndarray, "b h w c"], mask: Masks | None = None
) -> Float[np.ndarray, " b"]:
    """Peak signal-to-noise ratio: ``-10 log10 mean((image - target)^2)``.

    Args:
      image: in [0, 1].
      target: in [0, 1].
      mask: weight of each pixel; without it all pixels count.

    Returns:
      decibels per image; infinite for equal images, NaN where the mask is empty.
    """
    squares = np.square(np.asarray(image, np.float64) - target).mean(axis=-1)
    weights = np.ones_like(squares) if mask is None else np.asarray(mask, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10.0 * np.log10((squares * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2)))
