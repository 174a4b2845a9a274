"""The array type of the annotations, and an array that can be the static half of a pytree; both are the renderer's."""

from render.arrays import Array, StaticArray

__all__ = ["Array", "StaticArray"]
