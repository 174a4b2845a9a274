"""Image metrics against loops over windows and values of scikit-image."""

import numpy as np
import pytest

from ast_jax.evaluation.image2d import mask_iou, psnr, ssim


def _waves(phase):
    """A smooth picture of 24 x 20 pixels."""
    y, x = np.mgrid[:24, :20] / 20.0
    return np.stack([0.5 + 0.5 * np.sin(9 * x * (c + 1) + phase + 5 * y * y) for c in range(3)], -1)


def test_mask_iou_by_hand():
    alpha = np.array([[[0.9, 0.6], [0.2, 0.0]]])
    mask = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(mask_iou(alpha, mask), [1 / 3])
    # Soft: 1.1 over 0.9 + 0.6 + 0.2 + 2 - 1.1.
    np.testing.assert_allclose(mask_iou(alpha, mask, threshold=None), [1.1 / 2.6])


def test_mask_iou_of_boolean_and_empty_masks():
    empty, full = np.zeros((1, 2, 2), bool), np.ones((1, 2, 2), bool)
    assert mask_iou(empty, empty) == 1.0 and mask_iou(full, full) == 1.0 and mask_iou(full, empty) == 0.0


def test_psnr_by_hand():
    target = np.full((2, 2, 2, 3), 0.5)
    image = target.copy()
    image[0] += 0.1
    np.testing.assert_allclose(psnr(image, target), [20.0, np.inf])
    image[0, 0] = 0.9  # outside the mask
    mask = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(psnr(image, target, mask.astype(float)), [20.0, np.nan])


@pytest.mark.parametrize(
    "phases, expected_ssim, expected_psnr",
    [((0, 0.3), 0.9434740892200315, 19.54897334849707), ((1, 3), -0.36523567530950735, 4.469030099986753)],
)
def test_values_of_scikit_image(phases, expected_ssim, expected_psnr):
    """Constants: scikit-image 0.26.0, Gaussian weights, sigma 1.5, population covariance, data range 1."""
    a, b = (_waves(phase)[None] for phase in phases)
    np.testing.assert_allclose(ssim(a, b), [expected_ssim], rtol=1e-6)
    np.testing.assert_allclose(psnr(a, b), [expected_psnr], rtol=1e-9)


def test_ssim_equals_loops_over_windows():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 1, 13, 12, 1))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(5, 8):
        for column in range(5, 7):
            patch = (0, slice(row - 5, row + 6), slice(column - 5, column + 6), 0)
            p, q = x[patch], y[patch]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            cov = (window * (p - mean_p) * (q - mean_q)).sum()
            luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
            values.append(luminance * (2 * cov + 9e-4) / (var_p + var_q + 9e-4))
    np.testing.assert_allclose(ssim(x, y), [np.mean(values)], rtol=1e-9)


def test_ssim_of_equal_and_of_small_pictures():
    image = _waves(0)[None]
    np.testing.assert_allclose(ssim(image, image), [1.0])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(np.zeros((1, 10, 20, 3)), np.zeros((1, 10, 20, 3)))
