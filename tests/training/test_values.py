"""Numbers that a step takes as arguments: others give the same program, and do what they did as constants."""

import jax
import numpy as np
import optax
import pytest

from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.training.optimizer import learning_rate_schedule, make_optimizer
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from ast_jax.training.stages import make_stages
from ast_jax.training.values import make_values


def _text(config) -> str:
    """The program of a joint step, before it is compiled: what the cache of compiled programs goes by."""
    config.model.shape.synthesis = "none"  # half as long to trace
    program = make_program(config, make_layout(config, jax.devices()[:1]), abstract=True)
    source = DataSource(config.data.root, "train", config.data)
    batch = next(make_batches(source, config.data, batch_size=config.batch_size, seed=0))
    stage = program.stages[-1]
    return program.step(stage, 0).jitted.lower(program.first_state, batch, program.values[stage.name]).as_text()


def test_other_numbers_are_the_same_program(config):
    config.optimizer.ema_decay = 0.9
    config.model.shape.kind = "field"
    config.stage.joint.shape_code, config.stage.joint.mean_texture = 0, 0.5
    before = _text(config)
    config.stages, config.seed = (("shape", 20), ("joint", 5000)), 7
    numbers = dict(learning_rate=3e-4, warmup_steps=7, final_fraction=0.5, weight_decay=0.3, clip_norm=0.1)
    config.optimizer.update(numbers, ema_decay=0.5)
    config.optimizer.group_scale.encoder = 0.1
    config.render.sigma, config.render.sigma_start, config.render.gamma = 2e-4, 3e-3, 1e-3
    config.stage.joint.losses.iou = 0.3
    config.stage.joint.shape_code, config.stage.joint.scale, config.stage.joint.mean_texture = -1, False, 0.2
    assert _text(config) == before


# By the fraction of the steps after the warm-up that is done, in float64.
SCHEDULES = {
    "cosine": lambda done: 3e-3 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * done))),
    "linear": lambda done: 3e-3 * (1 - 0.9 * done),
    "constant": lambda done: 3e-3 * np.ones_like(done),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_follows_its_formula_in_one_program_for_all_lengths(config, name):
    c = config.optimizer
    c.schedule, c.warmup_steps, c.learning_rate, c.final_fraction = name, 100, 3e-3, 0.1
    steps, found = np.arange(3002), jax.jit(lambda values, step: learning_rate_schedule(config, values)(step))
    for length in (1, 2, 50, 3000):
        warmup = min(100, max(length // 10, 1))
        done = np.clip((steps - warmup) / max(length - warmup, 1), 0, 1)
        expected = np.where(steps < warmup, 3e-3 * steps / warmup, SCHEDULES[name](done))
        values = make_values(config, make_stages(config)[0], length)
        np.testing.assert_allclose(found(values, steps), expected, rtol=2e-6)
    assert found._cache_size() == 1


def test_there_may_be_no_warm_up(config):
    config.optimizer.warmup_steps = 0
    schedule = learning_rate_schedule(config, make_values(config, make_stages(config)[0], 10))
    assert schedule(0) == np.float32(config.optimizer.learning_rate)


def test_updates_are_those_of_optax_with_constants(config):
    """Decayed matrices, biases that are not, and a norm that is clipped."""
    c, rng, f32 = config.optimizer, np.random.default_rng(0), np.float32
    c.schedule, c.warmup_steps, c.weight_decay, c.clip_norm = "constant", 0, 0.2, 0.5
    params, *grads = ({"kernel": f32(rng.normal(size=(4, 3))), "bias": f32(rng.normal(size=3))} for _ in range(4))
    rule = optax.adamw(c.learning_rate, b2=0.99, weight_decay=0.2, mask={"kernel": True, "bias": False})
    theirs = optax.chain(optax.clip_by_global_norm(0.5), rule)

    def updates(optimizer):
        state, found = optimizer.init(params), []
        for gradient in grads:
            update, state = optimizer.update(gradient, state, params)
            found.append(update)
        return found

    expected = jax.jit(lambda: updates(theirs))()
    found = jax.jit(lambda values: updates(make_optimizer(config, values)))(
        make_values(config, make_stages(config)[0], 10)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_other_numbers_are_the_same_program_of_muon(config):
    """Which still does what it would do with these numbers alone: none was kept from when it was traced."""
    config.optimizer.name, config.optimizer.warmup_steps = "muon", 0
    params = {"kernel": np.float32(np.arange(1, 13).reshape(4, 3)), "bias": np.ones(3, np.float32)}

    def update(values):
        optimizer = make_optimizer(config, values)
        return optimizer.update(params, optimizer.init(params), params)[0]

    compiled, found = jax.jit(update), []
    for scale in (2.0, 3.0):
        config.optimizer.muon_scale, config.optimizer.weight_decay = scale, 0.1 * scale
        values = make_values(config, make_stages(config)[0], 100)
        found.append(compiled(values))
        alone = jax.jit(lambda values=values: update(values))()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), found[-1], alone)
    assert compiled._cache_size() == 1 and not np.allclose(found[0]["kernel"], found[1]["kernel"])
