"""The protocol on a tiny data set whose objects, and so whose scores, are known."""

import jax
import numpy as np
import pytest
import trimesh

from ast_jax.data.pipeline import DataSource
from ast_jax.data.store import ObjectRecord, save_index, save_object
from ast_jax.evaluation.held_out import (
    constant_predictor,
    evaluate_mean_shape,
    evaluate_predictions,
    evenly_spaced_views,
)
from ast_jax.evaluation.run import CHUNK, Share
from ast_jax.evaluation.shape3d import mesh_occupancy, sample_surface, voxel_iou
from ast_jax.prediction import Prediction
from render import FaceTexels, orbit, rasterize

NUM_VIEWS, SIZE = 4, 32
COLOUR = 51  # 0.2 in every channel
# A bar along the depth of view 0: a square from the front, a long rectangle from the side.
EXTENTS = {"bar": (0.3, 0.3, 0.9), "cube": (0.5, 0.5, 0.5)}


def _box(extents):
    """Corners of a box; all boxes have the same faces."""
    box = trimesh.creation.box(extents=extents)
    return np.asarray(box.vertices, np.float32)


FACES = np.asarray(trimesh.creation.box().faces, np.int32)


@jax.jit
def _face_ids(vertices, camera):
    return rasterize(camera.project(vertices), FACES, (SIZE, SIZE)).face_id


def _record(extents):
    vertices = _box(extents)
    azimuth = 0.5 * np.pi * np.arange(NUM_VIEWS)
    camera = orbit(np.full(NUM_VIEWS, 2.732), np.full(NUM_VIEWS, 0.1), azimuth, np.full(NUM_VIEWS, np.radians(30.0)))
    covered = np.asarray(_face_ids(np.repeat(vertices[None], NUM_VIEWS, axis=0), camera)) >= 0
    images = np.zeros((NUM_VIEWS, SIZE, SIZE, 4), np.uint8)
    images[covered] = [COLOUR, COLOUR, COLOUR, 255]
    points = sample_surface(vertices, FACES, 2000, seed=99).astype(np.float32)
    return ObjectRecord(
        images=images,
        **{
            name: np.asarray(getattr(camera, name), np.float32)
            for name in ("rotation", "translation", "focal", "principal")
        },
        occupancy=mesh_occupancy(vertices, FACES),
        surface_points=points,
        surface_normals=np.zeros_like(points),
        keypoints_ndc=np.zeros((NUM_VIEWS, 0, 3), np.float32),
        vertices=vertices,
        faces=FACES,
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """(train, test), both with the bar and the cube."""
    root = tmp_path_factory.mktemp("boxes")
    for name, extents in EXTENTS.items():
        save_object(root, name, _record(extents))
    splits = {"train": list(EXTENTS), "val": list(EXTENTS), "test": list(EXTENTS)}
    save_index(root, {"category": "boxes", "image_size": SIZE, "num_views": NUM_VIEWS, "splits": splits})
    config = {"image_size": 24, "render_size": SIZE, "num_target_views": 1}
    return DataSource(root, "train", config), DataSource(root, "test", config)


def _evaluate(source, predict, num_views=2):
    return evaluate_predictions(predict, source, num_views=num_views, num_points=2000)


def test_true_shapes_get_full_marks(sources):
    seen_shapes = []

    def predict(image):
        seen_shapes.append(image.shape)
        # 0.3 where the truth is 0.2: 20 dB.
        vertices = np.stack([_box(extents) for extents in EXTENTS.values()]).repeat(2, axis=0)
        vertices = np.concatenate([vertices, np.zeros((len(image) - 4, 8, 3), np.float32)])
        texels = FaceTexels(np.full((len(image), 12, 2, 2, 3), 0.3, np.float32))
        return Prediction(vertices, FACES, texture=texels)

    result = _evaluate(sources[1], predict)
    assert result.object_ids == ("bar", "cube") and seen_shapes == [(CHUNK, 24, 24, 4)]
    np.testing.assert_array_equal(result.metrics["iou_3d"], 1.0)
    np.testing.assert_array_equal(result.metrics["mask_iou_seen"], 1.0)
    np.testing.assert_array_equal(result.metrics["mask_iou_unseen"], 1.0)
    np.testing.assert_allclose(result.metrics["psnr_unseen"], 20.0, rtol=1e-3)
    # Two clouds of 2000 points each on about 1 square unit: spacing 0.02.
    assert np.all(result.metrics["chamfer_l1"] < 0.02) and np.all(result.metrics["f_score"] > 0.8)


def test_seen_and_unseen_views_are_told_apart(sources):
    """A cube instead of the bar is right from the front, and wrong from both sides."""
    short = _box((0.3, 0.3, 0.3))
    result = _evaluate(sources[1], constant_predictor(short, FACES), num_views=1)
    assert result.metrics["mask_iou_seen"][0] > 0.55
    # Behind: as the front. Left and right: a third of the rectangle.
    assert result.metrics["mask_iou_unseen"][0] < 0.6
    assert result.metrics["mask_iou_seen"][0] > result.metrics["mask_iou_unseen"][0] + 0.1
    expected = voxel_iou(mesh_occupancy(short, FACES), sources[1].truth(0).occupancy)
    assert result.metrics["iou_3d"][0] == expected
    assert "psnr_unseen" not in result.metrics


def test_every_input_view_is_predicted_and_averaged(sources):
    right, wrong = _box(EXTENTS["cube"]), _box((0.25, 0.25, 0.25))

    def predict(image):
        return Prediction(np.stack([right, wrong, wrong, right] * (len(image) // 4)), FACES)

    both = _evaluate(sources[1], predict, num_views=4)
    only_wrong = _evaluate(sources[1], constant_predictor(wrong, FACES), num_views=4)
    for name in ("iou_3d", "mask_iou_seen", "mask_iou_unseen"):
        expected = (1.0 + only_wrong.metrics[name][1]) / 2
        np.testing.assert_allclose(both.metrics[name][1], expected, atol=0.02)


def test_mean_shape_beats_no_single_object(sources):
    train, test = sources
    solids = [test.truth(i).occupancy for i in range(2)]
    result = evaluate_mean_shape(train, test)
    # Of two solids, the mean can only be cut to their union or their intersection.
    candidates = [solids[0] | solids[1], solids[0] & solids[1]]
    best = max(candidates, key=lambda shape: np.mean([voxel_iou(shape, solid) for solid in solids]))
    np.testing.assert_allclose(result.metrics["iou_3d"], [voxel_iou(best, solid) for solid in solids])


def test_diverged_predictions_are_an_error(sources):
    with pytest.raises(ValueError, match="bar is not finite"):
        _evaluate(sources[1], lambda image: Prediction(np.full((len(image), 8, 3), np.nan, np.float32), FACES))


def test_evenly_spaced_views():
    assert evenly_spaced_views(24, 5) == [0, 4, 9, 14, 19]
    assert evenly_spaced_views(3, 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="1 to 3 views"):
        evenly_spaced_views(3, 4)


def test_a_share_is_named_or_that_of_this_process(monkeypatch):
    assert Share.parse("3/4") == Share(3, 4)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert Share.parse("") == Share(1, 2)
    for text in ("4/4", "1", "-1/4", "a/b"):
        with pytest.raises(ValueError, match=f"--shard={text}: expected i/n"):
            Share.parse(text)
