"""Optimizers: what makes Muon Muon, on the parameters of the real model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.training.optimizer import kernel_axes, make_optimizer
from ast_jax.training.stages import make_stages
from ast_jax.training.state import make_model
from ast_jax.training.values import make_values

RNG = np.random.default_rng(0)


def _values(config, num_steps=100):
    return make_values(config, make_stages(config)[0], num_steps)


def _first_update(config, params):
    grads = jax.tree.map(lambda p: jnp.asarray(RNG.normal(size=p.shape), jnp.float32), params)
    optimizer = make_optimizer(config, _values(config))
    state = optimizer.init(params)
    for _ in range(2):  # the rate is 0 in the very first step
        update, state = optimizer.update(grads, state, params)
    return update


def test_every_kernel_is_a_matrix_for_muon_and_nothing_else_is(config):
    _, params = make_model(config)
    axes = jax.tree_util.tree_leaves_with_path(kernel_axes(params), is_leaf=lambda x: x is None or hasattr(x, "count"))
    kernels = [jax.tree_util.keystr(path) for path, numbers in axes if numbers is not None]
    everything = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert kernels and set(kernels) == {name for name in everything if name.endswith("['kernel']")}


@pytest.mark.parametrize(
    "path, shape, axes",
    [
        (("layer", "kernel"), (6, 9), (0, 1)),
        (("conv", "kernel"), (3, 3, 4, 5), (0, 1, 2, 3)),
        (("attention", "query", "kernel"), (12, 3, 4), (0, 1, 2)),
        (("attention", "out", "kernel"), (3, 4, 12), (0, 1, 2)),
        (("heads", "kernel"), (5, 6, 3), (1, 0, 2)),
    ],
)
def test_muons_update_is_orthogonal(config, path, shape, axes):
    """All singular values of the update are about equal, whatever the gradient's are."""
    params = jnp.zeros(shape)
    for name in reversed(path):
        params = {name: params}
    config.optimizer.name, config.optimizer.weight_decay = "muon", 0.0
    update = np.asarray(jax.tree.leaves(_first_update(config, params))[0]).transpose(axes)
    inputs = 1 if path[-2] not in ("conv", "out") else len(shape) - 1
    matrix = update.reshape(np.prod(update.shape[:inputs]), -1)
    values = np.linalg.svd(matrix, compute_uv=False)
    # Five steps of Newton and Schulz with these coefficients end within 0.7 to 1.2 (Jordan et al. 2024).
    assert values.max() / values.min() < 1.2 / 0.65


def test_both_optimizers_move_an_entry_about_as_much(config):
    params = {"layer": {"kernel": jnp.zeros((64, 96))}}
    sizes = {}
    for name in ("adamw", "muon"):
        config.optimizer.name, config.optimizer.muon_scale = name, 1.0
        update = _first_update(config, params)["layer"]["kernel"]
        sizes[name] = float(jnp.sqrt(jnp.square(update).mean()))
    assert 0.1 < sizes["muon"] / sizes["adamw"] < 0.4  # 0.2, as AdamW's are after its first steps


def test_an_unknown_optimizer_is_named(config):
    config.optimizer.name = "mon"
    with pytest.raises(ValueError, match="'mon'.*adamw, muon"):
        make_optimizer(config, _values(config))
