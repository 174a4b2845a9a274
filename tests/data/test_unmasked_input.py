"""Inputs that show the whole photograph, beside those that are cut out."""

import dataclasses

import jax
import numpy as np

from ast_jax.data.augment import Draw, colour_matrix
from ast_jax.data.data_config import checked_config
from ast_jax.data.pipeline import DataSource, make_batch, photo_input
from ast_jax.data.store import save_index, save_object


def assert_same(first, second):
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(x, y)


UNMASKED = {"image_size": 16, "render_size": 16, "input_crop": "frame", "input_masked": False, "num_target_views": 1}
UNMASKED["augment"] = {"flip": False, "crop": 0.0, "colour": 0.0}


def test_unmasked_input_is_the_photograph_and_targets_stay_masked(dataset_root):
    source = DataSource(dataset_root, "train", {**UNMASKED, "background": (0.1, 0.9, 0.5)})
    masked = DataSource(dataset_root, "train", {**source.config, "input_masked": True})
    photo = source.images[5, ..., :3].astype(np.float32) / 255
    for draw in (Draw((5,)), Draw((5,), mirror=True), Draw((5,), colour=colour_matrix(np.ones(5) * 0.4, 0.3))):
        batch, same = (make_batch(s, [draw], s.config) for s in (source, masked))
        expected = photo if draw.colour is None else np.clip(photo @ draw.colour.T, 0, 1)
        np.testing.assert_allclose(batch.image[0], expected[:, ::-1] if draw.mirror else expected, atol=1e-6)
        inside = batch.target_masks[0, 0] == 1
        np.testing.assert_allclose(batch.image[0][inside], batch.target_images[0, 0][inside], atol=1e-6)
        assert_same(dataclasses.replace(batch, image=same.image), same)


def test_unmasked_input_does_not_depend_on_the_mask(tmp_path, record):
    images = record.images.copy()
    images[..., 3] = np.where(np.indices(images.shape[:3]).sum(0) % 3 == 0, 255, 0)
    for name, pictures in (("a", record.images), ("b", images)):
        save_object(tmp_path, name, dataclasses.replace(record, images=pictures))
    save_index(tmp_path, {"keypoint_names": [], "splits": {"train": ["a"], "test": ["b"]}})
    first, second = (DataSource(tmp_path, split, UNMASKED) for split in ("train", "test"))
    draw = Draw((1,), jitter=(0.2, -0.1, 1.1), mirror=True)
    pair = [make_batch(source, [draw], source.config) for source in (first, second)]
    np.testing.assert_array_equal(pair[0].image, pair[1].image)
    assert not np.array_equal(pair[0].target_masks, pair[1].target_masks)


def test_unmasked_input_repeats_the_border_beyond_the_stored_square(tmp_path, record):
    images = np.full_like(record.images, 200)
    save_object(tmp_path, "a", dataclasses.replace(record, images=images))
    save_index(tmp_path, {"keypoint_names": [], "splits": {"train": ["a"]}})
    source = DataSource(tmp_path, "train", {**UNMASKED, "background": (0.0, 0.0, 0.0)})
    batch = make_batch(source, [Draw((0,), jitter=(0.3, 0.3, 0.8))], source.config)
    np.testing.assert_allclose(batch.image, 200 / 255, atol=1e-6)


def test_photographs_are_fed_like_unmasked_training_pictures(dataset_root):
    config = {**UNMASKED, "input_crop": "object"}
    source = DataSource(dataset_root, "train", config)
    rgb, mask = source.images[0, ..., :3] / 255, source.images[0, ..., 3] / 255
    fed = make_batch(source, [Draw((0,))], source.config).image[0]
    np.testing.assert_allclose(photo_input(rgb, mask, config), fed, atol=1e-6)
    cut = photo_input(rgb, mask, {**config, "input_masked": True})
    assert cut.shape == (16, 16, 4) and not np.allclose(photo_input(rgb, mask, config), cut[..., :3])


def test_runs_from_before_the_switch_were_masked():
    assert checked_config({"image_size": 8})["input_masked"] is True


def test_cut_out_pictures_are_shown_over_the_background(tmp_path, record):
    """A model that learned from photographs is tried on rendered pictures."""
    save_object(tmp_path, "a", dataclasses.replace(record, images=record.images * (record.images[..., 3:] > 0)))
    save_index(tmp_path, {"keypoint_names": [], "splits": {"train": ["a"]}})
    batches = []
    for masked in (False, True):
        source = DataSource(tmp_path, "train", {**UNMASKED, "input_masked": masked})
        assert source.cut_out
        batches.append(make_batch(source, [Draw((0,))], source.config))
    assert_same(*batches)


def test_photographs_are_not_taken_for_cut_out_ones(dataset_root):
    assert not DataSource(dataset_root, "train", UNMASKED).cut_out


def test_unmasked_targets_show_what_the_input_shows_and_know_no_mask(tmp_path, record):
    images = record.images.copy()
    images[..., 3] = np.where(np.indices(images.shape[:3]).sum(0) % 3 == 0, 255, 0)
    for name, pictures in (("a", record.images), ("b", images)):
        save_object(tmp_path, name, dataclasses.replace(record, images=pictures))
    save_index(tmp_path, {"keypoint_names": [], "splits": {"train": ["a"], "test": ["b"]}})
    draw = Draw((1,), jitter=(0.2, -0.1, 0.8), mirror=True, colour=colour_matrix(np.ones(5) * 0.4, 0.3))
    for size in (record.images.shape[1], record.images.shape[1] // 2):
        config = {**UNMASKED, "target_masked": False, "image_size": size, "render_size": size}
        sources = [DataSource(tmp_path, split, config) for split in ("train", "test")]
        pair = [make_batch(source, [draw], source.config) for source in sources]
        np.testing.assert_array_equal(pair[0].target_images, pair[1].target_images)
        assert not np.array_equal(pair[0].target_masks, pair[1].target_masks)
    whole = {**config, "render_size": record.images.shape[1], "image_size": record.images.shape[1]}
    source = DataSource(tmp_path, "train", whole)
    batch = make_batch(source, [draw], source.config)
    np.testing.assert_allclose(batch.target_images[0, 0], batch.image[0], atol=1e-5)
    plain = source.images[1, ..., :3].reshape(size, 2, size, 2, 3).mean((1, 3)) / 255
    half = sources[0]
    np.testing.assert_allclose(make_batch(half, [Draw((1,))], half.config).target_images[0, 0], plain, atol=0.5 / 255)
