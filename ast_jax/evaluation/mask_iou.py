"""Intersection over union of silhouettes: hard at a threshold as AST and Unicorn, or soft as CMR and UMR."""

import numpy as np
from jaxtyping import Bool, Float

Masks = Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"]


def mask_iou(alpha: Masks, mask: Masks, threshold: float | None = 0.5) -> Float[np.ndarray, " b"]:
    """Intersection over union of two masks; 1 if both are empty.

    ``|a and m| / |a or m|`` of the pixels above the threshold, as in AST; without a threshold the soft
    ``sum(a * m) / sum(a + m - a * m)`` of CMR.

    Args:
      alpha: predicted coverage in [0, 1], or hard.
      mask: the truth, likewise.
      threshold: in [0, 1], or None for the soft measure.

    Returns:
      one value in [0, 1] per image.

    Source: released AST code; Kanazawa et al., CMR, ECCV 2018.
    """
    if threshold is not None:
        alpha, mask = alpha > threshold, mask > threshold
    alpha, mask = np.asarray(alpha, np.float64), np.asarray(mask, np.float64)
    intersection = (alpha * mask).sum(axis=(1, 2))
    union = (alpha + mask).sum(axis=(1, 2)) - intersection
    return np.where(union > 0.0, intersection / np.where(union > 0.0, union, 1.0), 1.0)
