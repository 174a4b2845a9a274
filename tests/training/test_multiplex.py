"""The cameras of a multiplex: found, pruned, moved each by itself, saved, split over devices; no part of a model."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ast_jax.batch import Batch
from ast_jax.config import base_config
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.losses.camera import camera_rotation_loss
from ast_jax.losses.term import LossInputs
from ast_jax.losses.total import multiplex_loss
from ast_jax.model.cameras.multiplex import first_angles, multiplex_cameras, seen_through
from ast_jax.prediction import Prediction
from ast_jax.training.checkpoint import load_model
from ast_jax.training.checks import check_config
from ast_jax.training.loop import train
from ast_jax.training.monitoring.metrics import read_metrics
from ast_jax.training.multiplex import choose_cameras, make_table, moved_table, note_seen
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from configs.baselines import get_config
from render import icosphere, soft_coverage
from tests.training.stopped import stopped_at_first_save

SIZE = 24
MASKS = {"mask_mse": 10.0, "mask_barrier": 10.0}


def _settings(azimuths=8, elevations=1):
    config = base_config()
    config.model.camera.kind = "multiplex"
    config.model.camera.azimuths, config.model.camera.elevations = azimuths, elevations
    return config


def _body():
    """Long, with one fin up and one aside: it looks different from everywhere, and its mirror image is another body."""
    vertices, faces = icosphere(1)
    x, y, z = vertices.T
    body = np.stack([0.1 * x, 0.1 * y, 0.35 * z], axis=1)
    body[:, 1] += 0.25 * (y > 0.5) * (z > 0.1)
    body[:, 0] += 0.2 * (x > 0.5) * (z < -0.1)
    return body.astype(np.float32), faces


def _planted():
    """Two masks of the body, through cameras off the grid; the second picture is zoomed, shifted and mirrored."""
    (body, faces), config = _body(), _settings()
    motion = jnp.array([[[0.5, 0.4, -0.2, 0.1, 0.05, -0.04]], [[-0.4, -0.5, 0.3, -0.1, -0.05, 0.08]]], jnp.float32)
    angles = first_angles(8, 1)
    planted = [multiplex_cameras(motion[i], angles[[k]], 0.35) for i, k in enumerate((2, 5))]
    stored = jax.tree.map(lambda *x: jnp.stack(x), *planted)
    frame = jnp.array([[[1.0, 1.0], [0.0, 0.0]], [[-1.1, 1.1], [0.1, -0.05]]])
    camera = seen_through(frame, stored)
    bodies = jnp.stack([body, body * np.array([[-1, 1, 1]], np.float32)])
    project = jax.tree.map(lambda x: x[:, 0], camera).project
    masks = jnp.round(soft_coverage(project(bodies), faces, (SIZE, SIZE), 1e-5))[:, None]
    blank, points = jnp.zeros((2, 1, SIZE, SIZE, 3)), jnp.zeros((2, 1, 0, 3))
    one = jax.tree.map(lambda x: x[:, 0], camera)
    batch = Batch(blank[:, 0], one, blank, masks, camera, points, jnp.arange(2), frame)
    return config, Prediction(bodies, faces), batch, jax.tree.map(lambda x: x[:, 0], stored)


def _degrees(camera, target):
    cosine = 1 - 2 * np.asarray(camera_rotation_loss(camera.rotation, target.rotation))
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def test_planted_cameras_are_found_by_masks_alone():
    config, prediction, batch, stored = _planted()
    inputs = LossInputs(sigma=1e-3, peakiness=0.0)

    @jax.jit
    def step(table, rate):
        def loss(motion):
            tried = replace(table, motion=motion)
            chosen = choose_cameras(tried, batch, config, 0)
            through = replace(prediction, camera=chosen.cameras)
            total, _, scores = multiplex_loss(through, batch, MASKS, inputs)
            return total, note_seen(tried, batch, chosen.which, scores)

        grads, seen = jax.grad(loss, has_aux=True)(table.motion)
        return moved_table(table, grads, seen, rate)

    table = make_table(config, 2)
    for rate in (0.1,) * 30 + (0.03,) * 20:
        table = step(table, rate)
    best = choose_cameras(table, replace(batch, frame=None), config, 0).best
    np.testing.assert_array_equal(np.argmin(table.score[:2], axis=1), [2, 5])
    assert (_degrees(best, stored) < 8).all()  # at first 22
    np.testing.assert_allclose(best.principal, stored.principal, atol=0.04)
    np.testing.assert_allclose(best.focal, stored.focal, rtol=0.15)  # the barrier would rather have all of it inside


def _table(rng, rows=3, cameras=6):
    config = _settings(cameras)
    table = make_table(config, rows)
    motion = jnp.asarray(rng.normal(size=table.motion.shape), jnp.float32)
    return config, replace(table, motion=motion, score=jnp.asarray(rng.uniform(size=table.score.shape), jnp.float32))


def _batch(index, size=2):
    mask, picture = jnp.zeros((len(index), 1, size, size)), jnp.zeros((len(index), 1, size, size, 3))
    camera = multiplex_cameras(jnp.zeros((len(index), 1, 6)), first_angles(1, 1), 0.35)
    one = jax.tree.map(lambda x: x[:, 0], camera)
    return Batch(picture[:, 0], one, picture, mask, camera, jnp.zeros((len(index), 1, 0, 3)), jnp.asarray(index))


def test_pruning_keeps_the_best_and_lets_no_other_come_back():
    config, table = _table(np.random.default_rng(0))
    batch = _batch([2, 0])
    best = np.argsort(table.score[:3], axis=1)[:, :4]
    chosen = choose_cameras(table, batch, config, 4)
    np.testing.assert_array_equal(chosen.which, best[[2, 0]])
    every = multiplex_cameras(table.motion[:3], first_angles(6, 1), config.model.shape.radius)
    np.testing.assert_allclose(chosen.cameras.rotation[0], every.rotation[2, best[2]], atol=1e-6)
    np.testing.assert_allclose(chosen.best.rotation[1], every.rotation[0, best[0, 0]], atol=1e-6)
    # From now on they are worse than those that were left out ever were.
    seen = note_seen(table, batch, chosen.which, jnp.full((2, 4), 9.0) + jnp.arange(4.0)[None])
    after = moved_table(table, jnp.ones_like(table.motion), seen, 0.1)
    np.testing.assert_array_equal(choose_cameras(after, batch, config, 4).which, best[[2, 0]])
    assert np.isinf(after.score[jnp.array([0, 2])]).sum() == 4
    np.testing.assert_array_equal(after.score[1], table.score[1])
    moved = np.any(after.motion != table.motion, axis=-1)
    assert moved.sum() == 8 and moved[2, best[2]].all() and moved[0, best[0]].all()


def test_each_camera_has_an_adam_of_its_own():
    """Rows that are seen now and then, against optax on the numbers of one of them; a picture twice in a batch counts
    once, with the mean of its losses."""
    rng = np.random.default_rng(1)
    config, table = _table(rng, cameras=2)
    rule, wanted = optax.adam(0.1), table.motion[1, 0]
    memory = rule.init(wanted)
    for index in ([1, 0], [0, 2], [1, 1], [2, 2], [1, 2]):
        grads = jnp.zeros_like(table.motion).at[jnp.array(index)].set(rng.normal(size=(2, 2, 6)))
        scores = jnp.asarray(rng.uniform(size=(2, 2)), jnp.float32)
        seen = note_seen(table, _batch(index), jnp.array([[0, 1], [0, 1]]), scores)
        before, table = table, moved_table(table, grads, jax.tree.map(lambda x: x / 2, seen), 0.1)
        if 1 in index:
            update, memory = rule.update(grads[1, 0], memory)
            wanted = optax.apply_updates(wanted, update)
            mean = scores[jnp.array(index) == 1, 0].mean()
            np.testing.assert_allclose(table.score[1, 0], mean, rtol=1e-6)
        else:
            np.testing.assert_array_equal(table.score[1], before.score[1])
        np.testing.assert_allclose(table.motion[1, 0], wanted, atol=1e-6)


def test_the_first_four_of_a_picture_that_was_never_seen_look_from_four_sides():
    config = _settings(8, 5)
    chosen = choose_cameras(make_table(config, 1), _batch([0]), config, 4)
    angles = np.rad2deg(first_angles(8, 5))
    np.testing.assert_allclose(angles[chosen.which[0]], [[0, 0], [90, 0], [180, 0], [270, 0]], atol=1e-4)
    assert len(np.unique(np.round(angles), axis=0)) == 40 and np.abs(angles[:, 1]).max() == pytest.approx(60)


@pytest.fixture
def rival(data_root):
    """U-CMR on ellipsoids; its first stage, which trains the cameras alone."""
    config = get_config("ucmr,size=tiny")
    config.data.source, config.data.root = "prepared", str(data_root)
    config.optimizer.name, config.model.texture.kind = "adamw", "none"
    config.stages, config.checkpoint_every, config.log_every = (("cameras", 4),), 2, 1
    return config


def test_a_stopped_run_goes_on_with_its_cameras(rival, tmp_path):
    straight, stopped, one = tmp_path / "straight", tmp_path / "stopped", dict(devices=jax.devices()[:1])
    assert train(rival, straight, **one) == 4
    with stopped_at_first_save():
        train(rival, stopped, **one)
    assert train(rival, stopped, **one) == 4
    losses = [[line["loss"] for line in read_metrics(path)] for path in (straight, stopped)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and len(set(losses[0])) == 4
    assert "multiplex.motion" in (straight / "parameters.md").read_text()
    # What is loaded, exported and released knows nothing of them: it finds the camera of any picture.
    model, _ = load_model(straight)
    answer = jax.eval_shape(model, jnp.zeros((2, 32, 32, 4)))
    assert answer.found_camera.rotation.shape == (2, 3, 3)
    assert not any("multiplex" in name or "motion" in name for name in vars(model) | vars(model.camera))


def test_the_table_is_split_over_the_devices_and_nothing_else_changes(rival):
    source = DataSource(rival.data.root, "train", rival.data)
    found = []
    for devices in (1, 8):
        layout = make_layout(rival, jax.devices()[:devices])
        program = make_program(rival, layout)
        state, stage = program.start(len(source)), program.stages[0]
        batches = make_batches(source, rival.data, batch_size=rival.batch_size, seed=0)
        for number in range(3):
            batch = jax.device_put(next(batches), layout.by_batch)
            state, metrics = program.step(stage, number)(state, batch, program.values[stage.name])
        shares = {shard.data.shape for leaf in jax.tree.leaves(state.multiplex) for shard in leaf.addressable_shards}
        assert {share[0] for share in shares} == {256 // devices}
        found.append((metrics["loss"], *jax.device_get((state.multiplex.motion, state.multiplex.score))))
    assert np.abs(found[0][1]).max() > 0.01
    for one, eight in zip(*found):
        np.testing.assert_allclose(eight, one, rtol=1e-3, atol=1e-4)


def test_what_a_multiplex_needs_is_said(rival):
    layout = make_layout(rival, jax.devices()[:1])
    rival.stage.cameras.cameras = 9
    with pytest.raises(ValueError, match="config.stage.cameras.cameras=9: each picture has 8"):
        check_config(rival, layout)
    rival.data.input_crop = "object"
    with pytest.raises(ValueError, match="config.model.camera.kind=multiplex: .*input_crop=frame"):
        check_config(rival, layout)
