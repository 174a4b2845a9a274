"""What is known of a config key stands in one place: its line in a frozen dataclass.

A group of keys is a frozen dataclass. A field is a key (made by `key`), a group of its own (a dataclass as its type),
or a table with names of the user's choice (``dict[str, Group]`` or ``dict[str, float]``). Defaults, checks, the
completion of old files and the page ``docs/config.md`` are all made from these lines.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """What a value means, and which values are allowed beside the type and the default.

    Args:
      meaning: one line; it goes into the page.
      at_least, above, at_most, below: bounds of a number, or None.
      choices: all that a text can be; empty where it is free, or where it names something that other code registers.
    """

    meaning: str
    at_least: int | float | None = None
    above: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The bounds in words, such as ``0 or more, below 1``; empty without any."""
        bounds = {"{} or more": self.at_least, "more than {}": self.above, "at most {}": self.at_most}
        bounds["below {}"] = self.below
        return ", ".join(words.format(bound) for words, bound in bounds.items() if bound is not None)

    def contains(self, value: int | float) -> bool:
        """Whether a number lies within the bounds; NaN never does where there is one."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def key(default: Any, meaning: str, **rules: Any) -> Any:
    """A field that is a key.

    Args:
      default: its value where the experiment sets none.
      meaning: one line.
      **rules: bounds or choices, see `Key`.
    """
    return dataclasses.field(default=default, metadata={"key": Key(meaning, **rules)})


def table(default: Mapping[str, Any], meaning: str) -> Any:
    """A field that is a table: names of the user's choice, each with a group or a number.

    Args:
      default: the entries where the experiment sets none.
      meaning: one line.
    """
    return dataclasses.field(default_factory=lambda: dict(default), metadata={"key": Key(meaning)})


def group(kind: type) -> Any:
    """A field that is a group of keys, with the defaults of that group."""
    return dataclasses.field(default_factory=kind)


def fields_of(kind: type) -> dict[str, dataclasses.Field]:
    """Name -> field of a group, in the order in which they are written."""
    return {field.name: field for field in dataclasses.fields(kind)}


def names_of(kind: type, name: str) -> list[str]:
    """The dotted names of all keys, groups included and tables without their entries: ``config.data.augment.flip``."""
    names = []
    for key, field in fields_of(kind).items():
        names.append(f"{name}.{key}")
        if dataclasses.is_dataclass(field.type):
            names += names_of(field.type, names[-1])
    return names


def entry_type(field: dataclasses.Field) -> Any:
    """What the entries of a table are, a group or a number; None for a field that is no table."""
    return typing.get_args(field.type)[1] if typing.get_origin(field.type) is dict else None


def default_of(field: dataclasses.Field) -> Any:
    """The default as a config holds it: dicts in place of groups."""
    if field.default is not dataclasses.MISSING:
        return field.default
    made = field.default_factory()
    return dataclasses.asdict(made) if dataclasses.is_dataclass(made) else _plain(made)


def _plain(entries: dict) -> dict:
    return {name: dataclasses.asdict(e) if dataclasses.is_dataclass(e) else e for name, e in entries.items()}
