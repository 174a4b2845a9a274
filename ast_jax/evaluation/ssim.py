"""Structural similarity in the two forms that papers print under this one name. On the CPU in float64.

| function | of | window | covariance |
|---|---|---|---|
| `ssim` | Wang et al. and most papers | Gaussian of 1.5 px, 11 x 11 | of the population |
| `ssim_uniform` | scikit-image's default, and so AST's code | uniform, 7 x 7 | of the sample |
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.ndimage import correlate1d

# Wang et al., IEEE TIP 2004: 11 x 11 Gaussian window of 1.5 px, K1 = 0.01, K2 = 0.03.
_SIGMA_PX = 1.5
_RADIUS_PX = 5
SMALLEST = 2 * _RADIUS_PX + 1  # side of the pictures that `ssim` can tell of, px
_K1, _K2 = 0.01, 0.03
# scikit-image, `structural_similarity`: default side of the uniform window.
_UNIFORM_RADIUS_PX = 3


def ssim(image: Float[np.ndarray, "b h w c"], target: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
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
    offsets = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
    window = np.exp(-0.5 * (offsets / _SIGMA_PX) ** 2)
    return _ssim(image, target, window / window.sum(), sample_covariance=False)


def ssim_uniform(image: Float[np.ndarray, "b h w c"], target: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """As `ssim`, with a uniform window of 7 x 7 pixels, whose variances are divided by 48 and not by 49.

    Args:
      image: in [0, 1], at least 7 pixels a side. AST's code rounds pictures down to bytes first, so that its value
        is that of multiples of 1/255.
      target: in [0, 1].

    Returns:
      one value in [-1, 1] per image.

    Raises:
      ValueError: the images are smaller than the window.

    Source: defaults of scikit-image's ``structural_similarity``, as the released AST code calls it.
    """
    side = 2 * _UNIFORM_RADIUS_PX + 1
    return _ssim(image, target, np.full(side, 1.0 / side), sample_covariance=True)


def _ssim(image, target, window: np.ndarray, *, sample_covariance: bool) -> np.ndarray:
    if min(image.shape[1:3]) < len(window):
        raise ValueError(f"image: SSIM needs at least {len(window)} pixels, got {image.shape[1:3]}.")
    mean = _window_mean(window)
    x, y = np.asarray(image, np.float64), np.asarray(target, np.float64)
    mean_x, mean_y = mean(x), mean(y)
    count = len(window) ** 2
    scale = count / (count - 1) if sample_covariance else 1.0
    variance_x, variance_y = scale * (mean(x * x) - mean_x**2), scale * (mean(y * y) - mean_y**2)
    covariance = scale * (mean(x * y) - mean_x * mean_y)
    c1, c2 = _K1**2, _K2**2
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2.0 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(axis=(1, 2, 3))


def _window_mean(window: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Weighted means of the windows that lie inside the image."""
    radius = len(window) // 2
    inside = slice(radius, -radius)

    def mean(images: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            images = correlate1d(images, window, axis=axis)
        return images[:, inside, inside]

    return mean
