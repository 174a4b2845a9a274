"""What can be known of an experiment before any work is done for it: one line that names the key."""

import functools
from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from ast_jax.config import GROUPS, ExperimentConfig, check
from ast_jax.data.data_config import checked_config
from ast_jax.data.pipeline import DataSource
from ast_jax.data.store import SPLITS
from ast_jax.losses.perceptual import NETWORKS
from ast_jax.losses.total import TERMS
from ast_jax.model.backbones import BACKBONES
from ast_jax.model.cameras import CAMERAS
from ast_jax.model.decoders import DECODERS
from ast_jax.model.shape import HEADS
from ast_jax.model.synthesis import KINDS as SYNTHESES
from ast_jax.model.synthesis import NEEDS as SYNTHESIS_NEEDS
from ast_jax.model.textures import TEXTURES
from ast_jax.near_match import choose
from ast_jax.training.multiplex import camera_count, has_multiplex
from ast_jax.training.neighbours import has_memory
from ast_jax.training.optimizer import NAMES as OPTIMIZERS
from ast_jax.training.optimizer import SCHEDULES
from ast_jax.training.precision import check_pattern
from ast_jax.training.sharding import Layout
from ast_jax.training.stages import Stage, make_stages
from render.blending import RULES

# key -> the names that it can be: each is registered where it is implemented.
NAMES = {
    "model.encoder.name": tuple(BACKBONES),
    "model.shape.kind": tuple(DECODERS),
    "model.shape.head": HEADS,
    "model.shape.synthesis": SYNTHESES,
    "model.texture.kind": tuple(TEXTURES),
    "model.camera.kind": tuple(CAMERAS),
    "optimizer.name": OPTIMIZERS,
    "optimizer.schedule": tuple(SCHEDULES),
    "render.blending": tuple(RULES),
    "perceptual.network": tuple(NETWORKS),
}


def check_config(config: ConfigDict, layout: Layout) -> None:
    """Raises a ValueError where a key is unknown, missing or out of range, or does not fit others or the devices."""
    check(config, ExperimentConfig, "config")
    for key, names in NAMES.items():
        choose(f"config.{key}", functools.reduce(getattr, key.split("."), config), names)
    check_pattern("config.precision.keep_float32", config.precision.keep_float32)
    checked_config(config.data)
    _check_synthesis(config)
    stages = make_stages(config)
    _check_multiplex(config, stages)
    _check_memory(config)
    _check_background(config)
    for stage in stages:
        _check_losses(stage, config)
        _check_input_mask(stage, config)
    if not sum(stage.stop - stage.start for stage in stages):
        raise ValueError(f"config.stages={config.stages}: no stage has a step; there is nothing to train.")
    parts = config.accumulate_steps * layout.batch_shares
    if config.batch_size % parts:
        raise ValueError(
            f"config.batch_size={config.batch_size} must be a positive multiple of {layout.batch_shares} shares of the "
            f"devices times config.accumulate_steps={config.accumulate_steps}."
        )


def _check_synthesis(config: ConfigDict) -> None:
    """Steps of synthesis compare the mesh with the picture's coverage, from the camera of the picture."""
    model = config.model
    has_camera = model.camera.predict or model.camera.kind != "given"
    if model.shape.synthesis != "none" and not (config.data.input_masked and has_camera):
        raise ValueError(f"config.model.shape.synthesis={model.shape.synthesis}: {SYNTHESIS_NEEDS}")


def _check_multiplex(config: ConfigDict, stages: Sequence[Stage]) -> None:
    """The cameras of a multiplex are those of the stored picture, which is what the regressed one has to see, too."""
    if not has_multiplex(config):
        return
    if config.data.input_crop != "frame":
        raise ValueError(
            "config.model.camera.kind=multiplex: its cameras are those of whole stored pictures; set "
            "config.data.input_crop=frame."
        )
    for stage in stages:
        if stage.cameras > camera_count(config):
            raise ValueError(
                f"config.stage.{stage.name}.cameras={stage.cameras}: each picture has {camera_count(config)}, "
                "config.model.camera.azimuths times elevations."
            )


