"""What every config starts from, the parser of the text behind the colon in ``--config=file.py:variant``, and sweeps.

A config file offers a sweep to launch.sweep by importing it, or by a ``sweep_*`` generator of its own.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from ast_jax.near_match import choose, hint


def parse_arg(arg: str | None, **defaults) -> ConfigDict:
    """Typed, strict variant options: ``"aircraft,steps=200,textured=false"``.

    The first default may be given without its name. Each value takes the type of its default; a tuple as default
    lists the allowed choices, the first of which is the default.

    Args:
      arg: the text behind the colon, or None.
      **defaults: option name -> default value or tuple of choices.

    Raises:
      ValueError: an unknown option or a value of the wrong type; the message lists what is allowed.
    """
    first = next(iter(defaults), None)
    values = {name: default[0] if isinstance(default, tuple) else default for name, default in defaults.items()}
    for item in filter(None, (arg or "").split(",")):
        name, _, text = item.rpartition("=")
        name = name or first
        if name not in defaults:
            raise ValueError(
                f"unknown config option {name!r}; options are {', '.join(defaults) or 'none'}{hint(name, defaults)}"
            )
        values[name] = _parse_value(name, text, defaults[name])
    return ConfigDict(values)


def _parse_value(name: str, text: str, default):
    if isinstance(default, tuple):
        return choose(f"config option {name}", text, default)
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"config option {name}={text!r}: must be true or false.")
        return text.lower() == "true"
    try:
        return type(default)(text)
    except ValueError as error:
        raise ValueError(f"config option {name}={text!r}: must be of type {type(default).__name__}.") from error


def base_config() -> ConfigDict:
    """Every key that training knows, with the defaults that the experiments share."""
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.accumulate_steps = 1  # parts of a batch whose gradients are summed one after the other
    config.data = data_config()
    config.model = model_config()
    config.stages = (("shape", 1000), ("joint", 500))
    config.stage = stage_config()
    config.optimizer = ConfigDict(
        dict(name="muon", learning_rate=1e-3, warmup_steps=100, final_fraction=0.05, weight_decay=0.01, clip_norm=1.0)
    )
    config.optimizer.muon_scale = 2.0  # rate of the matrices over that of everything else
    # Factor on the learning rate of a parameter group; a pretrained encoder wants less than the rest.
    config.optimizer.group_scale = ConfigDict(dict(encoder=1.0, shape=1.0, texture=1.0, camera=1.0, keypoints=1.0))
    # sigma is the published 1e-4 at the end of training; the wider band at the start reaches further (sigma_start).
    config.optimizer.schedule = "cosine"  # after the warm-up: "cosine", "linear" or "constant"
    config.optimizer.ema_decay = 0.0  # of the moving average of the weights, which is then what is evaluated; 0: none
    # Devices: sizes of the mesh (-1: all that are left), and which axes of arrays go to which axes of the mesh: the
    # first regular expression that matches the axis' name counts. All names are in docs/training.md.
    config.mesh = (("data", -1), ("model", 1))
    rules = (("batch", "data"), ("encoder_batch|render_batch", "data,model"), ("heads|mlp|queries", "model"))
    config.sharding = ConfigDict(dict(rules=rules, fully_sharded=False))
    # bfloat16 computes encoder and decoders in it; what gives positions and colours stays float32, so do losses,
    # renderer, parameters and optimizer.
    keep = r"heads?\b|mean|coarse|synthesis|gather|camera|keypoints"
    config.precision = ConfigDict(dict(compute="float32", keep_float32=keep))
    config.recompute = False  # what lies within blocks and decoder layers, again in the backward pass: less is kept
    config.render = ConfigDict(dict(blending="softmax", sigma=1e-4, sigma_start=1e-4, gamma=1e-4))
    # Network of the perceptual term: its weights come with an optional package. Where they are missing, training
    # says so and goes on without the term, unless it is required.
    config.perceptual = ConfigDict(dict(network="alexnet", required=False))
    config.log_every = 20
    config.eval_every = 500
    config.checkpoint_every = 500
    config.keep_checkpoints = 2  # the newest; the best by best_metric on the validation split is kept beside them
    config.best_metric = "loss/iou"  # lower is better
    config.evaluation = ConfigDict(dict(split="test", num_views=5, num_report_objects=6))
    config.evaluation.validation_batches = 4  # every eval_every steps
    config.init_from = ""
    return config


def data_config() -> ConfigDict:
    """Where the examples come from and how they are made."""
    data = ConfigDict()
    data.source = "prepared"  # "prepared": a folder made by launch.prepare_data; "quickstart": made on first use
    data.root = ""
    data.num_objects = 0  # only for sources that make their own objects
    data.image_size = 64
    data.render_size = 64
    data.num_target_views = 3
    data.background = (1.0, 1.0, 1.0)
    data.num_threads = 4  # that read, cut and augment pictures while the last step is computed
    data.memory_limit_gb = 4.0  # larger sets of pictures are mapped from a temporary file
    data.input_crop = "object"  # "frame": the model sees the stored square as it is
    data.input_masked = True  # False: the input is the photograph with what lies around the object
    data.crop_padding = 0.1  # margin about the object for "object" and for photographs to reconstruct
    data.augment = ConfigDict(dict(flip=True, colour=0.2, crop=0.05, box=0.0))
    return data


def model_config() -> ConfigDict:
    """The network; every key is described in ast_jax/model/model.py."""
    encoder = dict(
        name="convnet",
        width=32,
        blocks=1,
        token_levels=(-3, -2, -1),
        input_size=0,
        weights="none",
        pool="grid",
    )
    shape = dict(
        kind="transformer",
        level=3,
        query_level=2,
        radius=0.35,
        layers=2,
        symmetric=True,
        mean_shape=True,
        coarse=True,
        head="per_query",
        condition_on_global=True,
        self_attention=True,
        deep_supervision=True,
        synthesis="none",
        synthesis_steps=4,
        synthesis_level=2,
        synthesis_size=32,
    )
    texture = dict(
        kind="transformer",
        query_level=3,
        layers=1,
        texels=4,
        symmetric=True,
        condition_on_global=True,
        map_level=1,
    )
    camera = dict(kind="given", num_candidates=6, predict=True)
    return ConfigDict(
        dict(
            dim=128,
            heads=4,
            mlp_ratio=2,
            num_keypoints=0,
            encoder=encoder,
            shape=shape,
            texture=texture,
            camera=camera,
        )
    )


def stage_config() -> ConfigDict:
    """Which losses and which parameter groups are live in each stage; a weight of 0 switches a term off.

    Stage ``coarse`` leaves out the steps of synthesis, which cost more than all the rest: they are worth it on a coarse
    shape that has been learned.
    """
    shape = dict(iou=1.0, camera=1.0, laplacian=0.1, normal=0.01)
    joint = dict(shape, l1=1.0, perceptual=0.0)
    groups = ("encoder", "shape", "camera", "keypoints")
    return ConfigDict(
        dict(
            coarse=dict(losses=dict(shape), trainable=groups, synthesis=False),
            shape=dict(losses=shape, trainable=groups, synthesis=True),
            joint=dict(losses=joint, trainable=(*groups, "texture"), synthesis=True),
        )
    )


def use_learned_steps(config: ConfigDict) -> None:
    """The coarse shape of an MLP, then learned steps of analysis by synthesis on the picture itself.

    The pictures stay in their frame, which tells the size of the object; in a crop the camera that the steps trust
    cannot know it.
    """
    config.model.shape.kind, config.model.shape.synthesis = "mlp", "learned"
    config.data.input_crop = "frame"
    for stage in (config.stage.shape, config.stage.joint):
        stage.losses.intermediate_iou = 0.5


def sweep_shape() -> Iterator[dict]:
    """The Shape Transformer against the baseline of CMR and DIB-R."""
    for kind in ("transformer", "mlp"):
        yield {"model.shape.kind": kind}


def sweep_synthesis() -> Iterator[dict]:
    """Steps of analysis by synthesis after the coarse shape of an MLP: none, unlearned ones, learned ones."""
    for kind in ("none", "fit", "learned"):
        yield {"model.shape.kind": "mlp", "model.shape.synthesis": kind}


def sweep_steps() -> Iterator[dict]:
    """How many learned steps of synthesis."""
    for steps in (1, 2, 4, 8):
        yield {"model.shape.synthesis": "learned", "model.shape.synthesis_steps": steps}


def sweep_texture() -> Iterator[dict]:
    """The Texture Transformer against the paper's projection of the picture, and an MLP on the picture's summary."""
    for kind in ("transformer", "projection", "mlp"):
        yield {"model.texture.kind": kind}


def sweep_queries() -> Iterator[dict]:
    """12, 42, 162 or 642 shape queries: icosphere levels, the last of which is one query per vertex of the mesh."""
    for level in range(4):
        yield {"model.shape.query_level": level}


def sweep_layers() -> Iterator[dict]:
    """Decoder layers of the paper's Shape Transformer."""
    for layers in (1, 2, 4):
        yield {"model.shape.kind": "transformer", "model.shape.layers": layers}


def sweep_seed() -> Iterator[dict]:
    """Three runs that differ by chance alone: how much of a difference between others is that?"""
    for seed in range(3):
        yield {"seed": seed}


def sweep_learning_rate() -> Iterator[dict]:
    """About the default of 1e-3, a factor of three to both sides."""
    for rate in (3e-4, 1e-3, 3e-3):
        yield {"optimizer.learning_rate": rate}
