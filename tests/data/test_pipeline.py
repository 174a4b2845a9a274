import dataclasses
import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ast_jax.config import base_config
from ast_jax.data.augment import Draw, colour_matrix, draw_augmentation, mirror_order, mirrored_views, recoloured
from ast_jax.data.data_config import checked_config
from ast_jax.data.pipeline import (
    DataSource,
    evaluation_batch,
    make_batch,
    make_batches,
    photo_input,
)
from ast_jax.data.store import object_path, save_index, save_object
from ast_jax.model.cameras.multiplex import seen_through
from render import OrthographicCamera, PerspectiveCamera, orbit
from tests.datasets.seen import face_ids

STILL = {"flip": False, "crop": 0.0, "colour": 0.0}
PLAIN = {"image_size": 12, "render_size": 16, "num_target_views": 1, "augment": STILL}
BUSY = {**PLAIN, "num_target_views": 3, "augment": {"flip": True, "crop": 0.1, "colour": 0.3}}


@pytest.fixture(scope="module")
def plain(dataset_root):
    return DataSource(dataset_root, "train", PLAIN)


@pytest.fixture(scope="module")
def busy(dataset_root):
    return DataSource(dataset_root, "train", BUSY)


def take(source, count, config=BUSY, **options):
    return list(itertools.islice(make_batches(source, config, **{"batch_size": 8, "seed": 3, **options}), count))


def assert_same(first, second):
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(x, y)


def test_shapes_and_ranges(busy):
    (batch,) = take(busy, 1)
    assert batch.image.shape == (8, 12, 12, 4)
    assert batch.target_images.shape == (8, 3, 16, 16, 3)
    assert batch.target_masks.shape == (8, 3, 16, 16)
    assert batch.camera.rotation.shape == (8, 3, 3, 3) and batch.camera.focal.shape == (8, 3, 2)
    assert batch.keypoints_ndc.shape == (8, 3, 3, 3)
    for leaf in (batch.image, batch.target_images, batch.target_masks):
        assert leaf.dtype == np.float32 and 0 <= leaf.min() and leaf.max() <= 1
    assert 0 < batch.target_masks.mean() < 1


def test_samples_are_what_is_stored(plain):
    record = plain.truth(2)
    (batch,) = (evaluation_batch(plain, 2, [3, 0]),)
    for row, view in enumerate((3, 0)):
        rgba = record.images[view].astype(np.float64) / 255
        expected = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        np.testing.assert_allclose(batch.target_images[row, 0], expected, atol=1e-6)
        np.testing.assert_allclose(batch.target_masks[row, 0], rgba[..., 3], atol=1e-6)
        np.testing.assert_allclose(batch.image[row], photo_input(rgba[..., :3], rgba[..., 3], PLAIN), atol=1e-6)
        np.testing.assert_array_equal(batch.camera.rotation[row, 0], record.rotation[view])
        np.testing.assert_array_equal(batch.camera.translation[row, 0], record.translation[view])
        np.testing.assert_array_equal(batch.camera.focal[row, 0], record.focal[view])
        np.testing.assert_array_equal(batch.camera.principal[row, 0], record.principal[view])
        np.testing.assert_array_equal(batch.keypoints_ndc[row, 0], record.keypoints_ndc[view])
    np.testing.assert_array_equal(batch.index, [2 * 4 + 3, 2 * 4])


def test_supervising_views_are_the_input_and_others_of_the_same_object(busy):
    sampler_batches = take(busy, 6, {**BUSY, "augment": STILL})
    for batch in sampler_batches:
        for row, sample in enumerate(batch.index):
            first = busy.first_sample[busy.object_of[sample]]
            own = busy.views["translation"][first : first + 4]
            seen = [int(np.flatnonzero((own == t).all(-1))[0]) for t in batch.camera.translation[row]]
            assert seen[0] == sample - first and len(set(seen)) == 3


def test_a_frame_says_how_the_first_view_was_cut_and_mirrored(dataset_root):
    """It takes the stored cameras to those that the pipeline found by its own way."""
    config = {**PLAIN, "input_crop": "frame", "augment": {"flip": True, "crop": 0.2, "colour": 0.0}}
    source = DataSource(dataset_root, "train", config)
    (batch,) = take(source, 1, config)
    names = ("rotation", "translation", "focal", "principal")
    stored = PerspectiveCamera(*(jnp.asarray(source.views[name][batch.index][:, None]) for name in names))
    found = seen_through(jnp.asarray(batch.frame), stored)
    for name in names:
        np.testing.assert_allclose(getattr(found, name), getattr(batch.camera, name), atol=1e-5)
    assert 0 < (batch.frame[:, 0, 0] < 0).sum() < 8 and len(np.unique(batch.frame[:, 1])) > 8
    whole = evaluation_batch(source, 0, [0]).frame
    np.testing.assert_allclose(whole, [[[1, 1], [0, 0]]], atol=1e-6)


