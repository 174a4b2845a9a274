"""What a protocol asks of the data set, on one of a few grey pictures."""

import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

from ast_jax.data.pipeline import DataSource
from ast_jax.data.store import ObjectRecord, save_index, save_object
from ast_jax.evaluation.protocols import PROTOCOLS
from ast_jax.evaluation.protocols.setting import check_pictures, is_input_masked, protocol_config, remarks
from ast_jax.evaluation.stamp import hash_dataset, hash_files


def _dataset(root, size=64, num_points=50, level=128, **facts):
    images = np.full((1, size, size, 4), level, np.uint8)
    points = np.random.default_rng(0).normal(size=(num_points, 3)).astype(np.float32)
    record = ObjectRecord(
        images, np.eye(3, dtype=np.float32)[None], np.zeros((1, 3), np.float32), np.ones((1, 2), np.float32),
        np.zeros((1, 2), np.float32), np.zeros((1, 0, 3), np.float32), surface_points=points,
        surface_normals=points, query_points=points, query_inside=points[:, 0] > 0,
    )  # fmt: skip
    save_object(root, "one", record)
    save_index(root, {"category": "car", "splits": {"train": [], "test": ["one"]}, **facts})
    return root


def _source(root, **config):
    return DataSource(
        root, "test", {"image_size": 32, "render_size": 32, "input_crop": "frame", "num_target_views": 1, **config}
    )


def test_published_sizes_and_splits():
    assert {n: (p.render_size, p.split) for n, p in PROTOCOLS.items() if n.startswith("cub")} == {
        "cub_ast": (64, "test"),
        "cub_cmr": (256, "val"),
        "cub_umr": (256, "test"),
        "cub_unicorn": (64, "test"),
    }


def test_the_protocol_decides_on_size_and_crop():
    run = ConfigDict({"render_size": 128, "image_size": 224, "num_target_views": 2, "input_crop": "object"})
    config = protocol_config(run, PROTOCOLS["cub_cmr"])
    assert (config.render_size, config.image_size, config.num_target_views, config.input_crop) == (256, 224, 1, "frame")
    config = protocol_config(run, PROTOCOLS["freeshapes"])
    assert (config.render_size, config.input_crop, run.render_size) == (128, "object", 128)


def test_small_pictures_are_refused_with_what_to_do(tmp_path):
    root = _dataset(tmp_path)
    check_pictures(root, "cub_ast", PROTOCOLS["cub_ast"])
    check_pictures(root, "freeshapes", PROTOCOLS["freeshapes"])
    with pytest.raises(ValueError, match="have 64 px, cub_cmr compares at 256; prepare.*--image_size=256"):
        check_pictures(root, "cub_cmr", PROTOCOLS["cub_cmr"])


def test_what_sets_the_numbers_apart_is_said(tmp_path):
    source = _source(_dataset(tmp_path))
    protocol = PROTOCOLS["shapenet_occnet"]
    notes = remarks(protocol, source)
    assert notes[0] == protocol.note and len(notes) == 3
    assert notes[1].startswith("Only 50 surface points of each object are stored, the published measure takes 100,000")
    assert "--variant=full" in notes[2] and "query points" in notes[2]
    assert len(remarks(dataclasses.replace(protocol, stored_points=50), source)) == 1


def test_masked_inputs_are_marked(tmp_path):
    root = _dataset(tmp_path)
    assert is_input_masked({}) and not is_input_masked({"input_masked": False})
    assert "cut out by its true mask" in remarks(PROTOCOLS["cub_cmr"], _source(root))[-1]
    assert len(remarks(PROTOCOLS["cub_cmr"], _source(root, input_masked=False))) == 1
    assert not any("cut out" in note for note in remarks(PROTOCOLS["shapenet_unicorn"], _source(root)))


def test_squares_of_another_paper_are_marked(tmp_path):
    source = _source(_dataset(tmp_path, variant="cmr"), input_masked=False)
    assert len(remarks(PROTOCOLS["cub_cmr"], source)) == 1
    assert remarks(PROTOCOLS["cub_ast"], source)[-1].startswith("The squares are those of --variant=cmr")


def test_data_made_anew_at_the_same_place_is_something_else(tmp_path):
    root = _dataset(tmp_path)
    first = hash_dataset(root, ["one"])
    assert hash_dataset(_dataset(tmp_path), ["one"]) == first
    assert hash_dataset(_dataset(tmp_path, num_points=51), ["one"]) != first
    _dataset(tmp_path)
    (root / "manifest.jsonl").write_text('{"id": "one"}\n')
    assert hash_dataset(root, ["one"]) != first


def test_a_file_that_is_missing_or_renamed_counts(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    hashes = {hash_files([tmp_path / name]) for name in ("a", "b", "c")}
    assert len(hashes) == 3 and hash_files([tmp_path / "a"]) in hashes
