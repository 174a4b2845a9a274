"""The interval of the mean and the printed table."""

import json

import numpy as np

from ast_jax.evaluation.results import Evaluation, bootstrap_interval, summarize
from ast_jax.evaluation.tables import format_table, headline


def test_interval_agrees_with_the_normal_one_for_many_objects():
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    half = 1.96 * values.std(ddof=1) / 400**0.5
    expected = [values.mean() - half, values.mean() + half]
    np.testing.assert_allclose(bootstrap_interval(values), expected, atol=0.1 * half)


def test_interval_of_equal_values_is_a_point():
    assert bootstrap_interval(np.full(7, 0.25)) == (0.25, 0.25)


def test_wider_level_gives_a_wider_interval():
    values = np.arange(10.0)
    low, high = bootstrap_interval(values)
    wide_low, wide_high = bootstrap_interval(values, level=0.999)
    assert wide_low < low < values.mean() < high < wide_high


def test_summary_is_json():
    summary = summarize(Evaluation(("a", "b"), {"iou_3d": np.array([0.5, 0.75])}))
    assert json.loads(json.dumps(summary))["iou_3d"] == {"mean": 0.625, "low": 0.5, "high": 0.75}


def test_table():
    rows = {
        "ours": Evaluation(("a", "b"), {"iou_3d": np.array([0.5, 0.5]), "psnr_unseen": np.array([20.0, 20.0])}),
        "template": Evaluation(("a", "b"), {"iou_3d": np.array([0.25, 0.25])}),
    }
    assert format_table(rows).split("\n") == [
        "| method | objects | 3D IoU ↑ | PSNR, other views ↑ |",
        "| --- | ---: | ---: | ---: |",
        "| ours | 2 | 0.500 [0.500, 0.500] | 20.00 [20.00, 20.00] |",
        "| template | 2 | 0.250 [0.250, 0.250] | – |",
    ]


def test_what_is_shown_first_is_there_and_in_the_order_of_the_table():
    two = np.ones(2)
    ours = Evaluation(("a", "b"), {"f_score_03": two, "mask_iou_seen": two, "iou_3d": two})
    assert headline({"ours": ours, "template": Evaluation(("a", "b"), {"f_score": two})}) == (
        "iou_3d",
        "f_score",
        "mask_iou_seen",
    )
    assert headline({"ours": Evaluation(("a", "b"), {"f_score_03": two})}) == ("f_score_03",)  # better than nothing
