"""Parameters, optimizer state and step number: all that a checkpoint needs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.model import Model
from ast_jax.model.axes import axes_of_parameters
from ast_jax.training.sharding import Layout, parameters_by_path


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a train step takes and gives; the leaves are arrays, or what describes them (shapes, shardings).

    Args:
      step: how many steps were made, an int32 scalar.
      params: of the model, float32.
      opt_state: of the optimizer.
      average: exponential moving average of the parameters, or None without ``config.optimizer.ema_decay``.
      multiplex: the cameras of the training pictures, a `CameraTable`, or None where they have none of their own.
      memory: pictures that were seen before, a `Memory`, or None where nothing is compared with them.
    """

    step: Any
    params: Any
    opt_state: Any
    average: Any = None
    multiplex: Any = None
    memory: Any = None

    @property
    def held(self) -> tuple:
        """All of it but the step: what takes memory and room."""
        return self.params, self.opt_state, self.average, self.multiplex, self.memory


def make_model(config: ConfigDict, *, abstract: bool = False) -> tuple[nnx.GraphDef, dict]:
    """Graph definition and fresh parameters (a pure dict) of the model that the config describes.

    Args:
      config: the experiment.
      abstract: shapes in place of parameters; nothing is computed.
    """

    def make() -> Model:
        rngs = nnx.Rngs(config.seed)
        # Counted in numpy: flax asks a traced count for its sharding at every parameter, and jax refuses with a
        # history of the whole trace, which takes the square of the model's size.
        rngs.default.count.set_value(np.zeros((), np.uint32))
        return Model(config.model, rngs=rngs)

    graphdef, params = nnx.split(nnx.eval_shape(make) if abstract else make())
    return graphdef, nnx.to_pure_dict(params)


def make_state(params: dict, optimizer: optax.GradientTransformation, *, average: bool = False) -> TrainState:
    """State at step 0, with a moving average of the parameters if wanted."""
    copy = jax.tree.map(jnp.copy, params) if average else None
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), copy)


def state_shardings(state: TrainState, graphdef: nnx.GraphDef, layout: Layout) -> TrainState:
    """Where every array of a state lies: moments and averages beside their parameters.

    Args:
      state: arrays or their ``jax.ShapeDtypeStruct``.
      graphdef: of the model, which names the axes of its parameters.
      layout: mesh and rules.
    """
    axes = axes_of_parameters(nnx.merge(graphdef, state.params))
    params = layout.parameters(axes, state.params)
    by_path = parameters_by_path(state.params, params)
    rest = layout.like_parameters((state.opt_state, state.average), by_path)
    return TrainState(layout.replicated, params, *rest)


def count_parameters(params: dict) -> int:
    """Number of scalars in a parameter tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