def _check_memory(config: ConfigDict) -> None:
    """A batch fits into the memory, and what the model is shown of it has colours alone."""
    if has_memory(config) and config.neighbours.memory < config.batch_size:
        raise ValueError(
            f"config.neighbours.memory={config.neighbours.memory}: remember a batch at least, "
            f"config.batch_size={config.batch_size}."
        )
    if has_memory(config) and config.model.shape.synthesis != "none":
        raise ValueError(
            "config.stage.NAME.losses.neighbour: steps of synthesis look at the mask of a picture, which is not "
            "remembered with it; set config.model.shape.synthesis=none."
        )


def _check_background(config: ConfigDict) -> None:
    """A background is that of the picture, which a supervising view has to show as the model sees it."""
    if config.model.background.kind == "none":
        return
    if config.model.camera.kind != "candidates" or config.data.input_crop != "frame":
        raise ValueError(
            f"config.model.background.kind={config.model.background.kind}: what lies behind the object is seen in the "
            "view of the picture alone; set config.model.camera.kind=candidates and config.data.input_crop=frame."
        )


def _check_losses(stage: Stage, config: ConfigDict) -> None:
    """Every term exists; those of a stage that is run have what they need of the model."""
    model, where = config.model, f"config.stage.{stage.name}.losses"
    for term in config.stage[stage.name].losses:
        choose(where, term, TERMS)
    terms = dict(stage.losses)
    if stage.start == stage.stop:
        return
    if not stage.trainable:
        raise ValueError(f"config.stage.{stage.name}.trainable=(): the stage trains nothing; give {', '.join(GROUPS)}.")
    if not terms:
        raise ValueError(f"{where}: every weight is 0; give one of {', '.join(TERMS)} another.")
    for term in terms:
        needs = TERMS[term].needs
        if not needs.is_met(model):
            raise ValueError(
                f"{where}.{term}: the loss {term!r} needs {needs.words}; or take it out ({where}.{term}=0)."
            )


def _check_input_mask(stage: Stage, config: ConfigDict) -> None:
    """The mask of the picture itself comes with it, or a supervising view shows the same frame."""
    terms = [name for name in dict(stage.losses) if name in ("flow", "saliency")]
    if terms and not config.data.input_masked and config.data.input_crop != "frame":
        raise ValueError(
            f"config.stage.{stage.name}.losses.{terms[0]}: needs the input's mask; set config.data.input_masked=True, "
            "or config.data.input_crop=frame, with which the first supervising view shows what the input shows."
        )


def check_data(source: DataSource, config: ConfigDict) -> None:
    """Raises a ValueError where the config wants what the data set does not have: cameras, key points, splits."""
    _check_cameras(source, config)
    stages = [stage for stage in make_stages(config) if stage.stop > stage.start]
    count = source.views["keypoints_ndc"].shape[1]
    if any("keypoint" in dict(stage.losses) for stage in stages) and count != config.model.num_keypoints:
        raise ValueError(
            f"{source.root}: has {count or 'no'} key points, but config.model.num_keypoints="
            f"{config.model.num_keypoints}; set it to {count}"
            + ("." if count else " and take the loss 'keypoint' out.")
        )
    splits = source.meta["splits"]
    choose("config.evaluation.split", config.evaluation.split, dict.fromkeys((*splits, *SPLITS)))
    if not splits.get(config.evaluation.split):
        logging.warning("%s: the split %r is empty; there will be no report.", source.root, config.evaluation.split)
    if config.eval_every and splits.get("val"):
        for stage in stages:
            names = ["loss", *(f"loss/{term}" for term, _ in stage.losses)]
            choose(f"config.best_metric, stage {stage.name}", config.best_metric, names)


def _check_cameras(source: DataSource, config: ConfigDict) -> None:
    losses = [dict(stage.losses) for stage in make_stages(config)]
    wants = config.model.camera.kind == "given" or config.model.camera.predict
    if source.camera_kind == "unknown" and (wants or any("camera" in terms for terms in losses)):
        raise ValueError(
            f"{source.root}: knows no cameras; set config.model.camera.kind to candidates or multiplex and "
            "config.model.camera.predict=False, and take the loss 'camera' out."
        )
