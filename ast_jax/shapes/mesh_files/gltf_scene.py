"""What a glTF file draws and where: scenes, nodes, instances (sections 3.5 and 3.7, ``EXT_mesh_gpu_instancing``)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ast_jax.shapes.mesh_files.gltf_accessors import Accessor
from ast_jax.shapes.mesh_files.gltf_document import Document, extension, field, indices, integer, numbers

INSTANCING = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
MAX_COPIES = 1_000_000
TOO_MANY_COPIES = f"its scene shows more than {MAX_COPIES:,} copies of meshes; export the parts that matter."


@dataclass(frozen=True)
class Draw:
    """One mesh, as often as it is seen.

    Args:
      mesh: index.
      skin: index, or None.
      weights: of its morph targets; () for those of the mesh.
      matrices_world: one per copy; a skin makes no use of it.
    """

    mesh: int
    skin: int | None
    weights: tuple[float, ...]
    matrices_world: Float[np.ndarray, "n 4 4"]


class Scene:
    """The tree of nodes, walked without recursion.

    Raises:
      ValueError: a node that is its own ancestor, or has two parents.
    """

    def __init__(self, document: Document):
        self._document = document
        self._nodes = [document.entry("nodes", k) for k in range(len(field(document.tree, "nodes", list, [])))]
        self._children = [indices(node, "children") for node in self._nodes]
        self._world = self._place_all()
        self._copies = 0

    def _place_all(self) -> dict[int, np.ndarray]:
        parents: dict[int, int] = {}
        for parent, children in enumerate(self._children):
            for child in children:
                self._document.entry("nodes", child)
                if child in parents:
                    raise ValueError(f"nodes[{child}] is twice a child; nodes must be a tree.")
                parents[child] = parent
        local = _local_matrices(self._nodes)
        waiting = [(k, np.eye(4)) for k in range(len(self._nodes)) if k not in parents]
        world = {}
        while waiting:
            k, above = waiting.pop()
            world[k] = above @ local[k]
            waiting += [(child, world[k]) for child in self._children[k]]
        return world

    def world(self, node: int) -> Float[np.ndarray, "4 4"]:
        """From the coordinates of a node to the world.

        Raises:
          ValueError: no such node, or one below itself.
        """
        self._document.entry("nodes", node)
        if node not in self._world:
            raise ValueError(f"nodes[{node}] is below itself; nodes must be a tree.")
        return self._world[node]

    def drawn(self) -> list[Draw]:
        """All meshes of the scene that a viewer opens: the default one, else the first, else all nodes."""
        waiting, seen, hidden, groups = self._roots()[::-1], set(), 0, {}
        while waiting:
            k = waiting.pop()
            if k in seen:
                continue
            seen.add(k)
            self.world(k)
            node = self._nodes[k]
            if not field(extension(node, VISIBILITY) or {}, "visible", bool, True):
                hidden += 1
                continue
            waiting += self._children[k][::-1]
            if "mesh" in node:
                self._add(node, k, groups)
        self._tell_left_out(seen, hidden)
        return [Draw(*key, np.concatenate(matrices)) for key, matrices in groups.items()]

    def _roots(self) -> list[int]:
        scenes = field(self._document.tree, "scenes", list, [])
        if not scenes:
            children = {child for below in self._children for child in below}
            return [k for k in range(len(self._nodes)) if k not in children]
        return indices(self._document.entry("scenes", integer(self._document.tree, "scene", 0)), "nodes")

    def _add(self, node: dict, k: int, groups: dict) -> None:
        skin = integer(node, "skin", None)
        key = integer(node, "mesh"), skin, tuple(numbers(node, "weights", [], 0))
        instances = extension(node, INSTANCING)
        matrices = self.world(k)[None]
        if instances is not None and skin is None:
            matrices = matrices @ _instance_matrices(self._document, instances)
        self._copies += len(matrices)
        if self._copies > MAX_COPIES:
            raise ValueError(TOO_MANY_COPIES)
        groups.setdefault(key, []).append(matrices)

    def _tell_left_out(self, seen: set[int], hidden: int) -> None:
        elsewhere = sum("mesh" in node for k, node in enumerate(self._nodes) if k not in seen)
        if hidden:  # with all that is below them
            self._document.notice(f"left out a node that the file hides ({VISIBILITY})", hidden)
        elif elsewhere:
            self._document.notice("left out a node with a mesh that the scene does not show", elsewhere)


def _local_matrices(nodes: list[dict]) -> Float[np.ndarray, "n 4 4"]:
    """From the coordinates of each node to those of its parent."""
    translation = [numbers(node, "translation", [0.0, 0.0, 0.0]) for node in nodes]
    rotation = [numbers(node, "rotation", [0.0, 0.0, 0.0, 1.0]) for node in nodes]
    scale = [numbers(node, "scale", [1.0, 1.0, 1.0]) for node in nodes]
    matrices = _compose(np.reshape(translation, (-1, 3)), np.reshape(rotation, (-1, 4)), np.reshape(scale, (-1, 3)))
    for k, node in enumerate(nodes):
        if "matrix" in node:
            matrices[k] = np.reshape(numbers(node, "matrix", [], 16), (4, 4)).T  # stored by columns
    return matrices


def _compose(
    translation: Float[np.ndarray, "n 3"], rotation: Float[np.ndarray, "n 4"], scale: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 4 4"]:
    """Scale, then rotate by the quaternion (x, y, z, w), then move."""
    length = np.linalg.norm(rotation, axis=-1, keepdims=True)
    x, y, z, w = np.where(length > 0, rotation / np.where(length > 0, length, 1.0), [0.0, 0.0, 0.0, 1.0]).T
    matrix = np.zeros((len(translation), 4, 4))
    matrix[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=-1)
    matrix[:, 1, :3] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=-1)
    matrix[:, 2, :3] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=-1)
    matrix[:, :3, :3] *= scale[:, None]
    matrix[:, :3, 3] = translation
    matrix[:, 3, 3] = 1
    return matrix


def _instance_matrices(document: Document, instances: dict) -> Float[np.ndarray, "n 4 4"]:
    attributes = field(instances, "attributes", dict)
    parts = {}
    for name, kind in (("TRANSLATION", "VEC3"), ("ROTATION", "VEC4"), ("SCALE", "VEC3")):
        index = integer(attributes, name, None)
        if index is not None:
            parts[name] = Accessor(document, index, kind)
    others = ", ".join(sorted(set(attributes) - set(parts)))
    if others:
        document.notice(f"left out the attributes {others[:200]!r} of {INSTANCING}")
    counts = {part.count for part in parts.values()}
    if len(counts) != 1:
        raise ValueError(f"{INSTANCING}: its attributes need one count, they have {sorted(counts) or 'none'}.")
    count = counts.pop()
    if count > MAX_COPIES:
        raise ValueError(TOO_MANY_COPIES)
    rows = np.arange(count)
    # KHR_mesh_quantization and the extension's own table: whole numbers of a rotation are normalised.
    decoded = {name: part.decoded(rows, as_share=name == "ROTATION") for name, part in parts.items()}
    return _compose(
        decoded.get("TRANSLATION", np.zeros((count, 3))),
        decoded.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (count, 1))),
        decoded.get("SCALE", np.ones((count, 3))),
    )
