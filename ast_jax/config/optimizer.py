"""The keys of ``config.optimizer``, and the groups of parameters that they and the stages name."""

from dataclasses import dataclass

from ast_jax.config.key import fields_of, group, key


@dataclass(frozen=True)
class GroupScaleConfig:
    """Factor on the learning rate of a parameter group; a pretrained encoder wants less than the rest."""

    encoder: float = key(1.0, "factor for the backbone, its tokens and summary", at_least=0)
    shape: float = key(1.0, "factor for the shape branch", at_least=0)
    texture: float = key(1.0, "factor for the texture branch", at_least=0)
    camera: float = key(1.0, "factor for the camera branch", at_least=0)
    keypoints: float = key(1.0, "factor for the key points", at_least=0)
    light: float = key(1.0, "factor for the light", at_least=0)
    background: float = key(1.0, "factor for the background", at_least=0)
    saliency: float = key(1.0, "factor for the saliency head", at_least=0)
    multiplex: float = key(1.0, "factor for the cameras of a multiplex", at_least=0)


GROUPS = tuple(fields_of(GroupScaleConfig))


@dataclass(frozen=True)
class OptimizerConfig:
    """How the parameters move."""

    name: str = key("muon", "update rule")
    learning_rate: float = key(1e-3, "learning rate at its peak, after the warm-up", at_least=0)
    warmup_steps: int = key(100, "steps of linear warm-up, at most a tenth of the run", at_least=0)
    final_fraction: float = key(0.05, "fraction of the peak that is left at the last step", at_least=0)
    weight_decay: float = key(0.01, "weight decay of matrices; biases and norms have none", at_least=0)
    clip_norm: float = key(1.0, "bound on the norm of all gradients together", above=0)
    muon_scale: float = key(2.0, "with muon: learning rate of the matrices over that of everything else", above=0)
    group_scale: GroupScaleConfig = group(GroupScaleConfig)
    schedule: str = key("cosine", "course of the learning rate after the warm-up")
    ema_decay: float = key(
        0.0, "decay of a moving average of the weights, which is then what is evaluated; 0: none", at_least=0, below=1
    )
