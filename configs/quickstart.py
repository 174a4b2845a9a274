"""Minutes on a laptop CPU: make a family of patterned birds, learn their shape and texture, look at the result.

Command: python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart
Data: made on first use (ast_jax/shapes/birds/synthetic.py), train and held-out objects apart.
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


def get_config(arg: str | None = None) -> ConfigDict:
    """Options behind the colon: ``tiny`` (seconds, for tests); ``shape=transformer|mlp`` instead of learned steps."""
    options = parse_arg(arg, size=("small", "tiny"), shape=("steps", "transformer", "mlp"))
    config = base_config()
    use_data_set(config, "quickstart")
    config.model.encoder.token_levels = (-2, -1)
    # Of all that was tried, this learns most per second on two cores (more layers, wider networks and smaller batches
    # learn less).
    config.model.shape.layers = 1
    config.batch_size = 16
    # The texture starts when the rate has nearly decayed; this brings it back to its peak for the texture alone.
    config.optimizer.group_scale.texture = 8.0
    losses = dict(
        iou=1.0, intermediate_iou=0.0, intermediate_camera=0.0, keypoint=5.0, camera=1.0, laplacian=0.02, normal=0.01
    )
    config.stage.coarse.losses, config.stage.shape.losses = ConfigDict(losses), ConfigDict(losses)
    config.stage.joint.losses = ConfigDict(losses | dict(l1=1.0))
    # The colour of the nearest face trains the texture several times faster than the softmax over all faces does.
    config.render.blending = "hard"
    # A short run holds no programs that only watch: the report at the end shows what was learned.
    config.eval_every = 0
    if options.shape == "steps":
        use_learned_steps(config)
        # A coarse step costs a third of one with synthesis, which pays where the coarse shape is good already.
        config.stages = (("coarse", 3000), ("shape", 800), ("joint", 400))
        # Photographs get the margin that makes their object as large as half of the birds are in their frames.
        config.data.crop_padding = 0.25
    else:
        config.model.shape.kind = options.shape
        config.stages = (("shape", 2200), ("joint", 400))
    if options.size == "tiny":
        _make_tiny(config)
    return config


def _make_tiny(config: ConfigDict) -> None:
    config.data.root = "data/quickstart_tiny"
    config.data.num_objects = 10
    config.data.image_size = config.data.render_size = 32
    config.model.dim, config.model.heads = 16, 2
    config.model.encoder.width = 8
    config.model.shape.query_level = 1
    config.model.shape.synthesis_steps, config.model.shape.synthesis_size = 2, 16
    config.model.texture.query_level, config.model.texture.texels = 1, 2
    config.batch_size = 8
    config.stages = (("shape", 4), ("joint", 4))
    config.log_every = 2
    config.checkpoint_every = 4
