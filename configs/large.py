"""The method at scale: ResNet-50, d = 768, 12 decoder layers, 2,562 shape queries, 256 px, 4,096 pictures a step.

Command: python -m launch.train --config=configs/large.py --workdir=runs/large --expect_devices=64
Scale:   docs/scaling.md, what a step costs on 8 to 256 devices, computed from the compiled program.
Data:    any prepared data set of 256 px, see docs/data.md; CUB's squares by default.
Never trained: no time and no score to promise.
"""

from ml_collections import ConfigDict

from ast_jax.config import base_config, parse_arg
from ast_jax.config.sweeps import (
    sweep_layers,
    sweep_learning_rate,
    sweep_queries,
    sweep_seed,
    sweep_shape,
    sweep_texture,
)


def get_config(arg: str | None = None) -> ConfigDict:
    """Options behind the colon: ``size=tiny`` for tests; ``accumulate=`` parts of a batch; ``model=`` devices."""
    options = parse_arg(arg, size=("full", "tiny"), accumulate=16, model=1)
    config = base_config()
    config.data.root = "data/cub"
    config.data.image_size = 256
    config.data.render_size = 128
    config.data.num_target_views = 1
    config.data.num_threads = 16
    config.model.encoder.name = "resnet50"
    config.model.encoder.token_levels = (-2, -1)
    config.model.dim, config.model.heads, config.model.mlp_ratio = 768, 12, 4
    # Every vertex of the mesh is a query; mirror symmetry would halve them.
    config.model.shape.level = config.model.shape.query_level = 4
    config.model.shape.symmetric, config.model.shape.layers = False, 12
    config.model.shape.deep_supervision = False
    config.model.texture.query_level, config.model.texture.layers = 3, 12
    config.model.texture.symmetric = False
    config.mesh = (("data", -1), ("model", options.model))
    config.sharding.fully_sharded = True
    config.precision.compute = "bfloat16"
    config.recompute = True
    config.batch_size, config.accumulate_steps = 4096, options.accumulate
    config.optimizer.name = "adamw"
    config.optimizer.ema_decay = 0.9999
    config.render.blending = "hard"
    losses = dict(iou=1.0, camera=1.0, laplacian=0.02, normal=0.01)
    config.stage.coarse.losses, config.stage.shape.losses = ConfigDict(losses), ConfigDict(losses)
    config.stage.joint.losses = ConfigDict(losses | dict(l1=1.0))
    config.stages = (("shape", 40_000), ("joint", 20_000))
    if options.size == "tiny":
        _make_tiny(config)
    return config


def _make_tiny(config: ConfigDict) -> None:
    config.data.image_size = config.data.render_size = 32
    config.model.dim, config.model.heads = 16, 2
    config.model.encoder.name, config.model.encoder.width = "convnet", 8
    config.model.shape.level = config.model.shape.query_level = 3
    config.model.shape.layers = config.model.texture.layers = 1
    config.model.texture.query_level, config.model.texture.texels = 1, 2
    config.batch_size, config.accumulate_steps = 8, 2
    config.stages = (("shape", 2), ("joint", 2))
    config.log_every = 1
    config.checkpoint_every = 2
    config.eval_every = 0
    config.evaluation.num_report_objects = 1
