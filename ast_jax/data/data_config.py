"""The keys of ``config.data``: their defaults, and what is wrong with them."""

from typing import Any

from ml_collections import ConfigDict

from ast_jax.data.augment import AUGMENT_DEFAULTS

DATA_DEFAULTS = {
    "image_size": 64,
    "render_size": 64,
    "num_target_views": 1,
    "background": (1.0, 1.0, 1.0),
    "input_crop": "object",
    "input_masked": True,
    "crop_padding": 0.1,
    "memory_limit_gb": 4.0,
    "num_threads": 4,
    "augment": {},
}


def checked_config(config: ConfigDict | dict, stored_size: int | None = None, views: int | None = None) -> dict:
    """The data config with defaults filled in.

    Args:
      config: any of the keys of ``DATA_DEFAULTS``, and others, which are left alone.
      stored_size: side of the stored pictures, px, or None when there are none.
      views: fewest views that an object has, or None.

    Raises:
      ValueError: a value is out of range, or does not fit the stored pictures.
    """
    given = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    full: dict[str, Any] = {**DATA_DEFAULTS, **given}
    augment = dict(full["augment"])
    unknown = sorted(set(augment) - set(AUGMENT_DEFAULTS))
    if unknown:
        raise ValueError(f"augment: unknown {', '.join(unknown)}; there are {', '.join(AUGMENT_DEFAULTS)}.")
    full["augment"] = {**AUGMENT_DEFAULTS, **augment}
    full["background"] = tuple(float(c) for c in full["background"])
    if len(full["background"]) != 3 or not all(0 <= c <= 1 for c in full["background"]):
        raise ValueError(f"background: expected three numbers in [0, 1], got {full['background']}.")
    if full["augment"]["box"] and full["input_crop"] != "frame":
        raise ValueError("augment.box: moves the square about the annotated box, so it needs input_crop='frame'.")
    if full["input_crop"] not in ("object", "frame"):
        raise ValueError(f"input_crop={full['input_crop']!r}: choose 'object' or 'frame'.")
    for name in ("image_size", "render_size", "num_target_views", "num_threads"):
        if full[name] < 1:
            raise ValueError(f"{name}: must be at least 1, is {full[name]}.")
    if stored_size is not None and full["render_size"] > stored_size:
        raise ValueError(f"render_size={full['render_size']}: the stored pictures have only {stored_size} px.")
    if views is not None and full["num_target_views"] > views:
        raise ValueError(f"num_target_views={full['num_target_views']}: some object has only {views} views.")
    return full
