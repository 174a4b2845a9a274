"""Pictures per second of a train step, and which part of it takes how long.

    python -m benchmarks.train_step
    python -m benchmarks.train_step --config=configs/freeshapes.py:aircraft --root=data/freeshapes/aircraft

Without --root the pictures are noise and the cameras random, which changes nothing in what is computed. The default is
the size of the released AST code: 64 px, 642 shape queries, 1,280 texture queries, d = 128, 32 pictures a step, six
candidate cameras each.

Every part is compiled alone and timed with the gradient that a step takes through it; what they do not add up to is
"losses and the rest". Parts that overlap in the whole step can make it negative. The second table is model-FLOP
utilisation: products and sums of the program before XLA's optimisation over time and the peak of the device.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

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
from ast_jax.training.compiled import CompiledFunction
from ast_jax.training.monitoring.utilisation import model_flop_utilisation, peak_flops
from ast_jax.training.optimizer import make_optimizer
from ast_jax.training.program import Program, make_program
from ast_jax.training.sharding import make_layout
from benchmarks.noise import noise_batch

_CONFIG = command_line.define_config("configs/cub.py:ast")
_ROOT = flags.DEFINE_string("root", "", "A prepared data set; empty: noise.")
_STAGE = flags.DEFINE_string("stage", "joint", "Of the config.")
_PHASE = flags.DEFINE_enum("phase", "", ["", "pose", "shape"], "Only steps of this phase; empty: all of the config.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "The median of so many runs counts.", lower_bound=1)
_AST_SIZE = flags.DEFINE_bool("ast_size", True, "Put the model of the config to the size of the released AST code.")


class Cost(NamedTuple):
    """Of a part of a step.

    Attributes:
        seconds: of a turn, compiled before.
        flops: of a turn, see `CompileStats`; None where the backend does not tell.
        compilation: seconds.
    """

    seconds: float
    flops: float | None
    compilation: float

    def __sub__(self, other: "Cost") -> "Cost":
        flops = None if self.flops is None or other.flops is None else self.flops - other.flops
        return Cost(self.seconds - other.seconds, flops, self.compilation)


class Turn(NamedTuple):
    """Something to time: a call that waits for its results, and the function in it."""

    call: Callable[[], object]
    function: CompiledFunction


def main(argv: list[str]) -> None:
    """Flags in, two tables out."""
    del argv
    config = _CONFIG.value
    if _AST_SIZE.value:
        set_ast_size(config)
    program = make_program(config, make_layout(config, jax.devices()[:1]))
    stage = next(stage for stage in program.stages if stage.name == _STAGE.value)
    batch = jax.device_put(_batch(config), program.layout.by_batch)
    # Where the camera is unknown, steps that train the cameras and steps that train the shape take turns.
    table = {}
    for number, phase in enumerate(program.phases):
        if _PHASE.value in ("", phase):
            table[phase] = _costs(_parts(program, batch, phase, with_colour="l1" in dict(stage.losses)))
            table[phase]["whole step"] = _measure(_step(program, stage, number, batch))
    _print_table(
        config, {phase: {name: cost.seconds for name, cost in costs.items()} for phase, costs in table.items()}
    )
    _print_utilisation(table)


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


def _parts(program: Program, batch: Batch, phase: str, *, with_colour: bool) -> dict[str, Turn]:
    """name -> what computes this part, and the gradient that a step of this phase takes through it."""
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
    optimizer = make_optimizer(config, program.values[program.stages[0].name])
    opt_state = jax.tree.map(jnp.copy, program.first_state.opt_state)
    update = jax.jit(lambda grads, opt, params: optimizer.update(grads, opt, params)[0])
    return {
        "encoder": _gradient(encoder_loss, params),
        "model": _gradient(model_loss, params),
        "rasterizer": _rasterizer(config, prediction, batch, phase, with_colour=with_colour),
        "optimizer": _turn(update, params, opt_state, params),
    }


def _rasterizer(config: ConfigDict, prediction: Prediction, batch: Batch, phase: str, *, with_colour: bool) -> Turn:
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


def _costs(parts: dict[str, Turn]) -> dict[str, Cost]:
    """Of each part; the decoders are what the model takes beside its encoder."""
    costs = {name: _measure(turn) for name, turn in parts.items()}
    decoders = costs.pop("model") - costs["encoder"]
    return {"encoder": costs.pop("encoder"), "decoders": decoders} | costs


def _gradient(function: Callable, *args) -> Turn:
    return _turn(jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(args))))), *args)


def _turn(jitted: Callable, *args) -> Turn:
    function = CompiledFunction(jitted, "part")
    return Turn(lambda: jax.block_until_ready(function(*args)), function)


def _step(program: Program, stage, number: int, batch: Batch) -> Turn:
    step, state = program.step(stage, number), [jax.tree.map(jnp.copy, program.start(len(batch.index)))]

    def turn():
        state[0], _ = step(state[0], batch, program.values[stage.name])
        jax.block_until_ready(state[0].step)

    return Turn(turn, step)


def _measure(turn: Turn) -> Cost:
    """The median of some turns, compiled before."""
    turn.call()
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        turn.call()
        times.append(time.perf_counter() - start)
    stats = turn.function.stats
    return Cost(float(np.median(times)), stats.flops, stats.seconds)


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


def _print_utilisation(table: dict[str, dict[str, Cost]]) -> None:
    device = jax.devices()[0]
    peak = peak_flops(device)
    print(f"\nOf the device's peak of {peak / 1e12:.3g} TFLOP/s in dense products (loops count once):")
    print("| phase | part | GFLOP | of the peak | compilation |\n| --- | --- | ---: | ---: | ---: |")
    for phase, costs in table.items():
        for name, cost in costs.items():
            known = cost.flops is not None and cost.seconds > 0
            share = f"{100 * model_flop_utilisation(cost.flops, cost.seconds, 1, peak):.2g} %" if known else ""
            flops = "" if cost.flops is None else f"{cost.flops / 1e9:.3g}"
            print(f"| {phase} | {name} | {flops} | {share} | {cost.compilation:.1f} s |")
    memory = device.memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        print(f"\nMost memory in use: {memory['peak_bytes_in_use'] / 2**20:,.0f} MiB.")


if __name__ == "__main__":
    app.run(main)
