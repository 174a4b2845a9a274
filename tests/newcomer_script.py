"""Run by tests/test_newcomer.py in a copy of the packages: uses one new thing of each kind, and says what it saw."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.config import base_config
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.data.records import prepare_records
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.evaluation.protocols import find_protocol
from ast_jax.evaluation.run import evaluate
from ast_jax.evaluation.tables import format_table
from ast_jax.model.predictor import make_predictor
from ast_jax.training.checks import check_config
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from render import Mesh, PerspectiveCamera, VertexColours, icosphere, mine, render

DISCS = "one train 0.5\ntwo train 0.7\nthree test 0.6\n"


def make_config(root: Path) -> ConfigDict:
    """A tiny experiment of which every part is new."""
    config = base_config()
    config.data.root, config.data.image_size, config.data.render_size = str(root), 16, 16
    config.data.num_target_views, config.batch_size = 1, 2
    config.optimizer.name, config.optimizer.warmup_steps = "adamw", 0
    config.model.dim, config.model.heads = 8, 1
    config.model.encoder.name, config.model.encoder.width, config.model.encoder.token_levels = "mine", 8, (-1,)
    config.model.shape.kind, config.model.shape.level, config.model.shape.query_level = "mine", 1, 0
    config.model.texture.kind, config.model.texture.query_level = "mine", 0
    config.model.camera.kind = "mine"
    config.render.blending = "mine"
    config.stages = (("joint", 1),)
    config.stage.joint.losses = ConfigDict(dict(asymmetry=1.0, iou=1.0, l1=1.0, camera=1.0))
    return config


def train_and_evaluate(root: Path) -> dict:
    """One step, then the held-out object by the new protocol."""
    config = make_config(root)
    layout = make_layout(config, jax.devices()[:1])
    check_config(config, layout)
    program = make_program(config, layout)
    before = jax.device_get(program.first_state.params)
    batch = next(make_batches(DataSource(root, "train", config.data), config.data, batch_size=2, seed=0))
    stage = program.stages[0]
    state, values = program.step(stage, 0)(
        program.first_state, jax.device_put(batch, layout.by_batch), program.values[stage.name]
    )
    after, predict = jax.device_get(state.params), make_predictor(nnx.merge(program.graphdef, state.params))
    protocol = find_protocol("mine")
    result = evaluate(protocol, predict, DataSource(root, "test", config.data))
    answer = predict(batch.image)
    kernels = [params["encoder"]["backbone"]["patch"]["kernel"] for params in (before, after)]
    return {
        "losses": {name: float(value) for name, value in values.items()},
        "backbone_moved": float(np.abs(kernels[1] - kernels[0]).max()),
        "decoder": list(after["shape"]["decoder"]),
        "texture": type(answer.texture).__name__,
        "distance": np.asarray(-answer.input_camera.translation[:, 2]).tolist(),
        "metrics": {name: result.mean(name) for name in result.metrics},
        "table": format_table({"ours": result}, protocol.columns),
    }


def draw() -> dict[str, float]:
    """Share of the picture that a ball covers, by the new blending rule, with a camera that we have and the new one."""
    vertices, faces = icosphere(2)
    mesh, texture = Mesh(0.8 * vertices[None], faces), VertexColours(np.full((1, len(vertices), 3), 0.5))
    place = np.eye(3)[None], np.array([[0.0, 0.0, -2.732]]), np.full((1, 2), 2.0)
    cameras = PerspectiveCamera(*place, np.zeros((1, 2))), mine.SqueezedCamera(*place)
    alphas = [render(mesh, camera, (64, 64), texture=texture, blending="mine").alpha for camera in cameras]
    return {type(camera).__name__: float(alpha.mean()) for camera, alpha in zip(cameras, alphas)}


def main(folder: Path) -> None:
    """What came of it, as JSON on the last line."""
    (folder / "discs.txt").write_text(DISCS)
    prepare_records(read_dataset("mine", ReadOptions(folder)), folder / "prepared", on_error="raise")
    print(json.dumps(train_and_evaluate(folder / "prepared") | {"covered": draw()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
