"""PSNR by hand."""

import numpy as np

from ast_jax.evaluation.psnr import psnr


def test_psnr_by_hand():
    target = np.full((2, 2, 2, 3), 0.5)
    image = target.copy()
    image[0] += 0.1
    np.testing.assert_allclose(psnr(image, target), [20.0, np.inf])
    image[0, 0] = 0.9  # outside the mask
    mask = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(psnr(image, target, mask.astype(float)), [20.0, np.nan])
