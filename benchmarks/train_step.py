"""Pictures per second of a train step, and which part of it takes how long.

    python -m benchmarks.train_step
    python -m benchmarks.train_step --config=configs/freeshapes.py:aircraft --root=data/freeshapes/aircraft

Without --root the pictures are noise and the cameras random, which changes nothing in what is computed. The default is
the size of the released AST code: 64 px, 642 shape queries, 1,280 texture queries, d = 128, 32 pictures a step, six
candidate cameras each.

Every part is compiled alone and timed with the gradient that a step takes through it; what they do not add up to is
"losses and the rest". Parts that overlap in the whole step can make it negative.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.prediction import Prediction
from ast_jax.process import command_line
from ast_jax.training.program import Program, make_program
from ast_jax.training.sharding import make_layout
from benchmarks.noise import noise_batch

_CONFIG = command_line.define_config("configs/cub.py:ast")
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
    # Where the camera is unknown, steps that train the cameras and steps that train the shape take turns.
    phases = ("pose", "shape") if config.model.camera.kind == "candidates" else ("shape",)
    table = {}
    for number, phase in enumerate(phases):
        table[phase] = _seconds(_parts(program, batch, phase, with_colour="l1" in dict(stage.losses)))
        table[phase]["whole step"] = _median(_step(program, stage, number, batch))
    _print_table(config, table)


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


def _parts(program: Program, batch: Batch, phase: str, *, with_colour: bool) -> dict[str, Callable]:
    """name -> a call that computes this part, and the gradient that a step of this phase takes through it."""
    config, params = program.config, jax.tree.map(jnp.copy, program.first_state.params)

    def encoder_loss(params):
        encoding = nnx.merge(program.graphdef, params).encoder(batch.image[..., :3])
        return sum(leaf.sum() for leaf in jax.tree.leaves(encoding))

    def model_loss(params):
        prediction = nnx.merge(program.graphdef, params)(batch.image)
        surface = prediction.vertices.sum() + (prediction.texture.values.sum() if with_colour else 0.0)
        if phase == "shape":
            return surface
        camera = sum(leaf.sum() for leaf in jax.tree.leaves((prediction.camera, prediction.camera_logits)))
        return camera + jax.lax.stop_gradient(surface)

    prediction = jax.jit(lambda p: nnx.merge(program.graphdef, p)(batch.image))(params)
    optimizer, opt_state = program.optimizer, jax.tree.map(jnp.copy, program.first_state.opt_state)
    update = jax.jit(lambda grads, opt, params: optimizer.update(grads, opt, params)[0])
    return {
        "encoder": _gradient(encoder_loss, params),
        "model": _gradient(model_loss, params),
        "rasterizer": _rasterizer(config, prediction, batch, phase, with_colour=with_colour),
        "optimizer": lambda: jax.block_until_ready(update(params, opt_state, params)),
    }


def _rasterizer(config: ConfigDict, prediction: Prediction, batch: Batch, phase: str, *, with_colour: bool) -> Callable:
    """Every candidate with the gradient of the cameras, or one view each with that of the mesh and its colours."""
    look = (config.render.sigma, config.render.gamma, config.render.blending, tuple(config.data.background))
    settings = ViewSettings((config.data.render_size,) * 2, *look)

    def loss(vertices, texture, camera):
        rgb, alpha = render_views(vertices, prediction.faces, camera, settings, texture=texture)
        return jnp.square(alpha).sum() + (0.0 if rgb is None else jnp.square(rgb).sum())

    texture = prediction.texture if with_colour else None
    if phase == "pose":
        return _gradient(lambda camera: loss(prediction.vertices, texture, camera), prediction.camera)
    camera = batch.camera if prediction.camera is None else jax.tree.map(lambda x: x[:, :1], prediction.camera)
    return _gradient(lambda vertices, texture: loss(vertices, texture, camera), prediction.vertices, texture)


def _seconds(parts: dict[str, Callable]) -> dict[str, float]:
    """Of each part; the decoders are what the model takes beside its encoder."""
    seconds = {name: _median(turn) for name, turn in parts.items()}
    decoders = seconds.pop("model") - seconds["encoder"]
    return {"encoder": seconds.pop("encoder"), "decoders": decoders} | seconds


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


def _print_table(config: ConfigDict, table: dict[str, dict[str, float]]) -> None:
    for seconds in table.values():
        whole = seconds.pop("whole step")
        seconds["losses and the rest"] = whole - sum(seconds.values())
        seconds["whole step"] = whole
    mean = {name: float(np.mean([seconds[name] for seconds in table.values()])) for name in next(iter(table.values()))}
    columns = table if len(table) == 1 else table | {"mean": mean}
    device = jax.devices()[0].device_kind
    print(f"{config.batch_size} pictures of {config.data.image_size} px, stage {_STAGE.value}, {device}")
    print("| part |" + "".join(f" {name} |" for name in columns) + "\n| --- |" + " ---: |" * len(columns))
    for name in mean:
        cells = (f" {s[name]:.3f} s, {100 * s[name] / s['whole step']:.0f} % |" for s in columns.values())
        print(f"| {name} |" + "".join(cells))
    print(f"{config.batch_size / mean['whole step']:.1f} pictures/s")
    print(f"rasterizer: {100 * mean['rasterizer'] / mean['whole step']:.0f} % of the step")


if __name__ == "__main__":
    app.run(main)
