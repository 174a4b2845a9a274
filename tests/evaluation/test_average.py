"""The mean over classes, of results written by hand."""

import json

import numpy as np
import pytest

from ast_jax.evaluation.average import average_classes, mean_of_classes
from ast_jax.evaluation.published import UNICORN_SHAPENET, rows_for

NAME = "shapenet_unicorn"


def _write(folder, category, value, half, seed=0):
    path = folder / f"run_{category}" / "evaluation" / NAME / "metrics.json"
    path.parent.mkdir(parents=True)
    what = {"protocol": NAME, "split": "test", "description": "d", "seed": seed, "category": category}
    metrics = {"chamfer_l1_icp": {"mean": value, "low": value - half, "high": value + 2 * half}}
    path.write_text(json.dumps({"what": what, "objects": 10, "metrics": metrics, "notes": ["a note"]}))
    return folder / f"run_{category}"


def test_the_mean_row_stands_beside_the_published_ones(tmp_path):
    runs = [_write(tmp_path, "car", 0.02, 0.003), _write(tmp_path, "chair", 0.04, 0.004)]
    files = average_classes(runs, NAME)
    assert files[0] == tmp_path / "average" / NAME / "metrics.json"
    numbers = json.loads(files[0].read_text())
    assert numbers["what"]["categories"] == ["car", "chair"] and numbers["objects"] == 20
    np.testing.assert_allclose(numbers["metrics"]["chamfer_l1_icp"]["mean"], 0.03)
    # Independent classes: the root of 3^2 + 4^2, over two.
    np.testing.assert_allclose(numbers["metrics"]["chamfer_l1_icp"]["low"], 0.03 - 0.0025)
    np.testing.assert_allclose(numbers["metrics"]["chamfer_l1_icp"]["high"], 0.03 + 0.005)
    table = files[1].read_text()
    assert "| mean of 2 classes | 20 | 0.0300 [0.0275, 0.0350] | this run |" in table
    assert "| Unicorn (no masks), car |  | 0.0168 |" in table and "mean of 13 classes |  | 0.0201" in table
    assert "airplane" not in table and table.count("a note") == 1
    assert "mean of 2 classes & 0.0300" in files[2].read_text()


def test_results_that_do_not_belong_together_are_refused(tmp_path):
    car, chair = _write(tmp_path, "car", 1.0, 0.1), _write(tmp_path, "chair", 1.0, 0.1, seed=1)
    with pytest.raises(ValueError, match="run_chair was measured with seed 1"):
        average_classes([car, chair], NAME)
    with pytest.raises(ValueError, match="category .car.; give one run per class"):
        average_classes([car, car], NAME)
    with pytest.raises(ValueError, match="first run launch.evaluate --checkpoint=.*nowhere"):
        average_classes([tmp_path / "nowhere"], NAME)
    with pytest.raises(ValueError, match="choose one of"):
        average_classes([car], "shapenet")


def test_what_one_class_lacks_has_no_mean():
    both = mean_of_classes([{"a": {"mean": 1.0}, "b": {"mean": 2.0}}, {"a": {"mean": 3.0}}])
    assert both == {"a": {"mean": 2.0}}


def test_published_classes_have_the_published_mean():
    classes = [row for row in UNICORN_SHAPENET if row.category]
    assert len(classes) == 13
    mean = np.mean([row.values["chamfer_l1_icp"] for row in classes])
    np.testing.assert_allclose(mean, UNICORN_SHAPENET[-1].values["chamfer_l1_icp"], atol=5e-5)
    assert [row.method for row in rows_for(UNICORN_SHAPENET, "sofa")] == [
        "Unicorn (no masks), sofa",
        "Unicorn (no masks), mean of 13 classes",
    ]