def test_one_epoch_shows_every_view_once(plain):
    batches = take(plain, 5, PLAIN, batch_size=4)
    assert sorted(np.concatenate([batch.index for batch in batches])) == list(range(20))


def test_same_seed_same_batches_and_other_seed_others(busy):
    first, again, other = take(busy, 3), take(busy, 3), take(busy, 3, seed=4)
    assert_same(first, again)
    assert any((a.index != b.index).any() for a, b in zip(first, other))


def test_resuming_goes_on_where_it_stopped(busy):
    assert_same(take(busy, 9)[4:], take(busy, 5, start_step=4))  # 9 batches of 8 pass three epochs of 20


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_same_global_batch(busy, count):
    whole = take(busy, 4)
    size = 8 // count
    shares = [take(busy, 4, rows=(i * size, (i + 1) * size)) for i in range(count)]
    for step, batch in enumerate(whole):
        assert_same(batch, jax.tree.map(lambda *parts: np.concatenate(parts), *[s[step] for s in shares]))


@pytest.mark.parametrize("threads", [1, 7])
def test_any_number_of_threads_makes_the_same_batches(busy, threads):
    assert_same(take(busy, 6), take(busy, 6, BUSY | {"num_threads": threads}))


@pytest.mark.parametrize("rows", [(0, 9), (3, 3), (-1, 4)])
def test_rows_that_no_batch_has(busy, rows):
    with pytest.raises(ValueError, match="batch_size=8: must be positive, and hold the rows"):
        take(busy, 1, rows=rows)


def test_mirror_image_of_a_batch(plain):
    straight, mirror = (make_batch(plain, [Draw((5,), mirror=m)], plain.config) for m in (False, True))
    np.testing.assert_array_equal(mirror.target_images, straight.target_images[:, :, :, ::-1])
    np.testing.assert_array_equal(mirror.target_masks, straight.target_masks[:, :, :, ::-1])
    np.testing.assert_array_equal(mirror.image, straight.image[:, :, ::-1])
    beak, left, right = straight.keypoints_ndc[0, 0]
    sign = np.array([-1, 1, 1], np.float32)
    np.testing.assert_array_equal(mirror.keypoints_ndc[0, 0], np.stack([beak, right, left]) * sign)


def test_mirrored_object_and_camera_render_the_mirror_image():
    rng = np.random.default_rng(0)
    camera = orbit(*(jnp.array([x]) for x in (2.0, 0.3, 0.7, 0.7)))
    camera = dataclasses.replace(camera, principal=jnp.array([[0.15, -0.1]]))
    camera = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], camera)  # one supervising view
    vertices = rng.uniform(-0.5, 0.5, (1, 12, 3)).astype(np.float32)
    faces = rng.permutation(12).reshape(4, 3).astype(np.int32)
    flipped, _ = mirrored_views(camera, np.zeros((1, 1, 0, 3), np.float32), [Draw((0,), mirror=True)], np.arange(0))
    picture = draw(camera, vertices, faces)
    mirror = draw(flipped, vertices * np.float32([-1, 1, 1]), faces)
    assert (picture >= 0).sum() > 100
    np.testing.assert_array_equal(mirror, picture[:, :, ::-1])
    assert np.linalg.det(flipped.rotation[0, 0]) == pytest.approx(1, abs=1e-5)


def draw(camera, vertices, faces):
    camera = jax.tree.map(lambda leaf: jnp.asarray(leaf[:, 0]), camera)
    return face_ids(camera.project(jnp.asarray(vertices)), faces, (31, 40))


def test_colours_change_alike_in_all_pictures_and_only_on_the_object(plain):
    matrix = colour_matrix(np.array([0.5, -1.0, 0.2, -0.3, 1.0]), 0.4)
    straight, changed = (make_batch(plain, [Draw((5, 6), colour=c)], plain.config) for c in (None, matrix))
    mask = straight.target_masks[..., None]
    expected = np.clip(np.einsum("ij,bshwj->bshwi", matrix, straight.target_images), 0, 1) * mask + 1 - mask
    np.testing.assert_allclose(changed.target_images, expected, atol=1e-5)
    assert np.abs(changed.image - straight.image).max() > 0.1


def test_colour_matrix_keeps_grey_grey_when_channels_are_even():
    matrix = colour_matrix(np.array([1.0, -0.7, 0.0, 0.0, 0.0]), 0.5)
    np.testing.assert_allclose(matrix @ np.ones(3), [1.5] * 3, rtol=1e-6)


