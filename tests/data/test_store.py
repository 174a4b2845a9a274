import dataclasses
import json
from dataclasses import fields

import numpy as np
import pytest

from ast_jax.data.store import ObjectRecord, load_index, load_object, object_path, save_index, save_object


def test_an_object_comes_back_as_it_was(tmp_path, record):
    save_object(tmp_path, "a", record)
    loaded = load_object(tmp_path, "a")
    for f in fields(ObjectRecord):
        if getattr(record, f.name) is None:
            assert getattr(loaded, f.name) is None
            continue
        expected, actual = getattr(record, f.name), getattr(loaded, f.name)
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    assert [p.name for p in (tmp_path / "objects").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_truncated_object_names_its_file(tmp_path, record, keep):
    save_object(tmp_path, "a", record)
    path = object_path(tmp_path, "a")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.npz.*prepare it again"):
        load_object(tmp_path, "a")


def test_flipped_bytes_name_the_file(tmp_path, record):
    save_object(tmp_path, "a", record)
    path = object_path(tmp_path, "a")
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(255 - byte for byte in content[200:260])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz"):
        load_object(tmp_path, "a")


def test_a_missing_object_or_array_names_the_file(tmp_path, record):
    with pytest.raises(ValueError, match=r"b\.npz"):
        load_object(tmp_path, "b")
    object_path(tmp_path, "c").parent.mkdir()
    np.savez(object_path(tmp_path, "c"), images=record.images)
    with pytest.raises(ValueError, match=r"c\.npz"):
        load_object(tmp_path, "c")


def test_pickles_are_refused(tmp_path, record):
    object_path(tmp_path, "d").parent.mkdir()
    arrays = {f.name: getattr(record, f.name) for f in fields(ObjectRecord)}
    np.savez(object_path(tmp_path, "d"), **{**arrays, "faces": np.array([{}], object)})
    with pytest.raises(ValueError, match=r"d\.npz"):
        load_object(tmp_path, "d")


def test_index(tmp_path):
    with pytest.raises(ValueError, match="prepare_data"):
        load_index(tmp_path)
    save_index(tmp_path, {"category": "bird"})
    assert load_index(tmp_path)["category"] == "bird"
    (tmp_path / "dataset.json").write_text(json.dumps({"format": "other", "version": 1}))
    with pytest.raises(ValueError, match="expected format"):
        load_index(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": ')
    with pytest.raises(ValueError, match="dataset.json: not a readable JSON"):
        load_index(tmp_path)


def test_truth_is_optional_and_bits_come_back(tmp_path, record):
    bare = dataclasses.replace(record, occupancy=None, surface_points=None, vertices=None, faces=None)
    inside = np.arange(13) % 3 == 0
    points = np.arange(39, dtype=np.float32).reshape(13, 3)
    save_object(tmp_path, "a", dataclasses.replace(bare, query_points=points, query_inside=inside))
    loaded = load_object(tmp_path, "a")
    assert loaded.occupancy is None and loaded.vertices is None and loaded.box_share is None
    np.testing.assert_array_equal(loaded.query_inside, inside)
    np.testing.assert_array_equal(loaded.query_points, points)
