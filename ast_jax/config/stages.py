"""The keys of ``config.stage``: which losses and which parameter groups are live in each stage."""

from dataclasses import dataclass

from ast_jax.config.key import key, table
from ast_jax.config.optimizer import GROUPS

_SHAPE_LOSSES = dict(iou=1.0, camera=1.0, laplacian=0.1, normal=0.01)
_JOINT_LOSSES = dict(_SHAPE_LOSSES, l1=1.0, perceptual=0.0)
# What is seen of colours trains these; the stages before know silhouettes alone.
_COLOUR = ("texture", "light", "background")
_ALL_BUT_COLOUR = tuple(name for name in GROUPS if name not in _COLOUR)


@dataclass(frozen=True)
class StageConfig:
    """One stage; ``config.stages`` says which of them are run, and for how long."""

    losses: dict[str, float] = table({}, "weight of each term; 0 switches it off")
    trainable: tuple[str, ...] = key((*_ALL_BUT_COLOUR, *_COLOUR), "the parameter groups that move")
    synthesis: bool = key(True, "the model's steps of analysis by synthesis, if it has any, are taken")
    cameras: int = key(
        0,
        "of a multiplex: the best cameras of each picture are kept, so many, and no others come back; 0: all",
        at_least=0,
    )
    peakiness: float = key(20.0, "of a multiplex: how much more the better cameras count; 0: all alike", at_least=0)
    shape_code: int = key(-1, "of a code of the shape: the first so many numbers are live; -1: all", at_least=-1)
    texture_code: int = key(-1, "of a code of the texture: the first so many numbers are live; -1: all", at_least=-1)
    background_code: int = key(-1, "of the background's: the first so many numbers are live; -1: all", at_least=-1)
    scale: bool = key(True, "a stretch of the shape that is predicted for each picture counts; False: there is none")
    mean_texture: float = key(
        0.0, "share of the pictures whose texture is its mean colour, so that shapes are learned", at_least=0, at_most=1
    )
    wrong_starts: float = key(
        0.0,
        "share of the pictures whose steps begin at a wrong shape and camera, to learn to read",
        at_least=0,
        at_most=1,
    )


# Stage ``coarse`` leaves out the steps of synthesis, which cost more than all the rest: they are worth it on a coarse
# shape that has been learned.
STAGES = {
    "coarse": StageConfig(_SHAPE_LOSSES, _ALL_BUT_COLOUR, synthesis=False),
    "shape": StageConfig(_SHAPE_LOSSES, _ALL_BUT_COLOUR),
    "joint": StageConfig(_JOINT_LOSSES),
}