def test_recolouring_stays_below_alpha():
    picture = np.full((1, 2, 2, 4), 0.5, np.float32)
    result = recoloured(picture, [Draw((0,), colour=np.eye(3, dtype=np.float32) * 3)])
    np.testing.assert_allclose(result, picture)


def test_mirror_order():
    names = ["left_eye", "beak", "right_eye", "wing_left", "wing_right", "left_foot"]
    np.testing.assert_array_equal(mirror_order(names, 6), [2, 1, 0, 4, 3, 5])
    np.testing.assert_array_equal(mirror_order([], 3), [0, 1, 2])
    with pytest.raises(ValueError, match="keypoint_names"):
        mirror_order(names, 5)


def test_smaller_supervising_views_are_area_averages(dataset_root, plain):
    small = DataSource(dataset_root, "train", {**PLAIN, "render_size": 4})
    large, batch = (evaluation_batch(source, 1, [2]) for source in (plain, small))
    expected = large.target_images.reshape(1, 1, 4, 4, 4, 4, 3).mean((3, 5))
    np.testing.assert_allclose(batch.target_images, expected, atol=2 / 255)
    np.testing.assert_allclose(
        batch.target_masks, large.target_masks.reshape(1, 1, 4, 4, 4, 4).mean((3, 5)), atol=1 / 255
    )
    with pytest.raises(ValueError, match="made for 4"):
        take(small, 1, PLAIN)


def test_config_dict_and_background(dataset_root):
    config = ConfigDict({**PLAIN, "background": (0.0, 0.5, 1.0), "source": "prepared"})
    batch = evaluation_batch(DataSource(dataset_root, "test", config), 0, [0])
    np.testing.assert_allclose(batch.target_images[0, 0, 0, 0], [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"render_size": 17}, "only 16 px"),
        ({"num_target_views": 5}, "only 4 views"),
        ({"image_size": 0}, "image_size"),
        ({"augment": {"flipp": True}}, "flipp"),
        ({"background": (2.0, 0.0, 0.0)}, "background"),
    ],
)
def test_config_that_does_not_fit(dataset_root, change, message):
    with pytest.raises(ValueError, match=message):
        DataSource(dataset_root, "train", {**PLAIN, **change})


def test_unknown_and_empty_splits(dataset_root):
    with pytest.raises(ValueError, match="split='dev'"):
        DataSource(dataset_root, "dev", PLAIN)
    with pytest.raises(ValueError, match="no object in it"):
        DataSource(dataset_root, "val", PLAIN)


def test_unknown_object_or_view(plain):
    with pytest.raises(ValueError, match="objects 0 to 4"):
        evaluation_batch(plain, 5, [0])
    with pytest.raises(ValueError, match="has 4 views"):
        evaluation_batch(plain, 0, [4])


def test_a_broken_object_is_named(dataset_root, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(dataset_root, root)
    path = object_path(root, "object_3")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"object_3\.npz"):
        DataSource(root, "train", PLAIN)
    index = json.loads((root / "dataset.json").read_text())
    index["splits"]["train"] = ["object_9"]
    (root / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"object_9\.npz"):
        DataSource(root, "train", PLAIN)


def test_odd_objects_are_named(tmp_path, record):
    save_index(tmp_path, {"splits": {"train": ["a", "b"]}})
    save_object(tmp_path, "a", record)
    save_object(tmp_path, "b", dataclasses.replace(record, images=record.images[:, :12, :12]))
    with pytest.raises(ValueError, match="b: pictures are"):
        DataSource(tmp_path, "train", PLAIN)
    empty = record.images.copy()
    empty[2, ..., 3] = 0
    save_object(tmp_path, "b", dataclasses.replace(record, images=empty))
    with pytest.raises(ValueError, match="b, view 2: .*no object"):
        DataSource(tmp_path, "train", PLAIN)
    empty[2, 5, 4:9, 3] = 60  # thinner than a pixel, but there
    save_object(tmp_path, "b", dataclasses.replace(record, images=empty))
    DataSource(tmp_path, "train", PLAIN)


def test_defaults_are_complete():
    assert checked_config({}) == base_config().data.to_dict()
    assert checked_config({"augment": {"crop": 0.0}})["augment"] == {**base_config().data.augment, "crop": 0.0}


