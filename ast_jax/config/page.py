"""The page ``docs/config.md``: every key with its type, default, allowed values and meaning."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ast_jax.config.experiment import ExperimentConfig
from ast_jax.config.key import default_of, entry_type, fields_of

_HEAD = """# Every key of a config

Made by `python -m benchmarks.config_page` from `ast_jax/config/`, where each key is defined in one line; a test holds
this page to it. A config file starts from these values (`ast_jax.config.base_config`) and changes some; every leaf can
be set on the command line, `--config.optimizer.learning_rate=3e-4`. What does not fit is said before any work is done,
in one line that names the key; a misspelt key gets the nearest one as an answer.
"""
_ROW = "| {} | {} | {} | {} | {} |"
_TYPES = {str: "text", int: "int", float: "float", bool: "bool"}


def format_page(names: Mapping[str, Sequence[str]]) -> str:
    """The page as Markdown.

    Args:
      names: dotted key without ``config.`` -> the names that a text can be, where other code registers them; entries of
        a table stand as ``NAME`` in the key.
    """
    return "\n".join([_HEAD, *_sections(ExperimentConfig, "config", names)]).rstrip() + "\n"


def _sections(kind: type, name: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """A table of the group's own keys, then a section for each group in it."""
    lines = [
        f"## {name}",
        kind.__doc__.splitlines()[0],
        "",
        _ROW.format("key", "type", "default", "allowed", "meaning"),
    ]
    lines.append(_ROW.format(*["---"] * 5))
    inner = []
    for key, field in fields_of(kind).items():
        where, entry = f"{name}.{key}", entry_type(field)
        if dataclasses.is_dataclass(field.type):
            inner += _sections(field.type, where, names)
        else:
            known = names.get(where.removeprefix("config."), ())
            lines.append(_ROW.format(*map(_cell, _describe(key, field, known))))
        if dataclasses.is_dataclass(entry):
            inner += _sections(entry, f"{where}.NAME", names)
    return [*lines, "", *inner]


def _describe(key: str, field: dataclasses.Field, names: Sequence[str]) -> tuple[str, str, str, str, str]:
    rules, entry = field.metadata["key"], entry_type(field)
    kind = _TYPES.get(field.type, str(field.type).replace("str", "text"))
    if entry is not None:
        kind = f"name -> {_TYPES.get(entry, 'group')}"
    allowed = rules.range or ", ".join(f"`{name}`" for name in rules.choices or names)
    return f"`{key}`", kind, _default(field), allowed, rules.meaning


def _default(field: dataclasses.Field) -> str:
    value: Any = default_of(field)
    if isinstance(value, Mapping):
        return ", ".join(f"`{name}`" for name in value)
    return f"`{value!r}`" if not isinstance(value, str) else f'`"{value}"`'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
