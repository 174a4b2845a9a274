"""Stages: which losses and which parameters are live, and for how many steps."""

from dataclasses import dataclass

from ml_collections import ConfigDict

from ast_jax.config import GROUPS
from ast_jax.near_match import choose


@dataclass(frozen=True)
class Stage:
    """One entry of ``config.stages`` with its losses.

    Args:
      name: as in the config.
      start, stop: first step, and the step after the last.
      losses: name -> weight, without the terms of weight 0.
      trainable: the parameter groups that move.
      synthesis: whether the model's steps of analysis by synthesis, if it has any, are taken.
      cameras: of a multiplex, how many of the best are kept; 0: all.
    """

    name: str
    start: int
    stop: int
    losses: tuple[tuple[str, float], ...]
    trainable: tuple[str, ...]
    synthesis: bool = True
    cameras: int = 0


def make_stages(config: ConfigDict) -> tuple[Stage, ...]:
    """Read ``config.stages`` and ``config.stage``.

    Raises:
      ValueError: a stage without description, with a negative length, or that trains an unknown group.
    """
    if not all(isinstance(entry, tuple) and len(entry) == 2 for entry in config.stages) or not config.stages:
        raise ValueError(f"config.stages={config.stages}: give pairs of a stage and its steps, (('shape', 1000),).")
    stages, start = [], 0
    for name, steps in config.stages:
        choose("config.stages: stage", name, sorted(config.stage))
        if not isinstance(steps, int) or steps < 0:
            raise ValueError(f"config.stages: stage {name!r} has {steps} steps; give a whole number, 0 or more.")
        description = config.stage[name]
        for group in description.trainable:
            choose(f"config.stage.{name}.trainable", group, GROUPS)
        losses = tuple((term, float(weight)) for term, weight in sorted(description.losses.items()) if weight)
        options = tuple(description.trainable), bool(description.synthesis), description.cameras
        stages.append(Stage(name, start, start + steps, losses, *options))
        start += steps
    return tuple(stages)


def stage_at(stages: tuple[Stage, ...], step: int) -> Stage:
    """The stage that step number ``step`` (counted from 0) belongs to."""
    for stage in stages:
        if step < stage.stop:
            return stage
    raise ValueError(f"step {step} is behind the last stage, which stops at {stages[-1].stop}.")


def total_steps(stages: tuple[Stage, ...]) -> int:
    """Steps of all stages together."""
    return stages[-1].stop
