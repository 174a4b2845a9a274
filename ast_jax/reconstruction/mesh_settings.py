"""How meshes are written: their number of faces, texture, axes and unit of length."""

import math
from dataclasses import dataclass

from ast_jax.export.textured_mesh import UP_AXES
from ast_jax.model.template import MAX_LEVEL
from ast_jax.near_match import choose

_LEAST_LEVEL = 1  # 80 faces; the 20 of level 0 are no object


@dataclass(frozen=True)
class MeshSettings:
    """Of files alone: what was found stays as it is.

    Args:
      texture_size: sides of the texture that is painted, px.
      faces: about how many; None: as many as the model predicts. Every edge of the template is halved or doubled, so
        there are 80, 320, 1,280, 5,120 and 20,480 to choose from; the nearest is taken. More are as smooth as the
        surface between the predicted vertices is, and show nothing new.
      up: ``y`` or ``z``, the axis that points up in every format but GLB, which knows +Y alone. The front then is
        +Z or -Y.
      scale: factor of all lengths.

    Raises:
      ValueError: a number is out of range, or there is no such axis.
    """

    texture_size: int = 1024
    faces: int | None = None
    up: str = "y"
    scale: float = 1.0

    def __post_init__(self):
        choose("up", self.up, UP_AXES)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale: a factor of lengths is above 0, got {self.scale}.")
        if self.faces is not None and self.faces < 1:
            raise ValueError(f"faces: a mesh has some, got {self.faces}.")

    def level(self, predicted: int) -> int:
        """The level of the template whose number of faces is the nearest in ratio.

        Args:
          predicted: level of the mesh that the model predicts.
        """
        if self.faces is None:
            return predicted
        nearest = round(math.log(self.faces / 20, 4))
        return min(max(nearest, _LEAST_LEVEL), MAX_LEVEL)


USUAL_MESH = MeshSettings()
