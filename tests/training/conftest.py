"""A data set of eight coloured ellipsoids, rendered with the library's own rasterizer, and a config that fits it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ml_collections import ConfigDict

from ast_jax.config import base_config
from ast_jax.shapes.prepare import PictureSettings, prepare_objects
from ast_jax.shapes.source_mesh import Material, SourceMesh
from ast_jax.training.program import Program
from render import icosphere


def _ellipsoid(index: int) -> SourceMesh:
    rng = np.random.default_rng(index)
    vertices, faces = icosphere(1)
    axes = rng.uniform(0.4, 1.0, 3)
    return SourceMesh(
        f"ellipsoid-{index}",
        vertices * axes,
        faces,
        (Material(tuple(rng.uniform(0, 1, 3))),),
        keypoints=np.diag(1.02 * axes)[1:],  # just in front of the surface, where they can be seen
    )


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ellipsoids")
    objects = [_ellipsoid(i) for i in range(8)]
    pictures = PictureSettings(image_size=32, num_views=4, supersample=1)
    prepare_objects(objects, root, pictures, category="ellipsoid", split_fractions=(0.5, 0.25, 0.25))
    return root


# Keys of a config that its step does not depend on.
_BESIDE = (
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "eval_every",
    "evaluation",
    "init_from",
    "seed",
    "stages",
)


@pytest.fixture(scope="module", autouse=True)
def _steps_are_compiled_once():
    """The runs of a file share their compiled steps: tracing one takes seconds, and tests start dozens of runs."""
    made, step_of = {}, Program.step

    def step(program: Program, stage, number: int):
        phase = program.phases[number % len(program.phases)]
        config = json.loads(program.config.to_json_best_effort())
        for key in _BESIDE:
            config.pop(key, None)
        config["data"].pop("root")
        devices = [device.id for device in program.layout.mesh.devices.flat]
        stage_text = repr(replace(stage, start=0, stop=0))
        key = json.dumps([config, stage_text, phase, devices], sort_keys=True)
        if key in made and made[key].stats is not None:
            program.steps[stage.name, phase] = made[key]
        made[key] = step_of(program, stage, number)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "step", step)
        yield


@pytest.fixture
def config(data_root) -> ConfigDict:
    c = base_config()
    c.data.root = str(data_root)
    c.data.image_size = c.data.render_size = 32
    c.data.num_target_views = 2
    c.batch_size = 8
    c.optimizer.name = "adamw"  # half as long to compile as Muon
    c.stages = (("shape", 2), ("joint", 2))
    c.log_every = 1
    c.checkpoint_every = 2
    c.eval_every = 0  # validation has programs of its own to compile; tests of it switch it on
    c.evaluation.num_views = 2
    c.evaluation.num_report_objects = 1
    c.model.dim, c.model.heads = 16, 2
    c.model.encoder.width = 8
    c.model.encoder.token_levels = (-2, -1)
    c.model.shape.level, c.model.shape.query_level, c.model.shape.layers = 2, 1, 1
    c.model.texture.query_level, c.model.texture.texels = 1, 2
    return c
