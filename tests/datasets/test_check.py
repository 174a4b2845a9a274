"""What a check of a download finds, and what it does not cry about."""

import dataclasses
import time
from functools import partial

import numpy as np
import pytest

from ast_jax.data.records import Collection, Count, LazyRecord
from ast_jax.data.store import load_object, object_path, save_index, save_object
from ast_jax.datasets import ReadOptions, check, cub, jobs, read_dataset
from ast_jax.datasets.check import check_download, prepared_collection
from ast_jax.datasets.cub import Listing
from tests.data.conftest import NAMES, random_record
from tests.datasets.cub_writer import KEYPOINTS, make_photos, write_official


def listed(record, count, **fields) -> Collection:
    items = [LazyRecord(f"a{k}", "train", lambda: record, **fields) for k in range(count)]
    return Collection("thing", "unknown", tuple(items), tuple(NAMES))


def test_files_outside_of_the_sample_are_looked_for(tmp_path, record):
    """Of 200 objects 64 are read; files are missing or empty where no reader comes by."""
    files = [tmp_path / f"{k}.jpg" for k in range(200)]
    for path in files:
        path.write_bytes(b"x")
    items = [LazyRecord(f"a{k}", "train", lambda: record, files=(path,)) for k, path in enumerate(files)]
    collection = Collection("thing", "unknown", tuple(items), tuple(NAMES))
    assert check_download(collection).problems == ()
    files[1].unlink()
    files[2].write_bytes(b"")
    report = check_download(collection)
    assert report.problems == (f"{files[1]}: no such file.", f"{files[2]}: the file is empty.")
    assert "198 of 200 files are there" in report.lines
    for path in files[3:40]:
        path.unlink()
    problems = check_download(collection).problems
    assert len(problems) == 21 and problems[-1] == "39 files are missing or empty; the first 20 are named."


def test_a_file_of_many_objects_is_looked_for_once(tmp_path, record):
    report = check_download(listed(record, 3, files=(tmp_path / "all.npz",)))
    assert report.problems == (f"{tmp_path / 'all.npz'}: no such file.",)


