"""The probe on a model whose reading habits are known; retrieval where the training objects are the test objects."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ast_jax.data.pipeline import evaluation_batch
from ast_jax.evaluation.evidence import NOTHING, evaluate_probe, evidence_use, format_use
from ast_jax.evaluation.protocols.freeshapes import evenly_spaced_views
from ast_jax.evaluation.retrieval import evaluate_retrieval, pairwise_iou
from ast_jax.evaluation.shape3d import mesh_occupancy, voxel_iou
from ast_jax.prediction import Prediction
from tests.evaluation.test_held_out import EXTENTS, FACES, NUM_VIEWS, _box, sources  # noqa: F401


def _owner(source):
    """Picture -> index of its object."""
    table = {}
    for index in range(len(source.ids)):
        for picture in np.asarray(evaluation_batch(source, index, list(range(NUM_VIEWS))).image):
            table[picture.tobytes()] = index
    return table


def test_what_is_read_costs_its_worth_and_what_is_not_costs_nothing(sources):  # noqa: F811
    _, test = sources
    owner = _owner(test)

    def predict_with(image, other, exchanged):
        read = other if exchanged == "tokens" else image
        vertices = np.stack([_box(EXTENTS[test.ids[owner[x.tobytes()]]]) for x in np.asarray(read)])
        return Prediction(vertices, FACES)

    rows = evaluate_probe(predict_with, ("tokens", "summary"), test, 2)
    np.testing.assert_allclose(rows[NOTHING].metrics["iou_3d"], 1.0)
    use = evidence_use(rows)
    solids = [mesh_occupancy(_box(extents), FACES) for extents in EXTENTS.values()]
    assert use["tokens"]["iou_3d"]["mean"] == pytest.approx(1 - voxel_iou(*solids))
    assert use["tokens"]["iou_hidden"]["larger"] == 2
    assert use["tokens"]["mask_iou_seen"]["mean"] > 0.1
    assert all(use["summary"][name]["mean"] == 0 for name in use["summary"])
    assert "| tokens | -0." in format_use(use, rows)


def test_cameras_that_are_turned_by_ten_degrees_are_off_by_ten_degrees(sources):  # noqa: F811
    _, test = sources
    owner, chosen = _owner(test), evenly_spaced_views(NUM_VIEWS, 2)
    turn = Rotation.from_rotvec(np.radians([0, 10, 0])).as_matrix()
    true = [evaluation_batch(test, index, chosen).input_camera for index in range(len(test.ids))]
    true = jax.tree.map(lambda *rows: np.concatenate(rows), *true)

    def predict_with(image, other, exchanged):
        # Object after object, filled up with the first picture.
        which = np.where(np.arange(len(image)) < len(true.rotation), np.arange(len(image)), 0)
        camera = jax.tree.map(lambda x: x[which], true)
        camera = dataclasses.replace(camera, rotation=(turn @ camera.rotation).astype(np.float32))
        vertices = np.stack([_box(EXTENTS[test.ids[owner[x.tobytes()]]]) for x in np.asarray(image)])
        return Prediction(vertices, FACES, input_camera=camera)

    row = evaluate_probe(predict_with, (), test, 2)[NOTHING]
    np.testing.assert_allclose(row.metrics["camera_error_deg"], 10, atol=1e-2)


def test_retrieval_finds_the_object_itself_where_it_is_among_the_training_objects(sources):  # noqa: F811
    train, test = sources
    rows = evaluate_retrieval(train, test, NUM_VIEWS)
    _, vote, in_frame, _, oracle = rows.values()
    np.testing.assert_allclose(oracle.metrics["iou_3d"], 1.0)
    # Cropped, a bar seen from the front is a square as the cube is; in the frame it is smaller than any cube.
    np.testing.assert_allclose(in_frame.metrics["iou_3d"], 1.0)
    solids = [mesh_occupancy(_box(extents), FACES) for extents in EXTENTS.values()]
    union = solids[0] | solids[1]  # of two voters one is half of the votes
    np.testing.assert_allclose(vote.metrics["iou_3d"], [voxel_iou(union, truth) for truth in solids])


def test_pairwise_iou_is_that_of_each_pair():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 40)) < 0.5, rng.random((4, 40)) < 0.5
    a[0], b[0] = False, False
    expected = [[voxel_iou(x[:, None, None], y[:, None, None]) for y in b] for x in a]
    np.testing.assert_allclose(pairwise_iou(a, b), expected, rtol=1e-6)
