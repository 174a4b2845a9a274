"""Say clearly what is wrong with a config before anything is built from it, and complete one that is older."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from ast_jax.config.key import Key, default_of, entry_type, fields_of, names_of
from ast_jax.near_match import choose, hint


def check(config: Any, kind: type, name: str) -> None:
    """Compare a config with its definition, all the way down.

    Args:
      config: what the user gave: a ConfigDict or any mapping.
      kind: the group that it should be, such as `ast_jax.config.ModelConfig`.
      name: what the user calls it, such as ``config.model``.

    Raises:
      ValueError: a key is unknown (names the nearest one), missing, of another type (an int serves as a float), or
        outside its range or choices.
    """
    known = fields_of(kind)
    _check_keys(config, known, name)
    for key, field in known.items():
        if key not in config:
            raise ValueError(f"{name}.{key} is missing; the keys are {', '.join(known)}")
        where, value, entry = f"{name}.{key}", config[key], entry_type(field)
        if dataclasses.is_dataclass(field.type):
            check(value, field.type, where)
        elif entry is not None:
            _check_table(value, entry, where)
        else:
            _check_value(value, typing.get_origin(field.type) or field.type, field.metadata["key"], where)


def _check_keys(config: Any, known: Mapping, name: str) -> None:
    if not hasattr(config, "keys"):
        raise ValueError(f"{name}={config!r} should be a config with the keys {', '.join(known)}")
    for key in config.keys():
        if key not in known:
            raise ValueError(f"{name}.{key} is no key of the config{hint(str(key), known)}")


def _check_table(entries: Any, entry: type, name: str) -> None:
    if not hasattr(entries, "keys"):
        raise ValueError(f"{name}={entries!r} should be a config with a key for each of its entries")
    for key in entries.keys():
        if dataclasses.is_dataclass(entry):
            check(entries[key], entry, f"{name}.{key}")
        else:
            _check_value(entries[key], entry, Key(""), f"{name}.{key}")


def _check_value(value: Any, kind: type, rules: Key, name: str) -> None:
    if not _is_of(value, kind):
        raise ValueError(f"{name}={value!r} should be of type {kind.__name__}")
    if rules.choices:
        choose(name, value, rules.choices)
    if kind in (int, float) and not (math.isfinite(value) and rules.contains(value)):
        raise ValueError(f"{name}={value}: give a finite number{', ' * bool(rules.range)}{rules.range}.")


def _is_of(value: object, kind: type) -> bool:
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def complete(config: Mapping, kind: type, name: str = "config") -> tuple[dict, dict[str, Any]]:
    """A config of an earlier version with today's keys.

    Args:
      config: nested dicts; a key that was added since may be missing, and one that was removed may be there.
      kind: the group that it should be.
      name: what the user calls it.

    Returns:
      the same values, and the defaults of the keys that are missing; and, by their names, the values of keys that
      there are no more.
    """
    known = fields_of(kind)
    full, removed = {}, {f"{name}.{key}": value for key, value in config.items() if key not in known}
    for key, field in known.items():
        full[key] = config[key] if key in config else default_of(field)
        if isinstance(full[key], Mapping):
            full[key], gone = _complete_part(full[key], field, f"{name}.{key}")
            removed |= gone
    return full, removed


def _complete_part(part: Mapping, field: dataclasses.Field, name: str) -> tuple[dict, dict[str, Any]]:
    """As `complete`, for a group or a table within a group."""
    if dataclasses.is_dataclass(field.type):
        return complete(part, field.type, name)
    full, removed, entry = dict(part), {}, entry_type(field)
    for key, value in part.items():
        if dataclasses.is_dataclass(entry) and isinstance(value, Mapping):
            full[key], gone = complete(value, entry, f"{name}.{key}")
            removed |= gone
    return full, removed


def filled(config: Mapping, kind: type, name: str) -> dict:
    """A config with defaults for the keys that are left out, checked.

    Args:
      config: nested dicts.
      kind: the group that it should be.
      name: what the user calls it.

    Raises:
      ValueError: as `check`.
    """
    full, unknown = complete(config, kind, name)
    for key in unknown:
        raise ValueError(f"{key} is no key of the config{hint(key, names_of(kind, name))}")
    check(full, kind, name)
    return full
