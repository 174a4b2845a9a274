"""Say clearly what is wrong with a config, before anything is built from it."""

from collections.abc import Mapping
from typing import Any

from ast_jax.near_match import hint


def check_keys(config: Any, expected: Mapping, name: str) -> None:
    """Compare the keys of a config with the expected ones, all the way down.

    Args:
      config: what the user gave: a ConfigDict or any mapping.
      expected: nested dict whose leaves are types; a config value must be of that type (an int serves as a
        float).
      name: how the user calls this config, for messages.
    Raises:
      ValueError: a key is unknown (names the nearest one), missing, or holds another type.
    """
    if not hasattr(config, "keys"):
        raise ValueError(f"{name}={config!r} should be a config with the keys {', '.join(expected)}")
    for key in config.keys():
        if key not in expected:
            raise ValueError(f"{name}.{key} is no key of the config{hint(str(key), expected)}")
    for key, kind in expected.items():
        if key not in config:
            raise ValueError(f"{name}.{key} is missing; the keys are {', '.join(expected)}")
        if isinstance(kind, Mapping):
            check_keys(config[key], kind, f"{name}.{key}")
        elif kind is not Any and not _is_of(config[key], kind):
            raise ValueError(f"{name}.{key}={config[key]!r} should be of type {kind.__name__}")


def _is_of(value: object, kind: type) -> bool:
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, (int, float) if kind is float else kind)
