"""How close a rendered picture is to a photograph. All on the CPU in float64, one value per image."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import correlate1d

Masks = Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"]

# Wang et al., IEEE TIP 2004: 11 x 11 Gaussian window of 1.5 px, K1 = 0.01, K2 = 0.03.
_SSIM_SIGMA_PX = 1.5
_SSIM_RADIUS_PX = 5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


def mask_iou(alpha: Masks, mask: Masks, threshold: float | None = 0.5) -> Float[np.ndarray, "b"]:
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


def psnr(
    image: Float[np.ndarray, "b h w c"], target: Float[np.ndarray, "b h w c"], mask: Masks | None = None
) -> Float[np.ndarray, "b"]:
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


def ssim(image: Float[np.ndarray, "b h w c"], target: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b"]:
    """Structural similarity, mean over channels and over the windows that lie inside the image.

    ``(2 m_x m_y + c1) (2 s_xy + c2) / ((m_x^2 + m_y^2 + c1) (s_x^2 + s_y^2 + c2))`` with the means, variances
    and covariance of a Gaussian window of 11 x 11 pixels, c1 = 0.01^2, c2 = 0.03^2.

    Args:
      image: in [0, 1], at least 11 pixels a side.
      target: in [0, 1].

    Returns:
      one value in [-1, 1] per image.

    Raises:
      ValueError: the images are smaller than the window.

    Source: Wang et al., Image quality assessment, IEEE TIP 2004.
    """
    if min(image.shape[1:3]) <= 2 * _SSIM_RADIUS_PX:
        raise ValueError(f"image: SSIM needs at least {2 * _SSIM_RADIUS_PX + 1} pixels, got {image.shape[1:3]}.")
    x, y = np.asarray(image, np.float64), np.asarray(target, np.float64)
    mean_x, mean_y = _gaussian_mean(x), _gaussian_mean(y)
    variance_x = _gaussian_mean(x * x) - mean_x**2
    variance_y = _gaussian_mean(y * y) - mean_y**2
    covariance = _gaussian_mean(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2.0 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(axis=(1, 2, 3))


def _gaussian_mean(images: np.ndarray) -> np.ndarray:
    """Gaussian window means, where the window lies inside the image."""
    offsets = np.arange(-_SSIM_RADIUS_PX, _SSIM_RADIUS_PX + 1)
    window = np.exp(-0.5 * (offsets / _SSIM_SIGMA_PX) ** 2)
    window /= window.sum()
    for axis in (1, 2):
        images = correlate1d(images, window, axis=axis)
    inside = slice(_SSIM_RADIUS_PX, -_SSIM_RADIUS_PX)
    return images[:, inside, inside]
