"""The keys of ``config.data``: where the examples come from and how they are made."""

from dataclasses import dataclass

from ast_jax.config.key import group, key


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a sample, see `ast_jax.data.augment`."""

    flip: bool = key(True, "mirror half of the samples, the object and its cameras with them")
    colour: float = key(0.2, "brightness, channels, saturation: by up to a factor of 1 + this", at_least=0, at_most=1)
    crop: float = key(0.05, "shift of the input's crop, of its side, and zoom by 1 + this", at_least=0, at_most=1)
    box: float = key(0.0, "shift of each side of the annotated box, fraction of its size", at_least=0, at_most=1)


@dataclass(frozen=True)
class DataConfig:
    """What a batch shows."""

    source: str = key(
        "prepared",
        "`prepared`: a folder made by launch.prepare_data; `quickstart`: made on first use",
        choices=("prepared", "quickstart"),
    )
    root: str = key("", "folder of the data set")
    num_objects: int = key(0, "how many objects, for a source that makes its own", at_least=0)
    image_size: int = key(64, "sides of the model's input, px", at_least=1)
    render_size: int = key(64, "sides of the supervising views, px; at most the stored size", at_least=1)
    num_target_views: int = key(3, "supervising views: the input's, and further ones of the same object", at_least=1)
    background: tuple[float, float, float] = key((1.0, 1.0, 1.0), "RGB in [0, 1] behind the objects")
    num_threads: int = key(4, "threads that read, cut and augment pictures while the last step is computed", at_least=1)
    memory_limit_gb: float = key(4.0, "larger sets of pictures are mapped from a temporary file, GB", at_least=0)
    input_crop: str = key(
        "object",
        "`object`: the model sees the object as large as it gets; `frame`: the stored square as it is",
        choices=("object", "frame"),
    )
    input_masked: bool = key(True, "the input shows the object alone; False: with what lies around it")
    target_masked: bool = key(True, "supervising views show the object alone; False: with what lies around it")
    crop_padding: float = key(
        0.1,
        "margin about the object of `input_crop=object` and of photographs, fraction of its longer side",
        at_least=0,
    )
    augment: AugmentConfig = group(AugmentConfig)
