import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.model.axes import recomputing
from ast_jax.training.optimizer import make_optimizer
from ast_jax.training.precision import cast_parameters
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from ast_jax.training.stages import make_stages
from ast_jax.training.state import make_model, make_state
from ast_jax.training.step import sigma_at
from ast_jax.training.values import make_values
from benchmarks.collectives import count_by_kind, find_collectives


@pytest.fixture
def simple(config):
    """Shape alone. With an average in all tests, so that those of the first stage take the same program."""
    config.model.texture.kind, config.optimizer.ema_decay = "none", 0.15
    return config


_made = {}  # several tests compare with the same steps, which take half a minute to compile


def _steps(config, stage: int, *, devices: int = 1, turns: int = 3):
    """Parameters before and after, and the metrics of each step."""
    states, metrics, _ = _states(config, stage, devices, turns)
    return states[0].params, states[-1].params, metrics


def _states(config, stage: int, devices: int, turns: int):
    """The state before the first step and after each, the metrics of each step, and the program."""
    key = config.to_json(), stage, devices, turns
    if key not in _made:
        _made[key] = _make_steps(config, stage, devices, turns)
    return _made[key]


def _make_steps(config, stage: int, devices: int, turns: int):
    program = make_program(config, make_layout(config, jax.devices()[:devices]))
    source = DataSource(config.data.root, "train", config.data)
    batches = make_batches(source, config.data, batch_size=config.batch_size, seed=0)
    state = program.first_state
    states, metrics = [jax.device_get(state)], []
    for turn in range(turns):
        batch = jax.device_put(next(batches), program.layout.by_batch)
        values = program.values[program.stages[stage].name]
        state, found = program.step(program.stages[stage], turn)(state, batch, values)
        states.append(jax.device_get(state))
        metrics.append(jax.device_get(found))
    return states, metrics, program


def _still(before, after, group: str) -> list[str]:
    """Names of the parameters of a group that did not move."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(before[group]), jax.tree.leaves(after[group]))
    return [jax.tree_util.keystr(path) for (path, old), new in pairs if np.array_equal(old, new)]


def test_shape_stage_moves_shape_and_leaves_texture(config):
    # Two turns: heads that start at zero let no gradient through to what lies before them in the first.
    before, after, metrics = _steps(config, 0)
    assert not _still(before, after, "shape") + _still(before, after, "encoder")
    assert len(_still(before, after, "texture")) == len(jax.tree.leaves(before["texture"]))
    assert all(np.isfinite(m["loss"]) and not m["skipped"] for m in metrics)


def test_joint_stage_moves_every_parameter(config):
    config.model.num_keypoints = 2
    config.stage.joint.losses.keypoint = 1.0
    before, after, _ = _steps(config, 1)
    assert not [name for group in before for name in _still(before, after, group)]


def test_candidates_alternate_between_pose_and_shape(simple):
    simple.model.camera.kind = "candidates"
    simple.stage.shape.losses.uniform_pose, simple.stage.shape.losses.camera = 0.1, 0.0
    before, after, metrics = _steps(simple, 0, turns=4)
    assert "loss/uniform_pose" in metrics[0] and "loss/uniform_pose" not in metrics[1]
    assert "loss/laplacian" in metrics[1] and "loss/laplacian" not in metrics[0]
    assert not _still(before, after, "camera") + _still(before, after, "shape")


def test_eight_devices_give_the_loss_of_one(config):
    config.model.num_keypoints = 2
    config.stage.joint.losses.keypoint = 1.0
    one = _steps(config, 1, devices=1)[2]
    _, eight, program = _states(config, 1, 8, 3)
    np.testing.assert_allclose([m["loss"] for m in eight], [m["loss"] for m in one], rtol=2e-5)
    # Data parallelism only sums gradients. Other meshes: test_sharding.py.
    text = program.step(program.stages[1], 0).executable.as_text()
    count = count_by_kind(find_collectives(text, 8))
    assert sum(count.values()) == count["all-reduce"] > 0, count


def _losses(config) -> list[float]:
    return [float(m["loss"]) for m in _steps(config, 0)[2]]


def test_parts_of_a_batch_one_after_the_other_are_the_whole_batch(simple):
    whole = _losses(simple)
    simple.accumulate_steps = 4
    np.testing.assert_allclose(_losses(simple), whole, rtol=1e-5)


def test_computing_activations_again_keeps_less_and_changes_no_gradient(simple):
    image = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 3)), jnp.float32)

    def losses(layers: int):
        simple.model.shape.layers = layers
        graphdef, params = make_model(simple)

        def loss(params, recompute: bool):
            with recomputing(recompute):
                return jnp.square(nnx.merge(graphdef, params)(image).vertices).sum()

        return params, [functools.partial(loss, recompute=recompute) for recompute in (False, True)]

    params, (once, again) = losses(4)
    # The function that jax.vjp gives is a pytree of what is kept for the backward pass.
    kept = [
        sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda p, loss=loss: jax.vjp(loss, p)[1], params)))
        for loss in (once, again)
    ]
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert kept[1] - weights < 0.5 * (kept[0] - weights)
    params, pair = losses(2)  # half as long to compile
    gradients = [jax.jit(jax.grad(loss))(params) for loss in pair]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *gradients)


def test_bfloat16_computes_most_products_and_keeps_what_must_be_exact(simple):
    exact = _losses(simple)
    simple.precision.compute = "bfloat16"
    before, after, metrics = _steps(simple, 0)
    np.testing.assert_allclose([m["loss"] for m in metrics], exact, rtol=2e-2)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after))
    assert not _still(before, after, "shape") + _still(before, after, "encoder")
    graphdef, params = make_model(simple)
    model = lambda p, x: nnx.merge(graphdef, cast_parameters(p, simple.precision))(x)  # noqa: E731
    traced = jax.make_jaxpr(model)(params, jnp.zeros((1, 32, 32, 3)))
    products = [line for line in str(traced).splitlines() if "dot_general" in line or "conv_general_dilated" in line]
    short = [line for line in products if "bf16[" in line.split("=")[0]]
    assert len(short) > 0.6 * len(products)
    vertices = jax.eval_shape(model, params, jnp.zeros((1, 32, 32, 3))).vertices
    assert vertices.dtype == jnp.float32


def test_the_average_follows_the_weights_as_its_formula_says(simple):
    states, _, _ = _states(simple, 0, 1, 3)
    for number, (old, new) in enumerate(zip(states, states[1:])):
        decay = min(0.15, (1 + number) / (10 + number))
        for before, weights, found in zip(*map(jax.tree.leaves, (old.average, new.params, new.average))):
            np.testing.assert_allclose(found, decay * before + (1 - decay) * weights, atol=1e-6)


def test_an_unknown_loss_is_named(config):
    with config.unlocked():
        config.stage.shape.losses.iuo = 1.0
    with pytest.raises(ValueError, match="iuo"):
        _steps(config, 0)


def test_sigma_shrinks_to_the_published_one(config):
    assert [float(sigma_at(p, 1e-3, config.render.sigma)) for p in (0.0, 0.5, 1.0)] == pytest.approx([1e-3, 1e-4, 1e-4])


def test_no_number_of_the_state_is_weakly_typed(config):
    """It would not be after the first step, and the whole step would be compiled a second time."""
    _, params = make_model(config)
    state = make_state(params, make_optimizer(config, make_values(config, make_stages(config)[0], 100)))
    assert not [jax.tree_util.keystr(k) for k, x in jax.tree_util.tree_leaves_with_path(state) if x.weak_type]
