"""The memory of a run and the neighbours in it: found, swapped, compared, first in first out, saved, on 8 devices."""

from collections import deque
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.spatial.transform import Rotation

from ast_jax.batch import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.losses.colour import l1_loss, mse_loss
from ast_jax.losses.term import LossInputs
from ast_jax.losses.total import total_loss
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.model.template import sphere
from ast_jax.prediction import Codes, Prediction
from ast_jax.training.checks import check_config
from ast_jax.training.loop import train
from ast_jax.training.monitoring.metrics import read_metrics
from ast_jax.training.neighbours import (
    Entry,
    Found,
    Memory,
    as_neighbours,
    find_neighbours,
    make_memory,
    recalled,
    remembered,
    swapped,
)
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from ast_jax.training.step import _accumulated
from configs.baselines import get_config
from render import FaceTexels, orbit
from tests.training.stopped import stopped_at_first_save

SETTINGS = ConfigDict(dict(memory=60, swaps="both", least_angle_deg=20.0, angle_bins=5))
BALL = sphere(1)


def _entry(rng, count: int) -> Entry:
    rotation = Rotation.random(count, random_state=int(rng.integers(1000))).as_matrix()
    parts = rng.normal(size=(count, 4)), rng.normal(size=(count, 6)), rotation
    return Entry(*(jnp.asarray(part, jnp.float32) for part in parts))


def _memory(entry: Entry, count: int) -> Memory:
    size, blank = len(entry.rotation), jnp.zeros((len(entry.rotation), 2, 2, 3), jnp.uint8)
    return Memory(blank, blank, blank[..., 0], *entry, jnp.int32(count)) if size else None


