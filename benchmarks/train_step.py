"""Pictures per second of a train step, and which part of it takes how long.

    python -m benchmarks.train_step
    python -m benchmarks.train_step --config=configs/freeshapes.py:aircraft --root=data/freeshapes/aircraft

Without --root the pictures are noise and the cameras random, which changes nothing in what is computed. The default is
the size of the released AST code: 64 px, 642 shape queries, 1,280 texture queries, d = 128, 32 pictures a step, six
candidate cameras each.

Every part is compiled alone and timed forward and backward; what they do not add up to is in the last row.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from flax import nnx
from ml_collections import ConfigDict, config_flags

from ast_jax.data.example import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.training.program import Program, make_program
from ast_jax.training.sharding import make_layout
from benchmarks.noise import noise_batch

_CONFIG = config_flags.DEFINE_config_file("config", "configs/cub.py:ast")
_ROOT = flags.DEFINE_string("root", "", "A prepared data set; empty: noise.")
_STAGE = flags.DEFINE_string("stage", "joint", "Of the config.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "The median of so many runs counts.", lower_bound=1)
_AST_SIZE = flags.DEFINE_bool("ast_size", True, "Put the model of the config to the size of the released AST code.")


def main(argv: list[str]) -> None:
    """Flags in, one table out."""
    del argv
    config = _CONFIG.value
    if _AST_SIZE.value:
        set_ast_size(config)
    program = make_program(config, make_layout(config, jax.devices()[:1]))
    stage = next(stage for stage in program.stages if stage.name == _STAGE.value)
    batch = jax.device_put(_batch(config), program.layout.by_batch)
    params = jax.tree.map(jnp.copy, program.first_state.params)
    parts = _parts(program, params, batch, with_colour="l1" in dict(stage.losses))
    seconds = {name: _median(function) for name, function in parts.items()}
    seconds = {"encoder": seconds["encoder"], "decoders": seconds["model"] - seconds["encoder"]} | {
        name: value for name, value in seconds.items() if name not in ("encoder", "model")
    }
    whole = {}
    phases = ("pose", "shape") if config.model.camera.kind == "candidates" else ("shape",)
    for number, phase in enumerate(phases):
        whole[phase] = _median(_step(program, stage, number, batch))
    _print_table(config, seconds, whole)


def set_ast_size(config: ConfigDict) -> None:
    """64 px, 642 + 1,280 queries on a mesh of 642 vertices and 1,280 faces, d = 128, batches of 32, six cameras."""
    config.batch_size = 32
    config.data.image_size = config.data.render_size = 64
    config.model.dim = 128
    config.model.shape.level = config.model.shape.query_level = config.model.texture.query_level = 3
    config.model.shape.symmetric = config.model.texture.symmetric = False
    config.model.camera.num_candidates = 6


def _batch(config: ConfigDict) -> Batch:
    if _ROOT.value:
        config.data.root = _ROOT.value
        source = DataSource(config.data.root, "train", config.data)
        return next(make_batches(source, config.data, batch_size=config.batch_size, seed=0))
    return noise_batch(config)


def _parts(program: Program, params: dict, batch: Batch, *, with_colour: bool) -> dict[str, Callable]:
    """name -> a call that computes this part and its gradient."""
    config = program.config

    def model_loss(params):
        prediction = nnx.merge(program.graphdef, params)(batch.image)
        texels = 0.0 if prediction.texels is None or not with_colour else prediction.texels.sum()
        return prediction.vertices.sum() + texels

    def encoder_loss(params):
        encoding = nnx.merge(program.graphdef, params).encoder(batch.image)
        return sum(leaf.sum() for leaf in jax.tree.leaves(encoding))

    prediction = jax.jit(lambda p: nnx.merge(program.graphdef, p)(batch.image))(params)
    camera = batch.camera if prediction.camera is None else prediction.camera
    size = (config.data.render_size,) * 2
    settings = ViewSettings(
        size, config.render.sigma, config.render.gamma, config.render.blending, tuple(config.data.background)
    )
    texels = prediction.texels if with_colour else None

    def render_loss(vertices, texels, camera):
        rgb, alpha = render_views(vertices, prediction.faces, camera, settings, texels=texels)
        return jnp.square(alpha).sum() + (0.0 if rgb is None else jnp.square(rgb).sum())

    few = jax.tree.map(lambda x: x[:, :1], camera)
    optimizer, state = program.optimizer, program.first_state
    update = jax.jit(lambda grads, opt, params: optimizer.update(grads, opt, params)[0])
    parts = {
        "encoder": _gradient(encoder_loss, params),
        "model": _gradient(model_loss, params),
    }
    views = "x".join(map(str, camera.translation.shape[:2]))
    if camera.translation.shape[1] > 1 and prediction.camera is not None:
        parts[f"rasterizer, {views} pictures (pose)"] = _gradient(
            lambda c: render_loss(prediction.vertices, texels, c), camera
        )
        parts[f"rasterizer, {len(batch.image)} pictures (shape)"] = _gradient(
            lambda v, t: render_loss(v, t, few), prediction.vertices, texels
        )
    else:
        parts[f"rasterizer, {views} pictures"] = _gradient(
            lambda v, t: render_loss(v, t, camera), prediction.vertices, texels
        )
    opt_state = jax.tree.map(jnp.copy, state.opt_state)
    parts["optimizer"] = lambda: jax.block_until_ready(update(params, opt_state, params))
    return parts


def _gradient(function: Callable, *args) -> Callable:
    compiled = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(args)))))
    return lambda: jax.block_until_ready(compiled(*args))


def _step(program: Program, stage, number: int, batch: Batch) -> Callable:
    step, state = program.step(stage, number), [jax.tree.map(jnp.copy, program.first_state)]

    def turn():
        state[0], _ = step(state[0], batch, program.perceptual[stage.name])
        jax.block_until_ready(state[0].step)

    return turn


def _median(turn: Callable) -> float:
    """Seconds of one turn, compiled before."""
    turn()
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        turn()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _print_table(config: ConfigDict, seconds: dict[str, float], whole: dict[str, float]) -> None:
    mean = float(np.mean(list(whole.values())))
    rasterizer = np.mean([value for name, value in seconds.items() if name.startswith("rasterizer")])
    other = mean - rasterizer - sum(v for name, v in seconds.items() if not name.startswith("rasterizer"))
    device = jax.devices()[0].device_kind
    print(f"{config.batch_size} pictures of {config.data.image_size} px, stage {_STAGE.value}, {device}")
    print("| part | seconds | share of a step |\n| --- | ---: | ---: |")
    for name, value in (*seconds.items(), ("losses and the rest", other)):
        print(f"| {name} | {value:.3f} | {100 * value / mean:.0f} % |")
    for phase, value in whole.items():
        print(f"| whole step, {phase} | {value:.3f} | {config.batch_size / value:.1f} pictures/s |")
    print(f"| mean step | {mean:.3f} | {config.batch_size / mean:.1f} pictures/s |")
    print(f"rasterizer: {100 * rasterizer / mean:.0f} % of the step")


if __name__ == "__main__":
    app.run(main)
