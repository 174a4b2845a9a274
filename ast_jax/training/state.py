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