def _degrees(a, b) -> float:
    return np.degrees((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude())


@pytest.mark.parametrize("bins", [1, 5])
def test_the_nearest_that_is_seen_from_elsewhere_is_found(bins):
    """Against loops over all pairs, with angles by scipy. With five bins the angles tell which one was drawn."""
    rng = np.random.default_rng(0)
    kept, entry, filled = _entry(rng, 60), _entry(rng, 12), 50
    settings = ConfigDict(SETTINGS.to_dict() | dict(angle_bins=bins))
    found = find_neighbours(_memory(kept, filled), entry, settings, jax.random.key(3))
    drawn, kept, entry = set(), *(Entry(*map(np.asarray, each)) for each in (kept, entry))
    for i in np.flatnonzero(found.exists[:, 0]):
        angles = np.array([_degrees(entry.rotation[i], kept.rotation[j]) for j in range(filled)])
        (number,) = {int((angles[j] - 20) // (160 / bins)) for j in np.asarray(found.which[i])}
        drawn.add(number)
        inside = (angles >= 20 + number * 160 / bins) & (angles < 20 + (number + 1) * 160 / bins)
        for column, name in enumerate(("shape", "texture")):
            distance = np.square(getattr(entry, name)[i] - getattr(kept, name)[:filled]).sum(-1)
            assert found.which[i, column] == np.argmin(np.where(inside, distance, np.inf))
    assert len(drawn) == 1 and found.exists.all() if bins == 1 else len(drawn) > 2


def test_a_planted_neighbour_is_found_and_one_like_in_all_but_the_angle_is_not():
    rng = np.random.default_rng(1)
    kept, entry = _entry(rng, 60), _entry(rng, 1)
    turned = (Rotation.from_rotvec([0, np.radians(90), 0]) * Rotation.from_matrix(entry.rotation[0])).as_matrix()
    kept = kept._replace(
        shape=kept.shape.at[7].set(entry.shape[0]).at[9].set(entry.shape[0]),
        texture=kept.texture.at[9].set(entry.texture[0]).at[11].set(entry.texture[0]),
        rotation=kept.rotation.at[jnp.array([7, 11])].set(turned).at[9].set(entry.rotation[0]),
    )
    one = ConfigDict(SETTINGS.to_dict() | dict(angle_bins=1))
    found = find_neighbours(_memory(kept, 60), entry, one, jax.random.key(0))
    np.testing.assert_array_equal(found.which, [[7, 11]])
    assert found.exists.all()
    texture = find_neighbours(
        _memory(kept, 60), entry, ConfigDict(one.to_dict() | dict(swaps="texture")), jax.random.key(0)
    )
    np.testing.assert_array_equal(texture.which, [[11]])
    assert not find_neighbours(_memory(kept, 0), entry, one, jax.random.key(0)).exists.any()


def _batch(colours) -> Batch:
    """Pictures of 2 x 2 px of one grey each; the target is half as bright, the mask a quarter."""
    grey = jnp.asarray(colours, jnp.float32)[:, None, None, None] * jnp.ones((1, 2, 2, 1)) / 255
    camera = orbit(2.7, np.zeros(len(colours)), np.zeros(len(colours)), 0.5)
    views = jax.tree.map(lambda x: x[:, None], camera)
    image, target = grey * jnp.ones((1, 1, 1, 4)), (grey / 2)[:, None] * jnp.ones((1, 1, 1, 1, 3))
    none = jnp.zeros((len(colours), 1, 0, 3))
    return Batch(image, camera, target, grey[:, None, :, :, 0] / 4, views, none, jnp.arange(len(colours)))


def test_first_in_first_out():
    rng, size, expected = np.random.default_rng(2), 5, deque(maxlen=5)
    config = get_config("unicorn,size=tiny")
    config.neighbours.memory, config.data.image_size, config.data.render_size = size, 2, 2
    memory = make_memory(config, Codes(jnp.zeros((1, 4)), jnp.zeros((1, 6))))
    for turn in range(7):  # the count runs round more than once
        colours, entry = rng.integers(0, 64, 3) * 4, _entry(rng, 3)
        memory = remembered(memory, _batch(colours), entry)
        expected.extend((int(colour), *(np.asarray(part[i]) for part in entry)) for i, colour in enumerate(colours))
        held = min(3 * (turn + 1), size)
        assert min(int(memory.count), size) == held == len(expected)
        rows = sorted(range(held), key=lambda j: memory.shape[j, 0])
        for j, (colour, *parts) in zip(rows, sorted(expected, key=lambda item: item[1][0])):
            for name, part in zip(Entry._fields, parts):
                np.testing.assert_array_equal(getattr(memory, name)[j], part)
            pictures = recalled(memory, Found(jnp.array([[j]]), jnp.ones((1, 1), bool)))
            for picture, share in zip(pictures, (1, 2, 4)):
                np.testing.assert_allclose(picture * 255, np.full(picture.shape, colour // share), atol=1e-4)


def _prediction(rng, count: int, **others) -> Prediction:
    normal = lambda *shape: jnp.asarray(rng.normal(size=(count, *shape)), jnp.float32)  # noqa: E731
    camera = orbit(2.732, rng.uniform(0, 0.5, count), rng.uniform(0, 6, count), np.pi / 6)
    vertices = 0.4 * jnp.asarray(BALL.vertices[None] * rng.uniform(0.5, 1.2, (count, 1, 3)), jnp.float32)
    texels = jnp.asarray(rng.uniform(size=(count, len(BALL.faces), 1, 1, 3)), jnp.float32)
    codes = Codes(normal(4), normal(6), 1 + 0.1 * normal(3))
    parts = dict(texture=FaceTexels(texels), input_camera=camera, codes=codes, background=jnp.abs(normal(4, 4, 3)) % 1)
    return Prediction(vertices, BALL.faces, **parts | others)


def test_a_swap_changes_what_it_should_and_nothing_else():
    rng = np.random.default_rng(3)
    own, theirs = _prediction(rng, 2), _prediction(rng, 4)
    both = swapped(own, theirs, "both")
    for k in range(4):
        i = k // 2
        stretch = np.asarray(theirs.codes.scale[k] / own.codes.scale[i])
        shape = theirs.vertices[k] if k % 2 else np.asarray(own.vertices)[i] * stretch
        colours = (own.texture.values[i], theirs.texture.values[k])[(k + 1) % 2]
        np.testing.assert_allclose(both.vertices[k], shape, rtol=1e-5)
        np.testing.assert_array_equal(both.texture.values[k], colours)
    rest = [replace(each, vertices=theirs.vertices, texture=None) for each in (both, theirs)]
    jax.tree.map(np.testing.assert_array_equal, *rest)
    alone = swapped(own, theirs[:2], "texture")
    np.testing.assert_array_equal(alone.vertices, theirs.vertices[:2])
    np.testing.assert_array_equal(alone.texture.values, own.texture.values)

    def total(own, theirs):
        both = swapped(own, theirs, "both")
        return both.vertices.sum() + both.texture.values.sum() + both.background.sum()

    grads, none = jax.grad(total, argnums=(0, 1))(own, theirs)
    assert np.abs(grads.vertices).max() > 0 and (grads.texture.values == 1).all()
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(none))


def test_the_term_is_the_sum_over_swaps_of_the_terms_on_colours():
    rng, inputs = np.random.default_rng(4), LossInputs(sigma=1e-3, blending="hard", whole_picture=True)
    prediction, other, batch = _prediction(rng, 2), _prediction(rng, 4), _batch([8, 16])
    own = replace(
        prediction, camera=jax.tree.map(lambda x: x[:, None], prediction.input_camera), camera_logits=jnp.ones((2, 1))
    )
    pictures = recalled(_memory(_entry(rng, 4), 4), Found(jnp.arange(4).reshape(2, 2), jnp.ones((2, 2), bool)))
    pictures = pictures._replace(target=jnp.asarray(rng.uniform(size=(4, 2, 2, 3)), jnp.float32))
    found = Found(jnp.zeros((2, 2), int), jnp.array([[True, True], [True, False]]))
    neighbours = as_neighbours(other, pictures, found)
    weights = dict(mse=2.0, l1=0.5, laplacian=3.0, neighbour=0.1)
    total = jax.jit(lambda neighbours: total_loss(own, batch, weights, replace(inputs, neighbours=neighbours)))
    loss, values = total(neighbours)
    settings = ViewSettings((2, 2), inputs.sigma, inputs.gamma, inputs.blending)
    look = dict(texture=other.texture, background=other.background)
    views = jax.tree.map(lambda x: x[:, None], other.input_camera)
    rgb, _ = jax.jit(lambda: render_views(other.vertices, other.faces, views, settings, **look))()
    each = 2.0 * mse_loss(rgb, pictures.target) + 0.5 * l1_loss(rgb, pictures.target)
    expected = each[:3].sum()  # the fourth was not found
    np.testing.assert_allclose(values["loss/neighbour"], expected / 2, rtol=1e-5)
    np.testing.assert_allclose(loss, sum(weights[name] * values[f"loss/{name}"] for name in weights), rtol=1e-5)
    without, values = total(None)  # as in validation, which remembers nothing
    assert "loss/neighbour" not in values
    np.testing.assert_allclose(without, loss - 0.1 * expected / 2, rtol=1e-4)


def test_parts_of_a_batch_are_remembered_in_its_order():
    batch = _batch(np.arange(6))
    told, entry = _accumulated(lambda part: (part.image.mean(), part.image), batch, 3)
    np.testing.assert_array_equal(entry, batch.image)
    np.testing.assert_allclose(told, batch.image.mean(), rtol=1e-6)


@pytest.fixture
def rival(data_root):
    """Unicorn on ellipsoids; its last stage, with everything live."""
    config = get_config("unicorn,size=tiny")
    config.data.source, config.data.root = "prepared", str(data_root)
    config.optimizer.name, config.optimizer.warmup_steps = "adamw", 0
    # Quick to compile; and all that is remembered is a neighbour, whichever camera the first steps prefer.
    config.render.blending, config.model.background.kind, config.model.shape.level = "hard", "none", 1
    config.model.shape.query_level = config.model.texture.query_level = 1
    config.neighbours.least_angle_deg, config.neighbours.angle_bins = 0.0, 1
    config.stages, config.checkpoint_every, config.log_every = (("joint", 6),), 4, 1
    return config


def test_a_stopped_run_goes_on_with_its_memory(rival, tmp_path):
    straight, stopped, one = tmp_path / "straight", tmp_path / "stopped", dict(devices=jax.devices()[:1])
    assert train(rival, straight, **one) == 6
    with stopped_at_first_save():
        train(rival, stopped, **one)
    assert train(rival, stopped, **one) == 6
    lines = [read_metrics(path) for path in (straight, stopped)]
    losses = [[line["loss"] for line in each] for each in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and len(set(losses[0])) == 6
    assert lines[0][-1]["loss/neighbour"] > 0  # it found some


@pytest.mark.slow
def test_eight_devices_find_the_neighbours_of_one(rival):
    source, found = DataSource(rival.data.root, "train", rival.data), []
    for devices in (1, 8):
        layout = make_layout(rival, jax.devices()[:devices])
        program = make_program(rival, layout)
        state, stage = program.start(len(source)), program.stages[0]
        batches = make_batches(source, rival.data, batch_size=rival.batch_size, seed=0)
        losses = []
        for number in range(6):
            batch = jax.device_put(next(batches), layout.by_batch)
            state, metrics = program.step(stage, number)(state, batch, program.values[stage.name])
            losses.append(float(metrics["loss/neighbour"] if number % 2 else metrics["loss"]))
        found.append((losses, jax.device_get(state.memory)))
    (one, kept), (eight, kept_by_eight) = found
    np.testing.assert_allclose(eight, one, rtol=1e-3)
    assert one[1] == 0 and min(one[3], one[5]) > 0  # nothing is remembered before the first turn
    assert int(kept.count) == 24 and kept.image.any() and len(np.unique(kept.target)) > 10
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), kept, kept_by_eight)


def test_what_a_memory_needs_is_said(rival):
    layout = make_layout(rival, jax.devices()[:1])
    check_config(rival, layout)
    rival.neighbours.memory = 4
    with pytest.raises(ValueError, match="config.neighbours.memory=4: remember a batch at least"):
        check_config(rival, layout)
    rival.neighbours.memory, rival.data.input_crop = 16, "object"
    rival.model.background.kind = "picture"
    with pytest.raises(ValueError, match="config.model.background.kind=picture: what lies behind"):
        check_config(rival, layout)
    rival.data.input_crop, rival.model.texture.code_size = "frame", 0
    with pytest.raises(ValueError, match="losses.neighbour: the loss 'neighbour' needs config.model.shape.kind=field"):
        check_config(rival, layout)
