"""One training step: a pure function of state and batch, jitted, donated and sharded over the batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.data.example import Batch
from ast_jax.losses.total import LossInputs, total_loss
from ast_jax.training.stages import Stage
from ast_jax.training.state import TrainState

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict]]


def make_train_step(
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    stage: Stage,
    *,
    mesh: jax.sharding.Mesh,
    num_steps: int,
    phase: str = "shape",
    perceptual: Any = None,
) -> TrainStep:
    """Build the step of one stage.

    Args:
      graphdef: structure of the model (``nnx.split``).
      optimizer: made by `make_optimizer`.
      config: the experiment.
      stage: says which losses count and which parameter groups move.
      mesh: device mesh with an axis ``data``; the batch is split over it, the state is replicated.
      num_steps: length of the whole run, for the schedule of sigma.
      phase: ``"shape"``, or ``"pose"`` where the model proposes several cameras and only these are trained.
      perceptual: the network of the perceptual loss, or None.

    Returns:
      ``step(state, batch) -> (state, metrics)``; the state given is donated.
    """
    scales = {group: config.optimizer.group_scale[group] for group in stage.trainable}

    def loss_fn(params, batch: Batch, step, perceptual):
        model = nnx.merge(graphdef, params)
        prediction, template = model(batch.image), model.template[0].astype(np.float32)
        sigma = sigma_at(step / num_steps, config.render)
        inputs = LossInputs(
            sigma=sigma,
            gamma=config.render.gamma,
            blending=config.render.blending,
            background=tuple(config.data.background),
            perceptual=perceptual,
            mesh=mesh,
            phase=phase,
            template_vertices=template,
        )
        return total_loss(prediction, batch, dict(stage.losses), inputs)

    def train_step(state: TrainState, batch: Batch, perceptual):
        (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, state.step, perceptual)
        grads = _only(grads, stage.trainable)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        scaled = {group: _scale(tree, scales.get(group, 0.0)) for group, tree in updates.items()}
        params = optax.apply_updates(state.params, scaled)
        metrics = dict(metrics, loss=loss, gradient_norm=optax.tree.norm(grads))
        # A non-finite step changes nothing: one bad batch must not cost the run.
        good = jnp.isfinite(loss) & jnp.isfinite(metrics["gradient_norm"])
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(good, new, old), (params, opt_state), (state.params, state.opt_state)
        )
        metrics["skipped"] = 1.0 - good
        return TrainState(state.step + 1, params, opt_state), metrics

    replicated = jax.NamedSharding(mesh, jax.P())
    by_batch = jax.NamedSharding(mesh, jax.P("data"))
    jitted = jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(replicated, by_batch, replicated),
        out_shardings=(replicated, replicated),
    )
    # The perceptual network is an argument, not a constant: its weights would be compiled into the program.
    perceptual = jax.device_put(perceptual, replicated)
    return lambda state, batch: jitted(state, batch, perceptual)


def sigma_at(progress, render_config: ConfigDict):
    """Softness of the rasterizer: geometric from ``sigma_start`` to ``sigma`` over the first half of the run."""
    ratio = render_config.sigma_start / render_config.sigma
    return render_config.sigma * ratio ** jnp.clip(1.0 - 2.0 * progress, 0.0, 1.0)


def _scale(tree: dict, factor: float) -> dict:
    return jax.tree.map(lambda update: update * factor, tree)


def _only(grads: dict, trainable: tuple[str, ...]) -> dict:
    """Zero the gradients of the frozen groups, so that they count neither in the norm nor in the moments."""
    return {group: tree if group in trainable else jax.tree.map(jnp.zeros_like, tree) for group, tree in grads.items()}
