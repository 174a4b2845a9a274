"""One training step: a pure function of state and batch, jitted, donated and sharded by the layout."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.compile_options import quick_options
from ast_jax.losses.term import LossInputs
from ast_jax.losses.total import multiplex_loss, total_loss
from ast_jax.model.axes import placing, recomputing
from ast_jax.model.starts import WrongStarts
from ast_jax.model.template import template_vertices
from ast_jax.training.mean_texture import with_mean_texture
from ast_jax.training.multiplex import GROUP, CameraTable, Seen, choose_cameras, moved_table, note_seen
from ast_jax.training.neighbours import TERM, Entry, Memory, look_back, remembered
from ast_jax.training.optimizer import learning_rate_schedule, make_optimizer
from ast_jax.training.precision import cast_parameters
from ast_jax.training.sharding import Layout
from ast_jax.training.stages import Stage
from ast_jax.training.state import TrainState
from ast_jax.training.values import StageValues

# f(state, batch, values) -> (state, metrics)
TrainStep = Callable[[TrainState, Batch, StageValues], tuple[TrainState, dict]]
# f(params, batch, step, values, table of cameras or None, memory or None)
# -> (loss, (metrics, what was seen of the cameras or None, what is to be remembered or None))
LossFunction = Callable[..., tuple[jax.Array, tuple[dict, Seen | None, Entry | None]]]


def make_train_step(
    graphdef: nnx.GraphDef,
    config: ConfigDict,
    stage: Stage,
    *,
    layout: Layout,
    shardings: TrainState,
    phase: str = "shape",
) -> TrainStep:
    """Build the step of one stage.

    Args:
      graphdef: structure of the model (``nnx.split``).
      config: the experiment. The numbers in `StageValues` are not read from it: the program is the same whatever
        they are.
      stage: says which losses count and which parameter groups move.
      layout: mesh and rules; the batch is split over the axes of ``batch``.
      shardings: of the state, from `state_shardings`.
      phase: ``"shape"``, or ``"pose"`` where the model proposes several cameras and only these are trained.

    Returns:
      the jitted ``step(state, batch, values) -> (state, metrics)``; the state given is donated.
    """
    loss_fn = make_loss(graphdef, config, stage, layout=layout, phase=phase)
    looks_back = TERM in dict(stage.losses) and phase == "shape"

    def train_step(state: TrainState, batch: Batch, values: StageValues) -> tuple[TrainState, dict]:
        def gradient(part: Batch):
            def loss(params: dict, motion):
                table = None if motion is None else replace(state.multiplex, motion=motion)
                return loss_fn(params, part, state.step, values, table, state.memory if looks_back else None)

            motion = None if state.multiplex is None else state.multiplex.motion
            (_, (*told, entry)), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(state.params, motion)
            return (told, grads), entry

        ((metrics, seen), (grads, motion_grads)), entry = _accumulated(gradient, batch, config.accumulate_steps)
        grads = _only(grads, stage.trainable)
        updates, opt_state = make_optimizer(config, values).update(grads, state.opt_state, state.params)
        scaled = {group: _scale(tree, values.group_scale.get(group, 0.0)) for group, tree in updates.items()}
        params = optax.apply_updates(state.params, scaled)
        average = _moved(state.average, params, state.step, values.ema_decay)
        multiplex = None
        if seen is not None:
            rate = learning_rate_schedule(config, values)(state.step) * values.group_scale.get(GROUP, 0.0)
            multiplex = moved_table(state.multiplex, motion_grads, seen, rate)
        memory = state.memory if entry is None else remembered(state.memory, batch, entry)
        metrics = dict(metrics, gradient_norm=optax.tree.norm((grads, motion_grads)))
        # A non-finite step changes nothing: one bad batch must not cost the run.
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
        new = params, opt_state, average, multiplex, memory
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state.held)
        metrics["skipped"] = 1.0 - good
        return TrainState(state.step + 1, *kept), metrics

    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(shardings, layout.by_batch, layout.replicated),
        out_shardings=(shardings, layout.replicated),
        compiler_options=quick_options(),
    )


def make_loss(
    graphdef: nnx.GraphDef, config: ConfigDict, stage: Stage, *, layout: Layout, phase: str = "shape"
) -> LossFunction:
    """The loss of a stage as a function of the parameters; arguments as for `make_train_step`."""

    def predict(params: dict, image, step, values: StageValues):
        model = nnx.merge(graphdef, cast_parameters(params, config.precision))
        with placing(layout.place, layout.split), recomputing(config.recompute):
            starts = None
            if values.wrong_starts is not None:
                starts = WrongStarts(values.wrong_starts, jax.random.fold_in(jax.random.key(0), step))
            options = dict(synthesis=stage.synthesis, both_ways=False, live=values.live)
            prediction = model(image, **options, wrong_starts=starts)
        return jax.tree.map(lambda x: x.astype(jnp.float32), prediction)

    shape = config.model.shape
    template = template_vertices(shape.level, shape.radius, shape.axes).astype(np.float32)

    def loss_fn(
        params: dict,
        batch: Batch,
        step,
        values: StageValues,
        table: CameraTable | None = None,
        memory: Memory | None = None,
    ):
        inputs = LossInputs(
            sigma=sigma_at(step / values.num_steps, values.sigma_start, values.sigma),
            gamma=values.gamma,
            blending=config.render.blending,
            background=tuple(config.data.background),
            falloff=config.render.falloff,
            whole_picture=config.render.compare == "picture",
            colour_moves_shape=config.render.colour_moves_shape,
            perceptual=values.perceptual,
            mesh=layout.mesh,
            render_axes=layout.render_axes(len(batch.image)),
            phase=phase,
            template_vertices=template,
            peakiness=values.peakiness,
        )
        prediction, is_plain, entry = predict(params, batch.image, step, values), None, None
        if values.mean_texture is not None:
            drawn = jax.random.uniform(jax.random.fold_in(jax.random.key(1), step), (len(batch.image),))
            is_plain = drawn < values.mean_texture
            prediction = with_mean_texture(prediction, is_plain)
        if memory is not None:
            still, key = jax.lax.stop_gradient(params), jax.random.fold_in(jax.random.key(2), step)
            entry, neighbours = look_back(
                memory,
                prediction,
                config.neighbours,
                predict=lambda image: predict(still, image, step, values),
                is_plain=is_plain,
                key=key,
            )
            inputs = replace(inputs, neighbours=neighbours)
        if table is None:
            loss, metrics = total_loss(prediction, batch, values.loss_weights, inputs)
            return loss, (dict(metrics, loss=loss), None, entry)
        chosen = choose_cameras(table, batch, config, stage.cameras)
        prediction = replace(prediction, camera=chosen.cameras)
        batch = replace(batch, input_camera=jax.lax.stop_gradient(chosen.best))
        loss, metrics, scores = multiplex_loss(prediction, batch, values.loss_weights, inputs)
        return loss, (dict(metrics, loss=loss), note_seen(table, batch, chosen.which, scores), entry)

    return loss_fn


def sigma_at(progress, start, end):
    """Softness of the rasterizer: geometric from ``start`` to ``end`` over the first half of the run."""
    return end * (start / end) ** jnp.clip(1.0 - 2.0 * progress, 0.0, 1.0)


def _accumulated(gradient: Callable, batch: Batch, count: int) -> tuple:
    """Mean of what is told and of gradients over ``count`` parts of a batch, one after the other, and what is to be
    remembered of all of it.

    Every part takes every ``count``-th sample, so that each device works on samples that it holds.
    """
    if count == 1:
        return gradient(batch)
    parts = jax.tree.map(lambda x: x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1), batch)
    first = jax.tree.map(lambda x: x[0], parts)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, first)[0])

    def added(sums, part: Batch):
        told, entry = gradient(part)
        return jax.tree.map(jnp.add, sums, told), entry

    total, entries = jax.lax.scan(added, zeros, parts)
    whole = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(len(batch.image), *x.shape[2:]), entries)
    return jax.tree.map(lambda x: x / count, total), whole


def _moved(average: dict | None, params: dict, step, decay) -> dict | None:
    """The moving average one step on; it starts as a plain mean, so that the first parameters are soon forgotten."""
    if average is None:
        return None
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))  # the warm-up of TensorFlow's ExponentialMovingAverage
    return jax.tree.map(lambda old, new: old + (1.0 - kept) * (new - old), average, params)


def _scale(tree: dict, factor) -> dict:
    return jax.tree.map(lambda update: update * factor, tree)


def _only(grads: dict, trainable: tuple[str, ...]) -> dict:
    """Zero the gradients of the frozen groups, so that they count neither in the norm nor in the moments."""
    return {group: tree if group in trainable else jax.tree.map(jnp.zeros_like, tree) for group, tree in grads.items()}
