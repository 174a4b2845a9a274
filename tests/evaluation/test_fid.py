"""FID against the formula with scipy's matrix root and analytic Gaussians; KID against loops."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ast_jax.evaluation.fid import fid, kid, squared_mmd


def _features(num, size, seed, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, size)) @ rng.normal(size=(size, size)) * scale + shift


@pytest.mark.parametrize("num_a, num_b", [(60, 45), (60, 7), (5, 9)])
def test_fid_equals_the_formula_with_a_matrix_root(num_a, num_b):
    """With fewer pictures than features too, where the covariances are singular."""
    a, b = _features(num_a, 10, 0), _features(num_b, 10, 1, 0.7, 0.3)
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(first @ second))
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(first + second - 2.0 * root)
    # scipy's root of a singular matrix is good to the square root of the precision only.
    np.testing.assert_allclose(fid(a, b), expected, rtol=1e-9 if num_b > 10 else 1e-5)


def test_fid_of_gaussians_by_hand():
    """Samples stretched to exact moments: along the axes, standard deviations 1 and 3 against 2 and 0.5."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T)).T)
    a, b = x * [1.0, 3.0] + [0.0, 1.0], x[::-1] * [2.0, 0.5] + [2.0, 0.0]
    np.testing.assert_allclose(fid(a, b), 2.0**2 + 1.0**2 + (1 - 2) ** 2 + (3 - 0.5) ** 2, rtol=1e-9)
    np.testing.assert_allclose(fid(a, a[::-1]), 0.0, atol=1e-9)


def test_mmd_equals_loops():
    a, b = _features(6, 4, 0), _features(5, 4, 1)

    def kernel(x, y):
        return (sum(x * y) / 4 + 1) ** 3

    one = sum(kernel(a[i], a[j]) for i in range(6) for j in range(6) if i != j) / 30
    two = sum(kernel(b[i], b[j]) for i in range(5) for j in range(5) if i != j) / 20
    mixed = sum(kernel(x, y) for x in a for y in b) / 30
    np.testing.assert_allclose(squared_mmd(a, b), one + two - 2 * mixed, rtol=1e-12)


def test_kid_is_unbiased_and_repeats():
    rng = np.random.default_rng(0)
    same = [squared_mmd(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20.0
    a, b = rng.normal(size=(80, 8)), rng.normal(size=(90, 8)) + 0.5
    mean, deviation = kid(a, b, num_subsets=30, subset_size=40)
    assert (mean, deviation) == kid(a, b, num_subsets=30, subset_size=40)
    assert mean > 5 * np.std(same) and deviation > 0.0
    np.testing.assert_allclose(mean, squared_mmd(a, b), rtol=0.2)


def test_kid_of_small_sets_takes_all():
    a, b = _features(6, 4, 0), _features(6, 4, 1)
    mean, deviation = kid(a, b, num_subsets=3)
    np.testing.assert_allclose([mean, deviation], [squared_mmd(a, b), 0.0], atol=1e-9)


def test_clear_errors():
    with pytest.raises(ValueError, match="at least two rows each"):
        fid(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="equally long"):
        kid(np.zeros((3, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="not finite"):
        fid(np.full((3, 3), np.nan), np.zeros((4, 3)))
