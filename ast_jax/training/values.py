"""The numbers of an experiment that a step takes as arguments: other values do not compile it anew."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ast_jax.losses.perceptual import PerceptualNetwork
from ast_jax.model.codes import LiveCodes
from ast_jax.training.stages import Stage

_ALL = np.iinfo(np.int32).max


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StageValues:
    """What a stage computes with, beside state and batch; the numbers are scalars, float32 or int32.

    What decides which operations there are stays in the program: names of terms, rules and groups, and sizes.

    Args:
      num_steps: length of the whole run.
      warmup_steps: of the learning rate.
      learning_rate: at its peak.
      final_fraction: of the peak, at the last step.
      muon_scale: rate of matrices over that of everything else, with Muon.
      weight_decay: of matrices.
      clip_norm: bound on the norm of all gradients together.
      ema_decay: of the moving average, where there is one.
      sigma_start, sigma: softness of silhouettes at the start and at the end, squared NDC.
      gamma: softness of depth.
      group_scale: factor on the learning rate of each parameter group that the stage trains.
      loss_weights: by term.
      peakiness: how much more the better cameras of a multiplex count.
      live: how much of the codes counts, of a model that has codes.
      wrong_starts: share of the pictures whose steps of synthesis begin elsewhere; None where no step does.
      mean_texture: share of the pictures whose texture is its mean colour; None where there are none.
      perceptual: network of the perceptual loss, or None. As a constant its weights would be compiled into the program.
    """

    num_steps: Any
    warmup_steps: Any
    learning_rate: Any
    final_fraction: Any
    muon_scale: Any
    weight_decay: Any
    clip_norm: Any
    ema_decay: Any
    sigma_start: Any
    sigma: Any
    gamma: Any
    group_scale: dict[str, Any]
    loss_weights: dict[str, Any]
    peakiness: Any
    live: LiveCodes
    wrong_starts: Any = None
    mean_texture: Any = None
    perceptual: PerceptualNetwork | None = None


def make_values(
    config: ConfigDict, stage: Stage, num_steps: int, perceptual: PerceptualNetwork | None = None
) -> StageValues:
    """The values of a stage, in the memory of the host.

    Args:
      config: the experiment, of which ``config.optimizer`` and ``config.render`` are read.
      stage: for its losses and groups.
      num_steps: length of the whole run.
      perceptual: network of the perceptual loss, or None.
    """
    optimizer, render, options = config.optimizer, config.render, config.stage[stage.name]
    share, plain = options.wrong_starts, options.mean_texture
    return StageValues(
        num_steps=np.int32(num_steps),
        warmup_steps=np.int32(min(optimizer.warmup_steps, max(num_steps // 10, 1))),
        learning_rate=np.float32(optimizer.learning_rate),
        final_fraction=np.float32(optimizer.final_fraction),
        muon_scale=np.float32(optimizer.muon_scale),
        weight_decay=np.float32(optimizer.weight_decay),
        clip_norm=np.float32(optimizer.clip_norm),
        ema_decay=np.float32(optimizer.ema_decay),
        sigma_start=np.float32(render.sigma_start),
        sigma=np.float32(render.sigma),
        gamma=np.float32(render.gamma),
        group_scale={group: np.float32(optimizer.group_scale[group]) for group in stage.trainable},
        loss_weights={name: np.float32(weight) for name, weight in stage.losses},
        peakiness=np.float32(options.peakiness),
        live=_live(options),
        wrong_starts=np.float32(share) if stage.synthesis and share else None,
        mean_texture=np.float32(plain) if plain else None,
        perceptual=perceptual,
    )


def _live(options: ConfigDict) -> LiveCodes:
    """How much of each code is live in a stage; an entry that is not there cannot be."""
    sizes = (options.shape_code, options.texture_code, options.background_code)
    return LiveCodes(*(np.int32(size if size >= 0 else _ALL) for size in sizes), scale=np.float32(options.scale))
