"""Several prepared data sets as one: every object keeps its split, its arrays and its licence."""

import json

import numpy as np
import pytest

from ast_jax.data.records import MANIFEST, prepare_records
from ast_jax.data.store import load_index, load_object, save_index, save_object
from ast_jax.datasets import ReadOptions, read_dataset
from tests.data.conftest import NAMES, random_record

SPLITS = {"train": ["one", "two"], "val": [], "test": ["three"]}


def write(root, seed: int, keypoint_names=NAMES, **facts):
    rng = np.random.default_rng(seed)
    for object_id in ("one", "two", "three"):
        save_object(root, object_id, random_record(rng))
    save_index(root, {"image_size": 16, "keypoint_names": keypoint_names, "splits": SPLITS, **facts})
    (root / MANIFEST).write_text(json.dumps({"object_id": "one", "split": "train", "licence": f"L{seed}"}) + "\n")


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "things/car", 1)
    write(tmp_path / "things/chair", 2)
    (tmp_path / "things/notes").mkdir()  # no data set, so not taken
    return tmp_path / "things"


def join(source, root):
    return prepare_records(read_dataset("joined", ReadOptions(source)), root)


def test_what_was_told_of_an_object_is_told_again(source, tmp_path):
    write(source / "car", 1, notices=["one: 3 faces have no area"])
    assert "car_one: 3 faces have no area" in join(source, tmp_path / "all")["notices"]


def test_objects_keep_split_arrays_and_licence(source, tmp_path):
    index = join(source, tmp_path / "all")
    assert index["category"] == "things" and index["keypoint_names"] == NAMES
    assert index["splits"] == {
        "train": ["car_one", "car_two", "chair_one", "chair_two"],
        "val": [],
        "test": ["car_three", "chair_three"],
    }
    one, other = load_object(tmp_path / "all", "chair_two"), load_object(source / "chair", "two")
    for name in ("images", "rotation", "occupancy", "keypoints_ndc"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    lines = [json.loads(line) for line in (tmp_path / "all" / MANIFEST).read_text().splitlines()]
    assert {line["object_id"]: line.get("licence") for line in lines} == {
        **{"car_one": "L1", "chair_one": "L2"},
        **dict.fromkeys(["car_two", "car_three", "chair_two", "chair_three"]),
    }


def test_key_points_that_differ_are_left_out_with_a_word(source, tmp_path):
    write(source / "chair", 2, keypoint_names=["leg", "back", "seat"])
    index = join(source, tmp_path / "all")
    assert index["keypoint_names"] == [] and any("key points" in note for note in index["notices"])
    assert load_object(tmp_path / "all", "car_one").keypoints_ndc.shape == (4, 0, 3)


@pytest.mark.parametrize("facts, word", [({"camera": "unknown"}, "camera"), ({"image_size": 32}, "image_size is 32")])
def test_what_does_not_mix_is_named(source, tmp_path, facts, word):
    write(source / "chair", 2, **facts)
    with pytest.raises(ValueError, match=f"chair: .*{word}"):
        join(source, tmp_path / "all")


def test_a_folder_without_data_sets_says_what_belongs_there(tmp_path):
    with pytest.raises(ValueError, match="prepare data sets there first"):
        join(tmp_path, tmp_path / "all")


def test_a_second_call_reads_nothing_again(source, tmp_path):
    first = join(source, tmp_path / "all")
    (source / "car/objects/one.npz").unlink()
    assert join(source, tmp_path / "all") == first == {
        key: value for key, value in load_index(tmp_path / "all").items() if key not in ("format", "version")
    }  # fmt: skip
