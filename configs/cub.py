"""CUB-200-2011: birds from photographs, as AST (masks alone) or as CMR (cameras and key points) learn them.

Paper:   AST, ECCV 2024 (variant ``ast``, after the released configs/cub.yml); CMR, ECCV 2018 (variant ``cmr``).
Data:    python -m launch.prepare_data --dataset=cub --source=CUB_200_2011 --root=data/cub --variant=cmr
         python -m launch.prepare_data --dataset=cub --source=CUB_200_2011 --root=data/cub_ast --variant=ast
Command: python -m launch.train --config=configs/cub.py:cmr --workdir=runs/cub_cmr
         python -m launch.train --config=configs/cub.py:ast --workdir=runs/cub_ast
Numbers: python -m launch.evaluate --checkpoint=runs/cub_cmr --protocol=cub_cmr
Not run on the real data yet: no time and no score to promise.
"""

from ml_collections import ConfigDict

from ast_jax.config import base_config, parse_arg, use_data_set
from ast_jax.config.sweeps import (
    sweep_layers,
    sweep_learning_rate,
    sweep_queries,
    sweep_seed,
    sweep_shape,
    sweep_texture,
)


def get_config(arg: str | None = None) -> ConfigDict:
    """Options behind the colon: ``cmr`` or ``ast``, ``size=tiny`` for tests."""
    options = parse_arg(arg, variant=("cmr", "ast"), size=("full", "tiny"))
    config = base_config()
    config.batch_size = 32
    config.render.blending = "layered"
    config.optimizer.group_scale.texture = 8.0
    config.stages = (("shape", 40_000), ("joint", 40_000))
    shape = _cmr(config) if options.variant == "cmr" else _ast(config)
    config.stage.coarse.losses, config.stage.shape.losses = ConfigDict(shape), ConfigDict(shape)
    config.stage.joint.losses = ConfigDict(shape | dict(l1=1.0, perceptual=10.0))
    if options.size == "tiny":
        _make_tiny(config)
    return config


def _cmr(config: ConfigDict) -> dict:
    """Cameras by structure from motion and key points, as CMR is trained."""
    use_data_set(config, "cub")
    config.model.encoder.token_levels = (-2, -1)
    return dict(iou=1.0, keypoint=5.0, camera=1.0, laplacian=0.05, normal=0.01)


def _ast(config: ConfigDict) -> dict:
    """Masks and pictures alone; the camera is one of six candidates. Weights of the released configs/cub.yml."""
    use_data_set(config, "cub_ast")
    config.model.camera.kind, config.model.camera.predict = "candidates", False
    return dict(iou=1.0, uniform_pose=0.1, laplacian=0.05, normal=0.01)


def _make_tiny(config: ConfigDict) -> None:
    config.data.image_size = config.data.render_size = 32
    config.model.dim, config.model.heads = 16, 2
    config.model.encoder.name, config.model.encoder.width = "convnet", 8
    config.model.shape.level, config.model.shape.query_level, config.model.shape.layers = 2, 1, 1
    config.model.texture.query_level, config.model.texture.texels = 1, 2
    config.model.camera.num_candidates = 2
    config.batch_size = 4
    config.stages = (("shape", 2), ("joint", 2))
    config.log_every = 1
    config.checkpoint_every = 2
    config.eval_every = 0
    config.evaluation.num_report_objects = 1
