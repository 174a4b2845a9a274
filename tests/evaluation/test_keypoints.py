"""PCK by hand: errors in pixels over the longer side of the mask's bounding box."""

import numpy as np
import pytest

from ast_jax.evaluation.keypoints import pck


def _masks():
    """Boxes of 10 x 20 and 40 x 10 pixels in pictures of 40 x 80."""
    masks = np.zeros((2, 40, 80))
    masks[0, 5:15, 10:30] = 1.0
    masks[1, :, 60:70] = 1.0
    return masks


def test_by_hand():
    target = np.zeros((2, 2, 3))
    target[..., 2] = [[1, 1], [1, 0]]
    predicted = np.zeros((2, 2, 2))
    # 80 px wide, 40 px high: 1.9 px right = 0.0475 NDC; 2.5 px up = 0.125 NDC.
    predicted[0, 0, 0] = 0.0475  # 1.9 / 20 = 0.095
    predicted[0, 1, 1] = 0.125  # 2.5 / 20 = 0.125
    predicted[1, 0, 0] = 0.2  # 8 / 40 = 0.2
    predicted[1, 1] = 9.0  # hidden
    # Point 0: right in the first of two pictures. Point 1: one picture, right at 0.15 only.
    np.testing.assert_allclose(pck(predicted, target, _masks()), [(0.5 + 0.0) / 2, (0.5 + 1.0) / 2])


def test_point_that_is_never_visible_does_not_count():
    target = np.zeros((2, 2, 3))
    target[:, 0, 2] = 1.0
    assert pck(np.zeros((2, 2, 2)), target, _masks()).tolist() == [1.0, 1.0]
    target[..., 2] = 0.0
    assert np.isnan(pck(np.zeros((2, 2, 2)), target, _masks())).all()


def test_empty_mask():
    masks = _masks()
    masks[1] = 0.0
    with pytest.raises(ValueError, match="number 1 is empty"):
        pck(np.zeros((2, 1, 2)), np.ones((2, 1, 3)), masks)
