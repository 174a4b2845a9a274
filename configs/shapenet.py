"""ShapeNet, one class or all 13, from the renderings of NMR (24 views of 64 px), as SoftRas and DVR use them.

Paper:   AST, ECCV 2024; the protocol of Kato et al., CVPR 2018, and Liu et al., ICCV 2019.
Data:    python -m launch.prepare_data --dataset=shapenet_nmr --source=mesh_reconstruction/data --category=car \\
           --root=data/shapenet/car
Command: python -m launch.train --config=configs/shapenet.py:car --workdir=runs/shapenet_car
Numbers: python -m launch.evaluate --checkpoint=runs/shapenet_car --protocol=shapenet_nmr
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
    """Options behind the colon: the class (``all`` for one model of all), ``shape=transformer|mlp``, ``steps=``."""
    options = parse_arg(arg, category="car", shape=("transformer", "mlp"), steps=100_000)
    config = base_config()
    use_data_set(config, f"shapenet:{options.category}")
    # Two views of an object supervise each step, as in SoftRas and DVR.
    config.data.num_target_views = 2
    config.model.encoder.token_levels = (-2, -1)
    config.model.shape.kind = options.shape
    config.model.shape.symmetric = False
    config.batch_size = 64
    config.stages = (("shape", 4 * options.steps // 5), ("joint", options.steps - 4 * options.steps // 5))
    config.optimizer.group_scale.texture = 8.0
    config.render.blending = "hard"
    losses = dict(iou=1.0, camera=1.0, laplacian=0.02, normal=0.01)
    config.stage.coarse.losses, config.stage.shape.losses = ConfigDict(losses), ConfigDict(losses)
    config.stage.joint.losses = ConfigDict(losses | dict(l1=1.0, perceptual=10.0))
    return config
