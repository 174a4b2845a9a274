"""Percentage of correct key points, by reprojection into the same picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

# Kanazawa et al., CMR, ECCV 2018.
THRESHOLDS = (0.10, 0.15)


def pck(
    predicted_ndc: Float[np.ndarray, "b p 2"],
    target: Float[np.ndarray, "b p 3"],
    masks: Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"],
    thresholds: Sequence[float] = THRESHOLDS,
) -> Float[np.ndarray, "k"]:
    """Share of visible key points whose error is at most a fraction of the size of the object in the picture.

    ``mean_p mean_{b: visible} [ |predicted - target| <= threshold * side_b ]`` in pixels, with side_b the
    longer side of the bounding box of the mask. Key points that are visible nowhere do not count.

    Args:
      predicted_ndc: projected key points, NDC.
      target: x, y in NDC and visible (0 or 1).
      masks: of the object; pixels above one half are inside.
      thresholds: fractions of the side of the bounding box.

    Returns:
      one share in [0, 1] per threshold; NaN if no key point is visible at all.

    Raises:
      ValueError: a mask is empty, so the object has no size.

    Source: Kanazawa et al., CMR, ECCV 2018, section 4.2 and released code. AST and Unicorn print another
      measure: key points transferred between pictures, as a fraction of the crop.
    """
    height, width = masks.shape[1:]
    half_size_px = np.array([width, height], np.float64) / 2.0
    error_px = np.linalg.norm((predicted_ndc - target[..., :2]) * half_size_px, axis=-1)
    visible = target[..., 2] > 0.5
    seen = visible.any(axis=0)
    if not seen.any():
        return np.full(len(thresholds), np.nan)
    relative = error_px / _box_sides_px(masks)[:, None]
    correct = [np.where(visible, relative <= threshold, False).sum(axis=0) for threshold in thresholds]
    return np.array([(c[seen] / visible.sum(axis=0)[seen]).mean() for c in correct])


def _box_sides_px(masks: np.ndarray) -> np.ndarray:
    """The longer side of the bounding box of each mask."""
    sides = []
    for index, mask in enumerate(masks):
        rows, columns = np.nonzero(mask > 0.5)
        if not len(rows):
            raise ValueError(f"masks: number {index} is empty, so the size of its object is unknown.")
        sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
    return np.array(sides, np.float64)
