"""Runs as launch.evaluate --protocol leaves them, compared object by object."""

import json

import pytest

from ast_jax.evaluation.comparison import compare_runs, format_differences


def _run(folder, name, values, **what):
    path = folder / name / "evaluation" / "freeshapes" / "metrics.json"
    path.parent.mkdir(parents=True)
    what = {"protocol": "freeshapes", "split": "test", "description": "d", "data_hash": "h"} | what
    path.write_text(json.dumps({"what": what, "values": values}))
    return folder / name


def test_differences_are_of_the_same_objects(tmp_path):
    ours = [_run(tmp_path, f"a{k}", {"iou_3d": [0.5 + x, 0.7 + x, None]}) for k, x in enumerate((0.0, 0.02))]
    theirs = [_run(tmp_path, "b", {"iou_3d": [0.4, 0.6, 0.9], "psnr": [1, 2, 3]})]
    found = compare_runs(ours, theirs, "freeshapes")
    assert list(found) == ["iou_3d"]  # what one of them lacks cannot be compared
    assert found["iou_3d"].mean == pytest.approx(0.11)
    assert (found["iou_3d"].larger, found["iou_3d"].objects) == (2, 2)
    assert "| 3D IoU ↑ | +0.110 [" in format_differences(found)


@pytest.mark.parametrize(
    "what, values, message",
    [
        ({"data_hash": "another"}, {"iou_3d": [0.4]}, "data_hash 'another'"),
        ({}, None, "evaluate it again"),
    ],
)
def test_runs_that_do_not_compare_are_refused(tmp_path, what, values, message):
    ours = _run(tmp_path, "a", {"iou_3d": [0.5]})
    theirs = _run(tmp_path, "b", values, **what)
    if values is None:
        path = theirs / "evaluation/freeshapes/metrics.json"
        path.write_text(json.dumps({key: x for key, x in json.loads(path.read_text()).items() if key != "values"}))
    with pytest.raises(ValueError, match=message):
        compare_runs([ours], [theirs], "freeshapes")


def test_both_methods_have_to_be_named(tmp_path):
    with pytest.raises(ValueError, match="--against"):
        compare_runs([tmp_path], [], "freeshapes")
