"""The keys of ``config.sharding`` and ``config.precision``: what lies on which device, and in which numbers."""

from dataclasses import dataclass

from ast_jax.config.key import key


@dataclass(frozen=True)
class ShardingConfig:
    """Which axes of arrays go to which axes of the device mesh; docs/training.md lists the names."""

    rules: tuple[tuple[str, str], ...] = key(
        (("batch", "data"), ("encoder_batch|render_batch", "data,model"), ("heads|mlp|queries", "model")),
        "pairs of a regular expression for names of axes, and axes of the mesh; the first that matches counts",
    )
    fully_sharded: bool = key(False, "split parameters, their averages and moments over the batch's axes, too")


@dataclass(frozen=True)
class PrecisionConfig:
    """bfloat16 computes encoder and decoders in it; losses, renderer, parameters and optimizer stay float32."""

    compute: str = key("float32", "type in which encoder and decoders compute", choices=("float32", "bfloat16"))
    keep_float32: str = key(
        r"heads?\b|mean|coarse|synthesis|gather|camera|keypoints",
        "regular expression for what stays float32 all the same: what gives positions and colours",
    )
