"""What a method answers to pictures, whatever the method is."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from render import OrthographicCamera, PerspectiveCamera


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Predicted:
    """Answers to ``b`` pictures.

    Args:
      vertices: object space.
      texels: colours in [0, 1], see ``render.FaceTexels``, or None.
      camera: of the pictures' frames, leading axis ``[b]``; None where the method relies on given cameras.
      rotation: of the pictures' cameras, world to view, where a method predicts no more than that, or None.
      keypoints_world: on the mesh, or None.
      mean_vertices: the shape that the method deforms for each picture, the same for all, or None without one.
    """

    vertices: Float[Array, "b v 3"]
    texels: Float[Array, "b f t t 3"] | None = None
    camera: PerspectiveCamera | OrthographicCamera | None = None
    rotation: Float[Array, "b 3 3"] | None = None
    keypoints_world: Float[Array, "b p 3"] | None = None
    mean_vertices: Float[Array, "b v 3"] | None = None

    def __getitem__(self, which) -> "Predicted":
        """Some of the answers."""
        return jax.tree.map(lambda leaf: leaf[which], self)


# Pictures as `Batch.image` has them -> answers.
Predict = Callable[[np.ndarray], Predicted]


def constant_predictor(vertices: Float[np.ndarray, "v 3"]) -> Predict:
    """The baseline that answers every picture with one shape, such as the template.

    Args:
      vertices: of the shape, object units.

    Returns:
      a function for `evaluate_predictions`.
    """
    return lambda image: Predicted(np.broadcast_to(vertices[None], (len(image), *vertices.shape)))
