"""Silhouettes by hand."""

import numpy as np

from ast_jax.evaluation.mask_iou import mask_iou


def test_mask_iou_by_hand():
    alpha = np.array([[[0.9, 0.6], [0.2, 0.0]]])
    mask = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(mask_iou(alpha, mask), [1 / 3])
    # Soft: 1.1 over 0.9 + 0.6 + 0.2 + 2 - 1.1.
    np.testing.assert_allclose(mask_iou(alpha, mask, threshold=None), [1.1 / 2.6])


def test_mask_iou_of_boolean_and_empty_masks():
    empty, full = np.zeros((1, 2, 2), bool), np.ones((1, 2, 2), bool)
    assert mask_iou(empty, empty) == 1.0 and mask_iou(full, full) == 1.0 and mask_iou(full, empty) == 0.0
