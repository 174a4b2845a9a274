"""What the model says about a batch of pictures."""

import dataclasses
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from ast_jax.arrays import Array, StaticArray
from render import PerspectiveCamera


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Prediction:
    """A pytree; ``faces`` are its static part, everything else arrays.

    Args:
      vertices: world space; objects fit in a sphere of radius 0.5.
      faces: numpy, counter-clockwise from outside.
      intermediate_vertices: after the coarse step and after each decoder layer but the last, for deep
        supervision.
      texels: colours in [0, 1], see ``render.FaceTexels``; None without a texture branch.
      camera: candidates with leading axes [b, k]; None when cameras are given.
      camera_logits: of the candidates' probabilities.
      input_camera: of the picture that the model saw, leading axis [b]: regressed, or the most probable candidate; None
        where cameras are given and none is regressed.
      keypoints_world: key points on the mesh; None without them.
      attention: {"shape": per layer [b, n, q, l], "texture": the same}; None unless asked for.
    """

    vertices: Float[Array, "b v 3"]
    faces: Int[np.ndarray, "f 3"]
    intermediate_vertices: tuple[Float[Array, "b v 3"], ...] = ()
    texels: Float[Array, "b f t t 3"] | None = None
    camera: PerspectiveCamera | None = None
    camera_logits: Float[Array, "b k"] | None = None
    input_camera: PerspectiveCamera | None = None
    keypoints_world: Float[Array, "b p 3"] | None = None
    attention: dict | None = None

    def tree_flatten(self):
        """Children and static part; called by jax."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "faces"]
        return [getattr(self, name) for name in names], StaticArray(self.faces)

    @classmethod
    def tree_unflatten(cls, faces, children):
        """Rebuild without checks, since jax also puts placeholders into pytrees."""
        prediction = object.__new__(cls)
        names = [field.name for field in dataclasses.fields(cls) if field.name != "faces"]
        for name, child in zip(names, children, strict=True):
            object.__setattr__(prediction, name, child)
        object.__setattr__(prediction, "faces", faces.array)
        return prediction
