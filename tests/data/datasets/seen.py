"""What a loaded record says, in pictures: its cameras look at a mesh."""

import jax.numpy as jnp
import numpy as np

from ast_jax.data.store import ObjectRecord
from render import PerspectiveCamera, rasterize


def masks_of(record: ObjectRecord, mesh) -> np.ndarray:
    """Masks of a mesh in our object space through the cameras of a record."""
    camera = PerspectiveCamera(record.rotation, record.translation, record.focal, record.principal)
    points = jnp.broadcast_to(jnp.asarray(mesh.vertices, jnp.float32), (len(record.images), len(mesh.vertices), 3))
    size = record.images.shape[1]
    faces = np.asarray(mesh.faces, np.int32)
    return np.asarray(rasterize(camera.project(points), faces, (size, size)).face_id) >= 0


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()
