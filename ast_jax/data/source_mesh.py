"""A mesh with its materials as read from a file, before it becomes training data."""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Material:
    """Flat colour, or an image when there is one.

    Args:
      colour: RGB in [0, 1].
      image: uint8 ``[h, w, 3 or 4]``, row 0 is the top (v = 1), or None.
      opacity: 1 is opaque; parts below one half are dropped when a data set is prepared.
    """

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    image: np.ndarray | None = None
    opacity: float = 1.0


@dataclass(frozen=True)
class SourceMesh:
    """One textured object, on the CPU, in whatever pose and scale its file has.

    Args:
      object_id: unique name, usable as a file name.
      vertices: float64 ``[v, 3]``; canonical axes are +Y up and the front towards +Z.
      faces: int32 ``[f, 3]``, counter-clockwise from outside.
      materials: at least one.
      face_material: int32 ``[f]``, index into ``materials``.
      corner_uv: float32 ``[f, 3, 2]``, u right, v up, or None where no material has an image.
      corner_colours: float32 ``[f, 3, 3]`` in [0, 1], instead of materials, or None.
      keypoints: float64 ``[p, 3]`` in the same space as the vertices, or None.
      group: objects of one group (liveries of one airframe) stay on one side of the split.
      provenance: package, version, path, author, licence; goes into the manifest as it is.
      notices: what the file declares and the reader left out or guessed, a line each; goes into ``dataset.json``.
    """

    object_id: str
    vertices: np.ndarray
    faces: np.ndarray
    materials: tuple[Material, ...] = (Material(),)
    face_material: np.ndarray | None = None
    corner_uv: np.ndarray | None = None
    corner_colours: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    group: str | None = None
    provenance: dict = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def replace(self, **changes) -> "SourceMesh":
        """A copy with some fields changed."""
        return replace(self, **changes)
