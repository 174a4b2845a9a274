"""Skins of glTF 2.0 in the pose that the nodes have (section 3.7.3): what a viewer shows before it plays anything."""

import numpy as np
from jaxtyping import Bool, Float

from ast_jax.shapes.mesh_files.gltf_accessors import Accessor
from ast_jax.shapes.mesh_files.gltf_document import Document, field, indices, integer
from ast_jax.shapes.mesh_files.gltf_primitives import Primitive, Primitives
from ast_jax.shapes.mesh_files.gltf_scene import Scene

# Vertices blended at a time: a matrix each would be far more than the mesh itself.
CHUNK = 100_000


def is_skinned(primitive: Primitive) -> bool:
    """It says which joints move it."""
    return {"JOINTS_0", "WEIGHTS_0"} <= set(primitive.entry["attributes"])


def posed(
    document: Document, scene: Scene, primitives: Primitives, primitive: Primitive, skin: int
) -> tuple[Float[np.ndarray, "v 3"], Bool[np.ndarray, " v"]]:
    """Vertices where the joints put them, in the world, and which of these were mirrored.

    Several sets of four joints a vertex count together; their weights are made to sum to 1, for viewers do.

    Raises:
      ValueError: a joint that the skin does not have.
    """
    matrices = _joint_matrices(document, scene, skin)
    attributes = set(primitive.entry["attributes"])
    sets = sorted(name[7:] for name in attributes if name[:7] == "JOINTS_" and f"WEIGHTS_{name[7:]}" in attributes)
    placed, mirrored = [], []
    for start in range(0, len(primitive.used), CHUNK):
        used, vertices = primitive.used[start : start + CHUNK], primitive.vertices[start : start + CHUNK]
        joints, weights = (
            np.concatenate(
                [primitives.attribute(primitive.entry, f"{name}_{n}", used, [], "VEC4") for n in sets], axis=1
            )
            for name in ("JOINTS", "WEIGHTS")
        )
        joints = np.where(weights == 0, 0, joints).astype(np.int64)
        if joints.min() < 0 or joints.max() >= len(matrices):
            raise ValueError(f"skins[{skin}] has {len(matrices)} joints, and a vertex asks for {joints.max()}.")
        total = weights.sum(axis=1, keepdims=True)
        weights = np.where(total > 0, weights / np.where(total > 0, total, 1), np.eye(weights.shape[1])[0])
        blended = np.zeros((len(used), 4, 4))
        for k in range(weights.shape[1]):
            blended += weights[:, k, None, None] * matrices[joints[:, k]]
        placed.append(np.einsum("vij,vj->vi", blended[:, :3, :3], vertices) + blended[:, :3, 3])
        mirrored.append(np.linalg.det(blended[:, :3, :3]) < 0)
    return np.concatenate(placed), np.concatenate(mirrored)


def _joint_matrices(document: Document, scene: Scene, skin: int) -> Float[np.ndarray, "j 4 4"]:
    """From where the mesh was bound to where the joints are; the node of the mesh itself does not count."""
    entry = document.entry("skins", skin)
    field(entry, "joints", list)
    world = np.array([scene.world(node) for node in indices(entry, "joints")])
    if not len(world):
        raise ValueError(f"skins[{skin}] has no joints.")
    inverse_bind = integer(entry, "inverseBindMatrices", None)
    if inverse_bind is None:
        return world
    stored = Accessor(document, inverse_bind, "MAT4").decoded(np.arange(len(world)))
    return world @ stored.reshape(-1, 4, 4).transpose(0, 2, 1)
