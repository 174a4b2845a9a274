"""Optimizers by name, and the learning rate over a run."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from optax.contrib import MuonDimensionNumbers

from ast_jax.near_match import choose
from ast_jax.training.values import StageValues

NAMES = ("adamw", "muon")
# name -> f(peak, final fraction), over the part of the steps after the warm-up that is done: optax asks for a length
# that is known, and that of a run is not when its step is compiled.
SCHEDULES = {
    "cosine": lambda peak, fraction: optax.cosine_decay_schedule(peak, 1, fraction),
    "linear": lambda peak, fraction: optax.linear_schedule(peak, peak * fraction, 1),
    "constant": lambda peak, fraction: optax.constant_schedule(peak),
}
# Shorter memory than Adam's 0.999: runs here are thousands of steps, not hundreds of thousands.
_SECOND_MOMENT_DECAY = 0.99
# Root mean square of an entry of Muon's update over its learning rate: about that of AdamW's updates, so that rates
# carry over (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).
_UPDATE_RMS = 0.2
# Attention kernels keep their head axis, see ast_jax/model/layers.py: which axes are inputs and which outputs.
_HEAD_KERNELS = {"query": ((0,), (1, 2)), "key": ((0,), (1, 2)), "value": ((0,), (1, 2)), "out": ((0, 1), (2,))}


def learning_rate_schedule(config: ConfigDict, values: StageValues) -> optax.Schedule:
    """Linear warm-up, then by ``config.optimizer.schedule`` down to ``final_fraction`` of the peak at the last step.

    Args:
      config: the experiment, for the name of the schedule.
      values: all numbers.

    Raises:
      ValueError: there is no schedule of that name.
    """
    decay_of = SCHEDULES[choose("config.optimizer.schedule", config.optimizer.schedule, SCHEDULES)]
    decay = decay_of(values.learning_rate, values.final_fraction)
    rise = optax.linear_schedule(0.0, values.learning_rate, 1)
    warmup, steps = jnp.maximum(values.warmup_steps, 1), jnp.maximum(values.num_steps - values.warmup_steps, 1)
    parts = [lambda step: rise(step / warmup), lambda step: decay(step / steps)]
    return optax.join_schedules(parts, [values.warmup_steps])


def make_optimizer(config: ConfigDict, values: StageValues) -> optax.GradientTransformation:
    """AdamW or Muon with global-norm clipping; weight decay on matrices only, as ViT and DETR code bases do.

    Muon moves every matrix by its orthogonalised momentum, at ``muon_scale`` times the learning rate; embeddings,
    biases and norms stay with AdamW.

    Args:
      config: the experiment, for the names of the rule and of the schedule.
      values: all numbers, which may be traced.

    Raises:
      ValueError: ``config.optimizer.name`` is unknown.
    Source: Loshchilov & Hutter 2019 (AdamW); Jordan et al. 2024 (Muon).
    """
    schedule = learning_rate_schedule(config, values)
    decay = dict(weight_decay=values.weight_decay)
    if choose("config.optimizer.name", config.optimizer.name, NAMES) == "adamw":
        rule = optax.adamw(schedule, b2=_SECOND_MOMENT_DECAY, mask=_is_matrix, **decay)
    else:
        rule = optax.contrib.muon(
            lambda step: values.muon_scale * schedule(step),
            adam_learning_rate=schedule,
            adam_b2=_SECOND_MOMENT_DECAY,
            weight_decay_mask=_is_matrix,
            muon_weight_dimension_numbers=kernel_axes,
            consistent_rms=_UPDATE_RMS,
            **decay,
        )
    return optax.chain(optax.clip_by_global_norm(values.clip_norm), rule)


def kernel_axes(params: dict) -> dict:
    """For every kernel its input and output axes, None for all other parameters; a tree like ``params``."""
    return jax.tree_util.tree_map_with_path(_axes_of, params)


def _axes_of(path, param) -> MuonDimensionNumbers | None:
    parent, name = ([""] + [str(getattr(key, "key", key)) for key in path])[-2:]
    if name != "kernel" or param.ndim < 2:
        return None
    if param.ndim == 3 and parent in _HEAD_KERNELS:
        return MuonDimensionNumbers(*_HEAD_KERNELS[parent])
    if param.ndim == 3:  # one linear map per query, [q, d, 3]: all of them are one map from d to 3 q numbers
        return MuonDimensionNumbers((1,), (0, 2))
    return MuonDimensionNumbers(tuple(range(param.ndim - 1)), (param.ndim - 1,))  # linear maps and convolutions


def _is_matrix(params: dict) -> dict:
    return jax.tree.map(lambda param: param.ndim >= 2, params)
