"""What is wrong with ``config.data``, by itself and beside the stored pictures."""

from ml_collections import ConfigDict

from ast_jax.config import DataConfig, filled


def checked_config(config: ConfigDict | dict, stored_size: int | None = None, views: int | None = None) -> dict:
    """The data config with defaults filled in.

    Args:
      config: any of the keys of `ast_jax.config.DataConfig`.
      stored_size: side of the stored pictures, px, or None when there are none.
      views: fewest views that an object has, or None.

    Raises:
      ValueError: a key is unknown, or a value is out of range or does not fit the stored pictures.
    """
    given = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    full = filled(given, DataConfig, "config.data")
    colour = full["background"]
    if len(colour) != 3 or not all(isinstance(c, int | float) and 0 <= c <= 1 for c in colour):
        raise ValueError(f"config.data.background={colour}: expected three numbers in [0, 1].")
    if full["augment"]["box"] and full["input_crop"] != "frame":
        raise ValueError(
            f"config.data.augment.box={full['augment']['box']}: moves the square about the annotated box, so it needs "
            "config.data.input_crop='frame'; or set it to 0."
        )
    if stored_size is not None and full["render_size"] > stored_size:
        raise ValueError(
            f"config.data.render_size={full['render_size']}: the stored pictures have only {stored_size} px."
        )
    if views is not None and full["num_target_views"] > views:
        raise ValueError(
            f"config.data.num_target_views={full['num_target_views']}: some object has only {views} views."
        )
    return full
