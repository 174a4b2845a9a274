"""Primitives of glTF 2.0 as triangles (section 3.7.2): modes, attributes, morph targets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ast_jax.shapes.mesh_files.gltf_accessors import Accessor, read_indices
from ast_jax.shapes.mesh_files.gltf_document import Document, extension, field, integer, numbers

DRACO = "KHR_draco_mesh_compression"
# Primitive modes.
LOOSE = {0: "points", 1: "lines", 2: "a loop of lines", 3: "a strip of lines"}
TRIANGLES, STRIP, FAN = 4, 5, 6
# Corners that a file declares without holding them (section 3.6.2.3: all zeros, but for sparse ones). Twenty bytes of
# JSON stand for any number of them, so the size of the file is no bound.
MAX_CORNERS_NOT_STORED = 1_000_000


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material, with the vertices that they use and no others.

    Args:
      entry: what the file says of it.
      vertices: float64 ``[v, 3]``, with its morph targets.
      faces: int64 ``[f, 3]``.
      used: int64 ``[v]``, the rows of its accessors that the vertices are.
    """

    entry: dict
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    used: Int[np.ndarray, " v"]


class Primitives:
    """The primitives of one file; accessors are looked into once."""

    def __init__(self, document: Document):
        self._document = document
        self._accessors: dict[int, Accessor] = {}

    def solid(self, mesh: int) -> list[dict]:
        """The primitives of a mesh that have faces; the rest is counted in notices."""
        entries = field(self._document.entry("meshes", mesh), "primitives", list)
        kept = []
        for entry in entries:
            if not isinstance(entry, dict):
                raise ValueError(f"meshes[{mesh}] has a primitive that is no JSON object.")
            mode = integer(entry, "mode", TRIANGLES)
            if mode in LOOSE:
                self._document.notice(f"left out a primitive of {LOOSE[mode]}, which has no faces")
            elif mode not in (TRIANGLES, STRIP, FAN):
                raise ValueError(f"meshes[{mesh}] has a primitive of mode {mode}, expected 0 to 6.")
            elif "POSITION" not in field(entry, "attributes", dict):
                self._document.notice("left out a primitive without POSITION")
            elif self.num_faces(entry):
                kept.append(entry)
            else:
                self._document.notice("left out a primitive of fewer than three corners, which has no faces")
        return kept

    def num_faces(self, entry: dict) -> int:
        """How many there will be, without reading any.

        Raises:
          ValueError: they are no more than a number in the file, and too many.
        """
        index = integer(entry, "indices", None)
        index = integer(entry["attributes"], "POSITION") if index is None else index
        accessor = self._document.entry("accessors", index)
        count = integer(accessor, "count")
        if count > MAX_CORNERS_NOT_STORED and "bufferView" not in accessor:
            raise ValueError(
                f"accessors[{index}] gives {count:,} corners of faces and has no bufferView that holds them; at most "
                f"{MAX_CORNERS_NOT_STORED:,} such corners can be read."
            )
        return count // 3 if integer(entry, "mode", TRIANGLES) == TRIANGLES else max(count - 2, 0)

    def read(self, entry: dict, weights: list[float]) -> Primitive:
        """One of ``solid``.

        Args:
          weights: of its morph targets; those that are missing are 0.
        """
        index = integer(entry, "indices", None)
        position = self._accessor(integer(entry["attributes"], "POSITION"), "VEC3")
        if extension(entry, DRACO) is not None:
            if not position.is_stored or (index is not None and not self._accessor(index, "SCALAR").is_stored):
                raise ValueError(f"it needs {DRACO}, which cannot be read. Export it without compression.")
            self._document.notice(f"read the uncompressed copy of what is there as {DRACO} too")
        corners = np.arange(position.count) if index is None else read_indices(self._document, index)
        mode = integer(entry, "mode", TRIANGLES)
        if mode == TRIANGLES and len(corners) % 3:
            self._document.notice("left out corners at the end of triangles that make no triangle")
        used, flat = np.unique(_triangles(corners, mode), return_inverse=True)
        vertices = self.attribute(entry, "POSITION", used, weights, "VEC3")
        return Primitive(entry, vertices, flat.reshape(-1, 3), used)

    def attribute(
        self, entry: dict, name: str, used: Int[np.ndarray, " v"], weights: list[float], *kinds: str
    ) -> Float[np.ndarray, "v n"] | None:
        """One attribute with its morph targets, or None where the primitive lacks it."""
        index = integer(entry["attributes"], name, None)
        if index is None:
            return None
        values = self._accessor(index, *kinds).decoded(used, as_share=name.startswith(("COLOR", "WEIGHTS")))
        for target, weight in zip(field(entry, "targets", list, []), weights):
            moved = integer(target, name, None) if isinstance(target, dict) else None
            if weight and moved is not None:
                delta = self._accessor(moved, *kinds).decoded(used, as_share=name.startswith("COLOR"))
                values[:, : delta.shape[1]] += weight * delta[:, : values.shape[1]]
        if np.isfinite(values).all():
            return values
        if not name.startswith(("COLOR", "TEXCOORD")):
            raise ValueError(f"{name} has a number that is not finite (NaN or infinity).")
        self._document.notice(f"took 0 for what is no number in {name}")
        return np.where(np.isfinite(values), values, 0.0)

    def default_weights(self, mesh: int) -> list[float]:
        """Of the morph targets, where the node says nothing."""
        return numbers(self._document.entry("meshes", mesh), "weights", [], 0)

    def _accessor(self, index: int, *kinds: str) -> Accessor:
        if index not in self._accessors:
            self._accessors[index] = Accessor(self._document, index, *kinds)
        found = self._accessors[index]
        if found.kind not in kinds:
            raise ValueError(f"{found.name} is {found.kind!r}, expected {' or '.join(kinds)}.")
        return found


def _triangles(corners: Int[np.ndarray, " n"], mode: int) -> Int[np.ndarray, "f 3"]:
    """Corners of the faces in the order that section 3.7.2.1 lists; what is left over makes no face."""
    if mode == TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    k = np.arange(len(corners) - 2)
    if mode == FAN:
        return np.stack([corners[k + 1], corners[k + 2], np.broadcast_to(corners[0], k.shape)], axis=-1)
    odd = k % 2
    return np.stack([corners[k], corners[k + 1 + odd], corners[k + 2 - odd]], axis=-1)
