"""Real categories with an open licence: aircraft, chairs, sofas, tables, cars out of Debian packages (docs/data.md).

Data:    python -m launch.prepare_data --dataset=freeshapes --category=aircraft --root=data/freeshapes/aircraft \\
           --image_size=128 --fov_deg=22 --supersample=2
Command: python -m launch.train --config=configs/freeshapes.py:aircraft --workdir=runs/aircraft
MLP row: python -m launch.train --config=configs/freeshapes.py:aircraft,shape=mlp --workdir=runs/aircraft_mlp
Ablations: python -m launch.sweep --config=configs/freeshapes.py:aircraft --sweep=shape,seed --workdir=runs/ablation
"""

from ml_collections import ConfigDict

from ast_jax.config import base_config, parse_arg, use_data_set, use_learned_steps
from ast_jax.config.sweeps import (
    sweep_layers,
    sweep_learning_rate,
    sweep_queries,
    sweep_seed,
    sweep_shape,
    sweep_steps,
    sweep_synthesis,
    sweep_texture,
)

CATEGORIES = ("aircraft", "animal", "bed", "bird", "cabinet", "car", "chair", "ship", "sofa", "table", "truck")
# All of them in one folder, see docs/data/joined.md.
JOINED = "thing"


def get_config(arg: str | None = None) -> ConfigDict:
    """Behind the colon: category (``thing``: all), ``shape=transformer|mlp|steps``, ``steps=`` of the whole run."""
    options = parse_arg(arg, category=(*CATEGORIES, JOINED), shape=("transformer", "mlp", "steps"), steps=2400)
    config = base_config()
    use_data_set(config, f"freeshapes:{options.category}")
    config.model.encoder.token_levels = (-2, -1)
    config.model.shape.layers = 1
    config.batch_size = 16
    config.optimizer.weight_decay = 0.05
    shape_steps = 4 * options.steps // 5
    config.stages = (("shape", shape_steps), ("joint", options.steps - shape_steps))
    # The texture starts when the rate has nearly decayed; this brings it back to its peak for the texture alone.
    config.optimizer.group_scale.texture = 8.0
    losses = dict(iou=1.0, camera=1.0, laplacian=0.02, normal=0.01)
    config.stage.coarse.losses, config.stage.shape.losses = ConfigDict(losses), ConfigDict(losses)
    # Weights of both colour terms as in the released AST code (configs/cub.yml).
    config.stage.joint.losses = ConfigDict(losses | dict(l1=1.0, perceptual=10.0))
    config.render.blending = "hard"
    if options.shape == "steps":
        use_learned_steps(config)
        # As in the quickstart: steps of synthesis pay where the coarse shape is good already.
        coarse_steps = 3 * shape_steps // 4
        config.stages = (("coarse", coarse_steps), ("shape", shape_steps - coarse_steps), config.stages[-1])
        config.data.crop_padding = 0.25
    else:
        config.model.shape.kind = options.shape
    return config
