"""A mesh with its materials as read from a file, before it becomes training data."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

WHITE = (1.0, 1.0, 1.0)
GREY = (0.7, 0.7, 0.7)

# What lies outside [0, 1] in a texture, on one axis.
Wrap = Literal["repeat", "clamp", "mirror"]


@dataclass(frozen=True)
class Material:
    """What a face looks like. Colour, image and the corner colours of a mesh are multiplied in linear light.

    How alpha decides: ``opaque``, not at all; ``blend``, a face stays if its mean alpha is one half or more;
    ``mask``, it stays if at least half of it has an alpha of ``alpha_cutoff`` or more. Alpha is the product of
    opacity, the image's and that of the corner colours.

    Args:
      colour: RGB in [0, 1], sRGB; ``WHITE`` where an image says it all.
      image: uint8 ``[h, w, 3 or 4]``, row 0 is the top (v = 1), or None.
      opacity: in [0, 1], 1 is opaque.
      wrap: along u and along v.
      alpha_mode: see above.
      alpha_cutoff: of ``mask``.
    """

    colour: tuple[float, float, float] = GREY
    image: np.ndarray | None = None
    opacity: float = 1.0
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    alpha_mode: Literal["opaque", "mask", "blend"] = "blend"
    alpha_cutoff: float = 0.5


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
      corner_colours: float32 ``[f, 3, 3 or 4]`` in [0, 1], sRGB and alpha, which multiply the materials, or None;
        white where a part has none. A file with colours of vertices alone has one material, ``WHITE``.
      mix_linear: between its corners a face mixes their colours in linear light (glTF), not as stored.
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
    mix_linear: bool = False
    keypoints: np.ndarray | None = None
    group: str | None = None
    provenance: dict = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def replace(self, **changes) -> "SourceMesh":
        """A copy with some fields changed."""
        return replace(self, **changes)


def wrap_texels(index: Float[np.ndarray, "*n"], size: int, wrap: Wrap) -> Int[np.ndarray, "*n"]:
    """The column or row, in [0, size), that a whole number anywhere stands for; floats, for int64 would overflow."""
    if wrap == "clamp":
        return np.clip(index, 0, size - 1).astype(np.int64)
    if wrap == "repeat":
        return np.mod(index, size).astype(np.int64)
    folded = np.mod(index, 2 * size)
    return np.minimum(folded, 2 * size - 1 - folded).astype(np.int64)
