"""Both forms of SSIM against loops over windows and values of scikit-image."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from ast_jax.evaluation.psnr import psnr
from ast_jax.evaluation.ssim import ssim, ssim_uniform


def _waves(phase):
    """A smooth picture of 24 x 20 pixels."""
    y, x = np.mgrid[:24, :20] / 20.0
    return np.stack([0.5 + 0.5 * np.sin(9 * x * (c + 1) + phase + 5 * y * y) for c in range(3)], -1)


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


@pytest.mark.parametrize("shape", [(24, 20), (7, 9)])
def test_uniform_form_equals_the_formula_of_scikit_image(shape):
    """Bytes, data range 255, 3 channels: means by a box filter over the whole picture, its border of 3 px cut off."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (2, 2, *shape, 3)).astype(np.uint8)
    y = (0.6 * x + 0.4 * y).astype(np.uint8)
    expected = []
    for first, second in zip(x.astype(float), y.astype(float)):
        channels = []
        for p, q in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)):
            u, v = uniform_filter(p, 7), uniform_filter(q, 7)
            pp, qq, pq = (49 / 48 * (uniform_filter(a * b, 7) - m * n) for a, b, m, n in
                          ((p, p, u, u), (q, q, v, v), (p, q, u, v)))  # fmt: skip
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            score = (2 * u * v + c1) * (2 * pq + c2) / ((u * u + v * v + c1) * (pp + qq + c2))
            channels.append(score[3:-3, 3:-3].mean())
        expected.append(np.mean(channels))
    np.testing.assert_allclose(ssim_uniform(x / 255, y / 255), expected, rtol=1e-9)


def test_uniform_form_equals_loops_and_is_not_the_other():
    rng = np.random.default_rng(4)
    x, y = rng.random((2, 1, 12, 13, 1))
    values = []
    for row in range(6):
        for column in range(7):
            p, q = x[0, row : row + 7, column : column + 7, 0], y[0, row : row + 7, column : column + 7, 0]
            cov = np.cov(p.ravel(), q.ravel())  # of the sample
            luminance = (2 * p.mean() * q.mean() + 1e-4) / (p.mean() ** 2 + q.mean() ** 2 + 1e-4)
            values.append(luminance * (2 * cov[0, 1] + 9e-4) / (cov[0, 0] + cov[1, 1] + 9e-4))
    np.testing.assert_allclose(ssim_uniform(x, y), [np.mean(values)], rtol=1e-9)
    assert abs(ssim_uniform(x, y) - ssim(x, y)) > 0.01
    with pytest.raises(ValueError, match="at least 7 pixels"):
        ssim_uniform(np.zeros((1, 6, 20, 3)), np.zeros((1, 6, 20, 3)))
