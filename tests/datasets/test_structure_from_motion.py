import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ast_jax.data.augment import mirror_order
from ast_jax.datasets.cub import SEMANTICS
from ast_jax.datasets.cub_cmr import KEYPOINT_NAMES
from ast_jax.datasets.structure_from_motion import structure_from_motion
from tests.datasets.cub_writer import KEYPOINTS


def photographs(count, *, noise=0.0, missing=0.4, seed=0):
    """Random rotations and key points of a rigid bird; noise is relative to the bird's size (2)."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, rng=rng).as_matrix()
    scale, shift = rng.uniform(50, 150, count), rng.uniform(100, 300, (count, 2))
    xy = np.einsum("n,nij,pj->npi", scale, rotation[:, :2], KEYPOINTS) + shift[:, None]
    xy = xy + rng.normal(size=xy.shape) * noise * 2 * scale[:, None, None]
    visible = rng.uniform(size=(count, 15)) >= missing
    return np.concatenate([xy * visible[..., None], visible[..., None]], -1), scale, shift, rotation


def angles_deg(found, true):
    return np.degrees(Rotation.from_matrix(found @ np.swapaxes(true, 1, 2)).magnitude())


def test_semantics_are_those_of_the_names():
    np.testing.assert_array_equal(SEMANTICS.mirror, mirror_order(list(KEYPOINT_NAMES), 15))
    assert [KEYPOINT_NAMES[k] for k in SEMANTICS.left] == ["left_eye", "left_leg", "left_wing"]
    assert [KEYPOINT_NAMES[k] for k in (*SEMANTICS.front, *SEMANTICS.up)] == ["beak", "tail", "back", "belly"]


@pytest.mark.parametrize("seed", range(4))
def test_exact_key_points_give_exact_cameras_and_axes(seed):
    """No gauge is left over: points come out in the axes and the size that they were made in."""
    parts, scale, shift, rotation = photographs(120, seed=seed)
    motion = structure_from_motion(parts, SEMANTICS)
    np.testing.assert_allclose(motion.points, KEYPOINTS, atol=1e-4)
    np.testing.assert_array_equal(motion.found, (parts[..., 2].sum(1) >= 4))
    good = motion.found
    assert np.median(np.radians(angles_deg(motion.rotation[good], rotation[good]))) < 1e-3
    np.testing.assert_allclose(np.median(motion.scale[good] / scale[good]), 1, atol=1e-4)
    assert np.median(np.abs(motion.trans[good] - shift[good])) < 0.01  # px, of birds 100 to 300 px long
    assert np.nanmax(motion.error) < 1e-4
    np.testing.assert_allclose(np.linalg.det(motion.rotation[good]), 1, atol=1e-6)


def test_one_per_cent_of_noise_gives_a_few_degrees():
    parts, _, _, rotation = photographs(400, noise=0.01)
    motion = structure_from_motion(parts, SEMANTICS)
    error = angles_deg(motion.rotation[motion.found], rotation[motion.found])
    assert np.median(error) < 4
    assert np.abs(motion.points - KEYPOINTS).max() < 0.03
    assert np.nanmedian(motion.error) < 0.03


def test_error_is_that_of_the_reprojection():
    parts, *_ = photographs(40, noise=0.01)
    motion = structure_from_motion(parts, SEMANTICS)
    k = int(np.flatnonzero(motion.found)[3])
    seen = parts[k, :, 2] > 0
    xy = motion.scale[k] * (motion.points @ motion.rotation[k, :2].T) + motion.trans[k]
    residual = np.linalg.norm((xy - parts[k, :, :2])[seen], axis=1)
    size = np.ptp(parts[k, seen, :2], axis=0).max()
    np.testing.assert_allclose(motion.error[k], np.sqrt((residual**2).mean()) / size, rtol=1e-6)


def test_deterministic():
    parts, *_ = photographs(30, noise=0.01)
    first, again = (structure_from_motion(parts, SEMANTICS) for _ in range(2))
    np.testing.assert_array_equal(first.rotation, again.rotation)
    np.testing.assert_array_equal(first.points, again.points)


def test_pictures_without_enough_key_points_are_left_out():
    parts, *_ = photographs(30, missing=0.0)
    parts[3, 3:] = 0
    parts[7, :, :2] = 50.0  # all in one place
    motion = structure_from_motion(parts, SEMANTICS)
    np.testing.assert_array_equal(np.flatnonzero(~motion.found), [3, 7])
    assert np.isnan(motion.rotation[3]).all() and np.isfinite(motion.rotation[4]).all()


def test_too_little_is_said():
    parts, *_ = photographs(9, missing=0.0)
    with pytest.raises(ValueError, match="only 9 pictures"):
        structure_from_motion(parts, SEMANTICS)
    parts, *_ = photographs(20, missing=0.0)
    parts[:, 5] = 0
    with pytest.raises(ValueError, match=r"\[5\] are visible in no picture"):
        structure_from_motion(parts, SEMANTICS)


@pytest.mark.slow
def test_as_many_pictures_as_cub_has():
    parts, _, _, rotation = photographs(5964, noise=0.01)
    start = time.monotonic()
    motion = structure_from_motion(parts, SEMANTICS)
    assert time.monotonic() - start < 30
    assert np.median(angles_deg(motion.rotation[motion.found], rotation[motion.found])) < 4
