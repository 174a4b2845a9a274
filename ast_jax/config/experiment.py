"""The keys of a whole experiment, and what every config file starts from."""

import dataclasses
from dataclasses import dataclass

from ml_collections import ConfigDict

from ast_jax.config.data import DataConfig
from ast_jax.config.devices import PrecisionConfig, ShardingConfig
from ast_jax.config.key import group, key, table
from ast_jax.config.model import ModelConfig
from ast_jax.config.optimizer import OptimizerConfig
from ast_jax.config.stages import STAGES, StageConfig


@dataclass(frozen=True)
class RenderConfig:
    """The renderer in the losses."""

    blending: str = key("softmax", "how the faces of a pixel are blended")
    # The published 1e-4 at the end of training; a wider band at the start reaches further.
    sigma: float = key(1e-4, "softness of silhouettes at the end of training", above=0)
    sigma_start: float = key(1e-4, "softness of silhouettes at the start", above=0)
    gamma: float = key(1e-4, "softness of depth", above=0)
    falloff: str = key(
        "sigmoid",
        "of soft borders, half on either side (SoftRas), or `exponential`, only outside (DIB-R)",
        choices=("sigmoid", "exponential"),
    )
    compare: str = key(
        "object",
        "where colours are compared: `object`, where rendering and mask overlap; `picture`, everywhere, mask or not",
        choices=("object", "picture"),
    )
    colour_moves_shape: bool = key(
        True, "colours also move vertices and cameras; False: silhouettes alone do (CMR), at the cost of a rendering"
    )


@dataclass(frozen=True)
class PerceptualConfig:
    """The network of the perceptual term, whose weights come with an optional package."""

    network: str = key("alexnet", "network whose features are compared")
    required: bool = key(False, "stop where its weights are missing; False: say so, and go on without the term")


@dataclass(frozen=True)
class NeighbourConfig:
    """The memory that the loss `neighbour` finds like objects in."""

    memory: int = key(1024, "pictures that are remembered, at least those of a batch", at_least=1)
    swaps: str = key(
        "both",
        "what is swapped with the neighbour's: the shape, and with another neighbour the texture; or the texture alone",
        choices=("both", "texture"),
    )
    least_angle_deg: float = key(
        20.0, "neighbours are seen from elsewhere by this angle or more", at_least=0, below=180
    )
    angle_bins: int = key(
        5, "of equal size from there to 180 degrees; one of them is drawn for each picture", at_least=1
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """Validation in the run, and the report at its end."""

    method: str = key("", "what the run is called in its tables; empty: by its shape branch")
    split: str = key("test", "split of the data set that the report is about")
    num_views: int = key(5, "input views of each object", at_least=1)
    num_report_objects: int = key(6, "objects that the report shows", at_least=1)
    validation_batches: int = key(4, "batches of the split `val` in each validation", at_least=1)


@dataclass(frozen=True)
class ExperimentConfig:
    """Every key that training knows, with the defaults that the experiments share."""

    seed: int = key(0, "seed of initial weights, order and augmentation", at_least=0, below=2**63)
    batch_size: int = key(16, "pictures in a step, those of all processes together", at_least=1)
    accumulate_steps: int = key(1, "parts of a batch whose gradients are summed one after the other", at_least=1)
    data: DataConfig = group(DataConfig)
    model: ModelConfig = group(ModelConfig)
    stages: tuple[tuple[str, int], ...] = key(
        (("shape", 1000), ("joint", 500)), "pairs of a stage and its steps, in their order"
    )
    stage: dict[str, StageConfig] = table(STAGES, "what each stage trains")
    optimizer: OptimizerConfig = group(OptimizerConfig)
    mesh: tuple[tuple[str, int], ...] = key(
        (("data", -1), ("model", 1)), "axes of the device mesh and their sizes; -1: all devices that are left"
    )
    sharding: ShardingConfig = group(ShardingConfig)
    precision: PrecisionConfig = group(PrecisionConfig)
    recompute: bool = key(
        False, "compute what lies within blocks and decoder layers again in the backward pass: less is kept"
    )
    render: RenderConfig = group(RenderConfig)
    perceptual: PerceptualConfig = group(PerceptualConfig)
    neighbours: NeighbourConfig = group(NeighbourConfig)
    log_every: int = key(20, "steps between lines of the log", at_least=1)
    eval_every: int = key(500, "steps between validations; 0: none", at_least=0)
    checkpoint_every: int = key(500, "steps between checkpoints", at_least=1)
    keep_checkpoints: int = key(2, "how many of the newest are kept; the best is kept beside them", at_least=1)
    best_metric: str = key("loss/iou", "metric of the validation that chooses the best checkpoint; lower is better")
    evaluation: EvaluationConfig = group(EvaluationConfig)
    init_from: str = key("", "run whose weights are the first, where names and shapes fit; empty: none")


def base_config() -> ConfigDict:
    """Every key with its default, for a config file to change."""
    return ConfigDict(dataclasses.asdict(ExperimentConfig()))


def use_learned_steps(config: ConfigDict) -> None:
    """The coarse shape of an MLP, then learned steps of analysis by synthesis on the picture itself.

    The pictures stay in their frame, which tells the size of the object; in a crop the camera that the steps trust
    cannot know it.
    """
    config.model.shape.kind, config.model.shape.synthesis = "mlp", "learned"
    config.data.input_crop = "frame"
    for stage in (config.stage.shape, config.stage.joint):
        stage.losses.intermediate_iou = 0.5
        stage.losses.intermediate_camera = 1.0
    # Steps that always begin at a coarse shape of the same picture learn to read little of it.
    config.stage.shape.wrong_starts = 0.5