def test_looking_for_the_files_of_a_large_set_takes_seconds(tmp_path):
    """More than CUB has photographs."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    for k in range(24):
        (tmp_path / f"{k}").symlink_to(tmp_path)
    paths = [tmp_path / f"{i}" / f"{j}" / f"{k}" / "a.jpg" for i in range(24) for j in range(24) for k in range(24)]
    items = [LazyRecord(f"a{k}", "train", lambda: None, files=(path,)) for k, path in enumerate(paths)]
    problems, start = [], time.monotonic()
    assert check._look_for_files(tuple(items), problems) == "13824 of 13824 files are there"
    assert not problems and time.monotonic() - start < 30


def test_counts_tolerate_what_they_say(record):
    counts = (Count("pictures", 10, 10), Count("cleaned", 11_736, 11_735, 1), Count("birds", 9, 10))
    report = check_download(dataclasses.replace(listed(record, 1), counts=counts))
    assert report.problems == ("birds: 9, published are 10.",)
    assert "cleaned: 11736, published are 11735 (give or take 1)" in report.lines


def test_a_perfect_download_of_cub_passes():
    """11,788 pictures, 11,736 of them with more than six key points, one more than CMR kept."""
    parts = np.ones((11_788, 15, 3))
    parts[:30, 6:, 2] = parts[-22:, 6:, 2] = 0
    listing = Listing({}, np.zeros((11_788, 4)), parts, np.arange(11_788) < 5_994)
    kept = np.flatnonzero((parts[..., 2] > 0).sum(1) >= cub.MIN_VISIBLE)
    counts = cub._counts(listing, kept)
    assert [count.found for count in counts] == [11_788, 5_994, 5_794, 5_964, 5_772]
    problems = []
    assert all(check._compare(count, problems) for count in counts) and not problems
    check._compare(cub._counts(dataclasses.replace(listing, train=np.arange(11_788) < 5_993), kept)[1], problems)
    assert problems == ["train_test_split.txt, to learn from: 5993, published are 5994."]


def test_structure_from_motion_gets_a_sample_when_a_download_is_looked_over(tmp_path, monkeypatch):
    write_official(tmp_path, make_photos(24, size=(180, 240), scale=70.0, seed=1), [True] * 24)
    monkeypatch.setattr(cub, "CHECK_SAMPLE", 16)
    whole, sampled = (read_dataset("cub", ReadOptions(tmp_path, image_size=64, checking=c)) for c in (False, True))
    assert len(whole.records) == len(sampled.records) == 24
    np.testing.assert_allclose(sampled.settings["mean_keypoints"], KEYPOINTS, atol=2e-3)
    for a, b in zip(whole.records[::7], sampled.records[::7]):
        np.testing.assert_allclose(b.load().rotation, a.load().rotation, atol=2e-3)
    assert not any("key points lie" in problem for problem in check_download(sampled).problems)


def test_mean_key_points_through_wrong_cameras_are_a_problem(tmp_path):
    write_official(tmp_path, make_photos(12, size=(180, 240), scale=70.0, seed=1), [True] * 12)
    collection = read_dataset("cub", ReadOptions(tmp_path, image_size=64))
    report = check_download(collection)
    (line,) = [line for line in report.lines if line.startswith("mean key points lie")]
    assert line.startswith("mean key points lie 0.")
    swapped = np.array(collection.settings["mean_keypoints"])[:, [2, 1, 0]]
    wrong = dataclasses.replace(collection, settings={"mean_keypoints": swapped})
    assert any("cameras or axes are not understood" in problem for problem in check_download(wrong).problems)
    assert (check_download(wrong).sheet != report.sheet).any()  # the crosses lie elsewhere


def test_an_empty_split_of_a_class_is_a_problem(record):
    items = [
        LazyRecord(f"{name}{split}", split, lambda: record, {"class": name})
        for name, split in (("1", "train"), ("1", "val"), ("1", "test"), ("2", "train"), ("2", "test"))
    ]
    report = check_download(Collection("all", "unknown", tuple(items), tuple(NAMES)))
    assert report.problems == ("class 2: its val split is empty.",)
    assert "class 1: train 1, val 1, test 1" in report.lines


@pytest.fixture
def prepared(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        record = random_record(rng)
        save_object(tmp_path, name, dataclasses.replace(record, surface_points=None, vertices=None, occupancy=None))
    save_index(tmp_path, {"category": "chair", "keypoint_names": NAMES, "splits": {"train": ["a"], "test": ["b"]}})
    return tmp_path


@pytest.mark.parametrize("dataset", ["freeshapes", "meshes", "cub"])
def test_a_prepared_folder_is_looked_over(prepared, tmp_path, capsys, dataset):
    place = dict(source=None, root=str(prepared), output=str(tmp_path / "out"))
    assert jobs.look_over(dataset, **place) == 0
    text = capsys.readouterr().out
    assert "train: 1 objects" in text and "2 of 2 objects read well" in text and "0 problems" in text
    assert (tmp_path / "out" / "check.png").is_file()
    object_path(prepared, "b").write_bytes(object_path(prepared, "b").read_bytes()[:300])
    assert jobs.look_over(dataset, **place) == 1
    assert "PROBLEM b: " in capsys.readouterr().out


def test_all_objects_of_a_prepared_folder_are_read(prepared):
    collection = prepared_collection(prepared)
    assert [item.object_id for item in collection.records] == ["a", "b"]
    many = dataclasses.replace(
        collection,
        records=tuple(LazyRecord(f"a{k}", "train", partial(load_object, prepared, "a")) for k in range(70)),
    )
    report = check_download(many, num_samples=4, read_all=True)
    assert "70 of 70 objects read well" in report.lines and report.sheet.shape == (128, 4 * 128, 3)


@pytest.mark.parametrize(
    "dataset, place, message",
    [
        ("freeshapes", dict(source=None, root=None), "looks over a folder that was prepared: give it as --root"),
        ("meshes", dict(source="x", root="/nowhere"), "no dataset.json there. Make the data set with"),
        ("cub", dict(source=None, root=None), "--source is not given"),
    ],
)
def test_nothing_to_look_over(dataset, place, message):
    with pytest.raises(ValueError, match=message):
        jobs.look_over(dataset, **place, output=".")
