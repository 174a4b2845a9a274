"""Parameters, optimizer state and step number: all that a checkpoint needs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Int
from ml_collections import ConfigDict

from ast_jax.model import Model


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a train step takes and gives."""

    step: Int[jax.Array, ""]
    params: Any
    opt_state: Any


def learning_rate_schedule(config: ConfigDict, num_steps: int) -> optax.Schedule:
    """Linear warm-up, then a cosine down to ``final_fraction`` of the peak at the last step."""
    c = config.optimizer
    warmup = min(c.warmup_steps, max(num_steps // 10, 1))
    return optax.warmup_cosine_decay_schedule(
        0.0, c.learning_rate, warmup, max(num_steps, warmup + 1), c.learning_rate * c.final_fraction
    )


def make_optimizer(config: ConfigDict, num_steps: int) -> optax.GradientTransformation:
    """AdamW with global-norm clipping; weight decay on matrices only, as ViT and DETR code bases do."""
    c = config.optimizer
    return optax.chain(
        optax.clip_by_global_norm(c.clip_norm),
        optax.adamw(
            learning_rate_schedule(config, num_steps),
            b2=0.99,  # shorter memory than 0.999: runs here are thousands of steps, not hundreds of thousands
            weight_decay=c.weight_decay,
            mask=lambda params: jax.tree.map(lambda p: p.ndim >= 2, params),
        ),
    )


def make_model(config: ConfigDict) -> tuple[Any, dict]:
    """Graph definition and fresh parameters (a pure dict) of the model that the config describes."""
    model = Model(config.model, rngs=nnx.Rngs(config.seed))
    graphdef, params = nnx.split(model)
    return graphdef, nnx.to_pure_dict(params)


def make_state(params: dict, optimizer: optax.GradientTransformation) -> TrainState:
    """State at step 0."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def count_parameters(params: dict) -> int:
    """Number of scalars in a parameter tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
