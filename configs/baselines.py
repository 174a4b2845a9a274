"""The rivals of the paper's tables, each a choice of branches, losses and stages of the one model (docs/rivals.md).

Papers:  cmr, Kanazawa et al., ECCV 2018; dibr, Chen et al., NeurIPS 2019; ucmr, Goel et al., ECCV 2020; unicorn,
         Monnier et al., ECCV 2022; ast_released, AST, ECCV 2024, as its code was released, with the gradients that it
         cuts.
Command: python -m launch.train --config=configs/baselines.py:cmr --workdir=runs/cmr
         python -m launch.train --config=configs/baselines.py:dibr,data=freeshapes:chair --workdir=runs/dibr_chair
         python -m launch.train --config=configs/baselines.py:ucmr,data=cub --workdir=runs/ucmr
         python -m launch.train --config=configs/baselines.py:unicorn,data=cub --workdir=runs/unicorn
         python -m launch.train --config=configs/baselines.py:ast_released,data=cub_ast --workdir=runs/ast_released
Data:    data=quickstart (made on first use), cub, cub_ast, freeshapes:CATEGORY, shapenet:CATEGORY, prepared as the run
         cards of configs/cub.py, configs/freeshapes.py and configs/shapenet.py say.
Needs:   pip install -e ".[perceptual]" for all but dibr, whose colours are learned by a pretrained network.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ast_jax.config import base_config, parse_arg, use_data_set
from ast_jax.config.sweeps import sweep_learning_rate, sweep_seed

# CMR's birds are as large as a sphere of this radius; lengths in its losses are measured in that unit.
_CMR_RADIUS = 0.7
# Of the steps: cameras alone, the shape with all of them, with the best four, and with the camera that is regressed.
_UCMR_SHARES = (0.25, 0.15, 0.4, 0.2)
# Of the steps, for photographs and for rendered objects: the mean object, the same with a stretch for each picture, and
# codes of more and more numbers, below: of the shape, of the texture, of the background.
_UNICORN_SHARES = {True: (0.075, 0.175, 0.25, 0.25, 0.25), False: (0.015, 0.045, 0.29, 0.3, 0.35)}
_UNICORN_CODES = {
    "mean": (0, 2, 4),
    "stretch": (0, 2, 4),
    "two": (2, 8, 8),
    "eight": (8, 32, 32),
    "joint": (-1, -1, -1),
}


# Of the steps: without a stretch, with it, and with codes of more and more numbers, of the shape and of the texture.
_AST_SHARES = (0.075, 0.175, 0.25, 0.25, 0.25)
_AST_CODES = {"mean": (0, 2), "stretch": (0, 2), "two": (2, 8), "eight": (8, 32), "joint": (32, 32)}
# Those that the released code means to take of the coarse and of the fine shape.
_AST_TWICE = dict(masked_mse=1.0, masked_perceptual=10.0, bce_iou=0.1, laplacian=0.01, normal=0.01)


class Rival(NamedTuple):
    """How a rival changes the config of its data set, and options of its own."""

    name: str
    make: Callable[[ConfigDict, ConfigDict], dict[str, float]]
    options: dict[str, Any]


def get_config(arg: str | None = None) -> ConfigDict:
    """Options behind the colon: the rival, ``data=``, ``size=tiny`` for tests, ``steps=``, and those of the rival:
    ``dibr,texture=vertex_colour|map,light=harmonics|none``, ``ucmr,kind=bird|car`` and ``unicorn,masks=none|given``."""
    first = (arg or next(iter(RIVALS))).split(",")[0].removeprefix("rival=")
    own = RIVALS[first].options if first in RIVALS else {}
    options = parse_arg(arg, rival=tuple(RIVALS), data="quickstart", size=("full", "tiny"), steps=2400, **own)
    config = base_config()
    config.stages = (("joint", options.steps),)
    config.render.blending = "hard"
    config.model.shape.kind = "mlp"
    # Every vertex of the mesh is predicted by itself.
    config.model.shape.query_level = config.model.shape.level
    use_data_set(config, options.data)
    if options.data in ("cub", "cub_ast"):
        config.data.augment.colour = 0.0  # as the rivals were trained on it
    rival = RIVALS[options.rival]
    config.evaluation.method = rival.name
    config.stage.joint.losses = ConfigDict(rival.make(config, options))
    if options.size == "tiny":
        _make_tiny(config)
    return config


def _cmr(config: ConfigDict, options: ConfigDict) -> dict[str, float]:
    """A learned symmetric mean shape, key points learned with it, a texture flow, and cameras to learn from."""
    config.data.num_target_views = 1
    config.model.texture.kind, config.model.texture.texels = "flow", 6
    config.render.colour_moves_shape = False
    config.perceptual.required = True
    config.best_metric = "loss/mask_mse"
    longer = _CMR_RADIUS / config.model.shape.radius
    losses = dict(camera_quaternion=2.0, perceptual_cosine=0.5, flow=0.5)
    losses |= dict(mean_deviation=10.0 * longer, laplacian_cotangent=30.0 * longer)
    if config.model.num_keypoints:
        return losses | dict(mask_mse=2.0, keypoint=30.0, keypoint_entropy=0.16)
    # Without key points the mask alone has to hold against the smoothing, which would rather have no object at all.
    return losses | dict(mask_mse=10.0)


def _dibr(config: ConfigDict, options: ConfigDict) -> dict[str, float]:
    """Colours of vertices, or a map of them, in a light that is predicted for each picture, learned from two views."""
    config.data.num_target_views = 1 if options.data == "cub" else 2
    config.model.num_keypoints = 0
    config.model.shape.symmetric = config.model.texture.symmetric = False
    config.model.texture.kind, config.model.light = options.texture, options.light
    config.model.camera.predict = False
    config.render.falloff = "exponential"
    # The published sums run over 642 vertices and 1920 edges, where ours are means.
    return dict(iou=1.0, l1=3.0, displacement_laplacian=0.01 * 642, flatness=0.001 * 1920)


def _ucmr(config: ConfigDict, options: ConfigDict) -> dict[str, float]:
    """No key points and no cameras: many cameras for each picture, of which the masks and the colours leave one."""
    config.data.num_target_views = 1
    config.data.input_crop = "frame"  # the cameras are those of whole stored pictures
    config.model.num_keypoints = 0
    config.model.texture.kind = "map"
    config.model.camera.kind, config.model.camera.predict = "multiplex", False
    config.perceptual.required = True
    config.best_metric = "loss/mask_mse"
    # The released rate of the cameras, 0.1, over ours of everything else.
    config.optimizer.group_scale.multiplex = 0.1 / config.optimizer.learning_rate
    longer = _CMR_RADIUS / config.model.shape.radius
    mask = dict(mask_mse=10.0, mask_barrier=10.0)
    losses = mask | dict(mean_deviation=1.0 * longer)
    if options.kind == "car":
        config.model.camera.elevations = 1
        losses |= dict(perceptual_cosine=0.2, displacement_laplacian=2.0 * longer**2)
    else:
        losses |= dict(perceptual_cosine=1.0, laplacian=0.5 * longer)
    names = dict(zip(("cameras", "multiplex", "joint", "camera"), _UCMR_SHARES))
    config.stages = tuple((name, max(round(share * options.steps), 1)) for name, share in names.items())
    every = config.stage.joint.trainable
    config.stage.cameras = _stage(config, mask, ("multiplex",), peakiness=0.0)
    config.stage.multiplex = _stage(config, losses, every)
    config.stage.joint.cameras = 4
    config.stage.camera = _stage(config, losses | dict(camera_quaternion=2.0), every, cameras=4)
    return losses


def _unicorn(config: ConfigDict, options: ConfigDict) -> dict[str, float]:
    """Pictures alone: six cameras that the network weighs, codes that grow, a background, and like objects that explain
    each other. Cameras, sizes and shares of the stages are those of the released configs for CUB and for ShapeNet."""
    is_photo = options.data == "cub"
    config.data.num_target_views, config.data.input_crop = 1, "frame"
    config.model.num_keypoints = 0
    shape, texture, camera = config.model.shape, config.model.texture, config.model.camera
    shape.update(kind="field", symmetric=False, mean_shape=False, axes=(1.0, 0.7, 0.7), code_size=32)
    shape.update(dict(radius=0.6, scale_range=0.3) if is_photo else dict(radius=0.4, scale_range=0.5, field_units=512))
    texture.update(kind="map", symmetric=False, map_size=64, code_size=128)
    camera.update(kind="candidates", predict=False)
    if not is_photo:  # the cameras of rendered views, which the released configs know as well
        camera.update(candidate_elevations_deg=(30.0, 30.0), candidate_roll_deg=0.0, candidate_shift=(0.2, 0.2, 0.0))
    config.render.update(blending="layered", falloff="exponential", compare="picture")
    config.perceptual.network, config.perceptual.required = "vgg16", True
    config.best_metric = "loss/mse"
    losses = dict(mse=1.0, perceptual=10.0, laplacian=0.01, normal=0.01, uniform_pose=0.02)
    if options.masks == "none":
        config.data.input_masked = config.data.target_masked = False
        config.model.background.kind = "picture"
    else:
        losses |= dict(bce_iou=0.1)
    shares = dict(zip(_UNICORN_CODES, _UNICORN_SHARES[is_photo]))
    config.stages = tuple((name, max(round(share * options.steps), 1)) for name, share in shares.items())
    both = losses | dict(neighbour=1.0)
    for name, (*sizes, background) in _UNICORN_CODES.items():
        codes = dict(shape_code=sizes[0], texture_code=sizes[1], background_code=background, scale=name != "mean")
        plain = (1.0 if sizes[0] == 0 else 0.2) if not is_photo else 0.0 if name == "joint" else 0.2
        terms = both if sizes[0] else losses
        config.stage[name] = _stage(config, terms, config.stage.joint.trainable, **codes, mean_texture=plain)
    return both


def _ast_released(config: ConfigDict, options: ConfigDict) -> dict[str, float]:
    """Masks and pictures alone: six cameras that the network weighs, a field behind each query, a texture of queries on
    a map. Sizes, weights and shares of the stages are those of the released config for CUB."""
    config.data.image_size = config.data.render_size = 64
    config.data.num_target_views, config.data.input_crop, config.data.input_masked = 1, "frame", False
    config.model.num_keypoints, config.model.saliency = 0, True
    config.model.mlp_ratio, config.model.norm_order = 1, "post"
    config.model.encoder.update(name="unet", width=16, blocks=2, token_levels=(0,), pool="mean")
    shape, texture = config.model.shape, config.model.texture
    shape.update(kind="transformer", head="field", layers=1, symmetric=False, mean_shape=False)
    shape.update(condition_on_global=False, axes=(1.0, 0.7, 0.7), scale_range=0.3)
    shape.radius = 0.6 if options.data in ("cub", "cub_ast") else 0.4  # rendered objects fill less of their frames
    texture.update(kind="map_transformer", map_size=64, symmetric=False, condition_on_global=False)
    config.model.camera.update(kind="candidates", predict=False)
    config.render.update(blending="layered", falloff="exponential")
    config.perceptual.network, config.perceptual.required = "vgg16", True
    config.best_metric = "loss/bce_iou"
    config.neighbours.swaps = "texture"
    losses = _AST_TWICE | {f"intermediate_{name}": weight for name, weight in _AST_TWICE.items()}
    losses |= dict(saliency=0.1, uniform_pose=0.1)
    both = losses | dict(neighbour=1.0)
    shares = dict(zip(_AST_CODES, _AST_SHARES))
    config.stages = tuple((name, max(round(share * options.steps), 1)) for name, share in shares.items())
    for name, (size, texture_size) in _AST_CODES.items():
        codes = dict(shape_code=size, texture_code=texture_size, scale=name != "mean")
        plain = 0.2 if texture_size < 32 else 0.0
        terms = both if size else losses
        config.stage[name] = _stage(config, terms, config.stage.joint.trainable, **codes, mean_texture=plain)
    return both


def _stage(config: ConfigDict, losses: dict[str, float], trainable: tuple[str, ...], **options) -> ConfigDict:
    """A stage like ``joint`` but for what is given."""
    stage = config.stage.joint.copy_and_resolve_references()
    stage.losses, stage.trainable = ConfigDict(losses), trainable
    stage.update(options)
    return stage


RIVALS = {
    "cmr": Rival("CMR", _cmr, {}),
    "dibr": Rival("DIB-R", _dibr, dict(texture=("vertex_colour", "map"), light=("harmonics", "none"))),
    "ucmr": Rival("U-CMR", _ucmr, dict(kind=("bird", "car"))),
    "unicorn": Rival("Unicorn", _unicorn, dict(masks=("none", "given"))),
    "ast_released": Rival("AST, released", _ast_released, {}),
}


def _make_tiny(config: ConfigDict) -> None:
    for name, _ in config.stages:
        losses = config.stage[name].losses
        reading = [term for term in losses if "perceptual" in term]
        for term in reading:  # their network is an extra, which tests do without
            del losses[term]
        if reading and "masked_mse" not in losses:
            losses.l1 = 1.0
        config.perceptual.required = False
    if config.data.source == "quickstart":
        config.data.root, config.data.num_objects = "data/quickstart_tiny", 10
    config.data.image_size = config.data.render_size = 32
    config.model.dim, config.model.heads = 16, 2
    is_unet = config.model.encoder.name == "unet"
    config.model.encoder.name, config.model.encoder.width = ("unet", 2) if is_unet else ("convnet", 8)
    config.model.camera.azimuths, config.model.camera.elevations, config.model.camera.num_candidates = 4, 2, 2
    config.model.shape.level = config.model.shape.query_level = 2
    config.model.texture.query_level, config.model.texture.texels, config.model.texture.map_size = 1, 2, 16
    config.model.shape.field_units, config.model.background.size, config.neighbours.memory = 16, 16, 16
    config.batch_size = 8
    config.stages = tuple((name, max(4 // len(config.stages), 1)) for name, _ in config.stages)
    config.log_every = 2
    config.checkpoint_every = 4
    config.eval_every = 0
    config.evaluation.num_report_objects = 1
