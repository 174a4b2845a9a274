"""Dataclasses as pytrees that jax may also fill with what is no array."""

import dataclasses
from typing import TypeVar

import jax

Class = TypeVar("Class", bound=type)


def pytree(cls: Class) -> Class:
    """Register a frozen dataclass as a pytree; fields with ``metadata={"static": True}`` belong to its structure.

    As `jax.tree_util.register_dataclass`, but an instance is rebuilt without its constructor: jax also puts shapes,
    shardings and placeholders into the place of arrays, and a constructor that checks its arguments would refuse them.
    """
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields if not field.metadata.get("static")]
    static = [field.name for field in fields if field.metadata.get("static")]

    def flatten_with_keys(instance):
        children = [(jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in names]
        return children, tuple(getattr(instance, name) for name in static)

    def flatten(instance):
        return [getattr(instance, name) for name in names], tuple(getattr(instance, name) for name in static)

    def unflatten(structure, children):
        instance = object.__new__(cls)
        for name, value in zip((*names, *static), (*children, *structure), strict=True):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
