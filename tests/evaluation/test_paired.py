"""Paired differences against what arithmetic and scipy say."""

import numpy as np
import pytest
from scipy import stats

from ast_jax.evaluation.paired import paired_difference


def test_a_constant_gain_is_certain_however_much_objects_differ():
    theirs = np.random.default_rng(0).uniform(0, 1, 30)
    result = paired_difference([theirs + 0.02], [theirs])
    np.testing.assert_allclose([result.mean, result.low, result.high], 0.02, atol=1e-12)
    assert (result.larger, result.objects) == (30, 30)


def test_the_interval_is_that_of_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.03, 0.1, 40), rng.normal(0, 0.1, 40)
    result = paired_difference([a], [b])
    expected = stats.bootstrap((a - b,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    np.testing.assert_allclose([result.low, result.high], [expected.low, expected.high], atol=0.004)


def test_seeds_that_disagree_widen_the_interval():
    base = np.random.default_rng(2).uniform(0, 1, 50)
    one = paired_difference([base + 0.1], [base])
    several = paired_difference([base + 0.1, base - 0.1, base], [base, base + 0.1, base - 0.1])
    assert several.high - several.low > 0.05 > one.high - one.low


def test_values_that_are_not_known_are_left_out():
    result = paired_difference([np.array([1.0, np.nan, 3.0])], [np.array([0.0, 0.0, 0.0])])
    assert (result.mean, result.objects) == (2.0, 2)


@pytest.mark.parametrize(
    "ours, theirs", [([], [np.ones(2)]), ([np.ones(3)], [np.ones(2)]), ([np.ones(0)], [np.ones(0)])]
)
def test_runs_of_other_objects_are_refused(ours, theirs):
    with pytest.raises(ValueError, match="same objects"):
        paired_difference(ours, theirs)