def test_frame_crops_move_picture_camera_and_key_points_together(tmp_path, record):
    """A point of the object keeps its place in the picture: the camera of the crop projects it there."""
    save_object(tmp_path, "a", record)
    save_index(tmp_path, {"camera": "orthographic", "keypoint_names": [], "splits": {"train": ["a"]}})
    config = {"image_size": 16, "render_size": 16, "input_crop": "frame", "num_target_views": 1}
    source = DataSource(tmp_path, "train", config)
    still = make_batch(source, [Draw((1,))], source.config)
    moved = make_batch(source, [Draw((1,), jitter=(0.1, -0.05, 1.2))], source.config)
    assert isinstance(still.camera, OrthographicCamera)
    for batch in (still, moved):
        np.testing.assert_array_equal(batch.image[..., :3], batch.target_images[:, 0])
        np.testing.assert_array_equal(batch.image[..., 3], batch.target_masks[:, 0])
        assert_same(batch.input_camera, jax.tree.map(lambda x: x[:, 0], batch.camera))
    points = np.random.default_rng(0).normal(size=(1, 7, 3)).astype(np.float32)
    before, after = (
        np.asarray(jax.tree.map(lambda x: x[:, 0], batch.camera).project(points))[0, :, :2] for batch in (still, moved)
    )
    # The frame is 16 px; the box has side 16 / 1.2, its centre moves by 1.6 px right and 0.8 px up.
    centre = np.array([2 * (8 + 1.6) / 16 - 1, 1 - 2 * (8 - 0.8) / 16])
    np.testing.assert_allclose(after, (before - centre) * 1.2, atol=1e-5)
    expected = (still.keypoints_ndc[0, 0, :, :2] - centre) * 1.2
    np.testing.assert_allclose(moved.keypoints_ndc[0, 0, :, :2], expected, atol=1e-5)


def test_pictures_in_a_file_give_the_same_batches(dataset_root):
    config = {**BUSY, "render_size": 8, "memory_limit_gb": 0.0}
    mapped = DataSource(dataset_root, "train", config)
    assert isinstance(mapped.images, np.memmap) and isinstance(mapped.targets, np.memmap)
    plain = DataSource(dataset_root, "train", {**config, "memory_limit_gb": 4.0})
    assert not isinstance(plain.images, np.memmap)
    for first, second in zip(take(mapped, 2, config), take(plain, 2, config)):
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second)):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def boxed(tmp_path, record):
    """Pictures of 16 px whose annotated box is 8 px wide and 10 px high."""
    box = np.tile(np.float32([3, 2, 11, 12]) / 16, (len(record.images), 1))
    save_object(tmp_path, "a", dataclasses.replace(record, box=box))
    save_index(tmp_path, {"camera": "orthographic", "keypoint_names": [], "splits": {"train": ["a"]}})
    config = {**PLAIN, "image_size": 16, "input_crop": "frame", "augment": {**STILL, "box": 0.05}}
    return DataSource(tmp_path, "train", config)


def test_sides_of_the_box_move_independently_and_everything_follows(boxed):
    moves = (0.04, -0.03, 0.02, 0.05)
    still, moved = (make_batch(boxed, [Draw((1,), sides=sides)], boxed.config) for sides in (None, moves))
    left, right = 3 + (0.04 - 0.05) * 8, 11 + (0.02 + 0.05) * 8
    top, lower = 2 + (-0.03 - 0.05) * 10, 12 + (0.05 + 0.05) * 10
    side = max(right - left, lower - top)
    centre = np.array([(left + right) / 2 / 8 - 1, 1 - (top + lower) / 2 / 8])
    expected = (still.keypoints_ndc[0, 0, :, :2] - centre) * 16 / side
    np.testing.assert_allclose(moved.keypoints_ndc[0, 0, :, :2], expected, atol=1e-5)
    np.testing.assert_allclose(moved.camera.scale, still.camera.scale * 16 / side, rtol=1e-5)
    np.testing.assert_array_equal(moved.image[..., :3], moved.target_images[:, 0])


def test_sides_of_the_box_are_drawn_evenly_up_to_the_limit():
    augment = {"flip": True, "crop": 0.0, "colour": 0.0, "box": 0.05}
    draws = [draw_augmentation(np.random.default_rng(seed), augment, (0,)) for seed in range(400)]
    sides = np.array([draw.sides for draw in draws])
    assert np.abs(sides).max() <= 0.05 and np.abs(np.corrcoef(sides.T) - np.eye(4)).max() < 0.2
    np.testing.assert_allclose(sides.std(0), 0.05 / np.sqrt(3), rtol=0.1)
    plain = [draw_augmentation(np.random.default_rng(k), {**augment, "box": 0.0}, (0,)) for k in range(400)]
    assert [draw.mirror for draw in plain] == [draw.mirror for draw in draws] and plain[0].sides is None


def test_data_without_annotated_boxes_say_so(boxed, dataset_root):
    assert take(boxed, 1, boxed.config)[0].image.shape == (8, 16, 16, 4)
    source = DataSource(dataset_root, "train", boxed.config)
    with pytest.raises(ValueError, match="augment.box=0.05: .* has no annotated boxes; set it to 0, or delete"):
        take(source, 1, boxed.config)
    with pytest.raises(ValueError, match="augment.box=0.05: .* needs config.data.input_crop='frame'"):
        checked_config({"augment": {"box": 0.05}})
