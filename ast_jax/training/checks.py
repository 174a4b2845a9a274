"""What can be known of an experiment before any work is done for it: one line that names the key."""

import math
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from ast_jax.data.data_config import DATA_DEFAULTS, checked_config
from ast_jax.data.pipeline import DataSource
from ast_jax.data.store import SPLITS
from ast_jax.losses.perceptual import NETWORKS
from ast_jax.losses.total import TERMS
from ast_jax.model.config_check import check_keys
from ast_jax.model.model import CONFIG_KEYS
from ast_jax.model.synthesis import NEEDS as SYNTHESIS_NEEDS
from ast_jax.near_match import choose
from ast_jax.training.optimizer import NAMES, SCHEDULES
from ast_jax.training.precision import check_precision
from ast_jax.training.sharding import Layout
from ast_jax.training.stages import GROUPS, Stage, make_stages
from render.blending import RULES

_DATA_KEYS: dict[str, Any] = {name: type(value) for name, value in DATA_DEFAULTS.items() if name != "augment"}
_DATA_KEYS |= {"source": str, "root": str, "num_objects": int, "memory_limit_gb": float}
_DATA_KEYS["augment"] = {"flip": bool, "colour": float, "crop": float, "box": float}
# Key -> type; `Any` where the check is another one's.
KEYS = {
    "seed": int,
    "batch_size": int,
    "accumulate_steps": int,
    "data": _DATA_KEYS,
    "model": CONFIG_KEYS,
    "stages": tuple,
    "stage": Any,
    "optimizer": {
        **dict.fromkeys(("name", "schedule"), str),
        **dict.fromkeys(("learning_rate", "final_fraction", "weight_decay", "clip_norm", "muon_scale"), float),
        "warmup_steps": int,
        "ema_decay": float,
        "group_scale": dict.fromkeys(GROUPS, float),
    },
    "mesh": tuple,
    "sharding": {"rules": tuple, "fully_sharded": bool},
    "precision": {"compute": str, "keep_float32": str},
    "recompute": bool,
    "render": {"blending": str, "sigma": float, "sigma_start": float, "gamma": float},
    "perceptual": {"network": str, "required": bool},
    **dict.fromkeys(("log_every", "eval_every", "checkpoint_every", "keep_checkpoints"), int),
    "best_metric": str,
    "evaluation": {"split": str, "num_views": int, "num_report_objects": int, "validation_batches": int},
    "init_from": str,
}
_AT_LEAST_1 = (
    "batch_size accumulate_steps log_every checkpoint_every keep_checkpoints evaluation.num_views "
    "evaluation.num_report_objects evaluation.validation_batches model.dim model.heads model.mlp_ratio "
    "model.shape.synthesis_steps model.shape.synthesis_size"
).split()
_AT_LEAST_0 = (
    "seed eval_every optimizer.learning_rate optimizer.final_fraction optimizer.weight_decay optimizer.warmup_steps "
    "model.num_keypoints data.crop_padding data.memory_limit_gb"
).split()
_ABOVE_0 = (
    "optimizer.clip_norm optimizer.muon_scale render.sigma render.sigma_start render.gamma model.shape.radius"
).split()


def check_config(config: ConfigDict, layout: Layout) -> None:
    """Raises a ValueError where a key is unknown, missing or out of range, or does not fit others or the devices."""
    check_keys(config, KEYS, "config")
    _check_ranges(config)
    check_precision(config)
    choose("config.optimizer.name", config.optimizer.name, NAMES)
    choose("config.optimizer.schedule", config.optimizer.schedule, SCHEDULES)
    choose("config.render.blending", config.render.blending, RULES)
    choose("config.perceptual.network", config.perceptual.network, NETWORKS)
    checked_config(config.data)
    _check_synthesis(config)
    stages = make_stages(config)
    for stage in stages:
        _check_losses(stage, config)
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


def _check_ranges(config: ConfigDict) -> None:
    scales = [f"optimizer.group_scale.{group}" for group in GROUPS]
    groups = ((_AT_LEAST_1, lambda x: x >= 1, "1 or more"), ([*_AT_LEAST_0, *scales], lambda x: x >= 0, "0 or more"))
    for keys, fits, words in (*groups, (_ABOVE_0, lambda x: x > 0, "more than 0")):
        for key in keys:
            value = config
            for part in key.split("."):
                value = value[part]
            if not (math.isfinite(value) and fits(value)):
                raise ValueError(f"config.{key}={value}: give a finite number, {words}.")
    if not 0 <= config.optimizer.ema_decay < 1:
        raise ValueError(f"config.optimizer.ema_decay={config.optimizer.ema_decay}: give 0 or more, below 1.")


def _check_losses(stage: Stage, config: ConfigDict) -> None:
    """Every term exists; those of a stage that is run have what they need of the model."""
    model, where = config.model, f"config.stage.{stage.name}.losses"
    for term, weight in config.stage[stage.name].losses.items():
        choose(where, term, TERMS)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ValueError(f"{where}.{term}={weight}: give a finite number; 0 switches the term off.")
    terms = dict(stage.losses)
    if stage.start == stage.stop:
        return
    if not terms:
        raise ValueError(f"{where}: every weight is 0; give one of {', '.join(TERMS)} another.")
    for term in terms:
        needs = TERMS[term].needs
        if not needs.is_met(model):
            raise ValueError(
                f"{where}.{term}: the loss {term!r} needs {needs.words}; or take it out ({where}.{term}=0)."
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
            f"{source.root}: knows no cameras; set config.model.camera.kind=candidates and config.model.camera.predict="
            "False, and take the loss 'camera' out."
        )
