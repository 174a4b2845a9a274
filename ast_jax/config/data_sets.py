"""What all experiments on a data set share: where the data lie, how pictures are cut out, how large the encoder is."""

from collections.abc import Callable

from ml_collections import ConfigDict

from ast_jax.near_match import choose


def _quickstart(config: ConfigDict) -> None:
    config.data.source, config.data.num_objects = "quickstart", 480
    config.model.num_keypoints = 11  # as many as the birds have
    config.model.encoder.width = 16


def _cub_squares(config: ConfigDict) -> None:
    # The squares about annotated boxes are what the protocols show.
    config.data.input_crop = "frame"
    # The published models see the photograph, not the object cut out by its true mask; 0.05 is their margin.
    config.data.input_masked, config.data.crop_padding = False, 0.05
    config.data.num_target_views = config.evaluation.num_views = 1
    config.data.augment = ConfigDict(dict(flip=True, colour=0.2, crop=0.0, box=0.05))


def _cub(config: ConfigDict) -> None:
    """Cameras by structure from motion and key points, as CMR has them."""
    _cub_squares(config)
    config.data.image_size, config.data.render_size = 256, 128
    config.model.encoder.name = "resnet18"
    config.model.num_keypoints = 15
    config.model.shape.radius = 0.7  # CMR's unit: key points are up to 2 apart


def _cub_ast(config: ConfigDict) -> None:
    """Masks and pictures alone, as the released AST code has them."""
    _cub_squares(config)
    config.data.image_size = config.data.render_size = 64


def _freeshapes(config: ConfigDict) -> None:
    # Many aircraft are white: grey shows their outline.
    config.data.background = (0.5, 0.5, 0.5)
    config.data.augment.colour = 0.4
    config.model.encoder.width = 24


def _shapenet(config: ConfigDict) -> None:
    config.data.input_crop = "frame"
    config.model.encoder.width = 48


DATA_SETS: dict[str, Callable[[ConfigDict], None]] = {
    "quickstart": _quickstart,
    "cub": _cub,
    "cub_ast": _cub_ast,
    "freeshapes": _freeshapes,
    "shapenet": _shapenet,
}


def use_data_set(config: ConfigDict, text: str) -> None:
    """Settings of a data set.

    Args:
      config: of `base_config`, is changed.
      text: one of ``DATA_SETS``; behind a colon the category, where there are several: ``freeshapes:chair``.

    Raises:
      ValueError: no such data set; names the nearest.
    """
    name, _, category = text.partition(":")
    DATA_SETS[choose("data", name, DATA_SETS)](config)
    config.data.root = f"data/{name}/{category}".rstrip("/")
