"""What a method says about a batch of pictures: the one answer that losses, evaluation, export and refinement take."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from ast_jax.arrays import Array, StaticArray
from render import Camera, SphericalHarmonicsLight, shade_texture, vertex_normals
from render.texture import Texture


class Codes(NamedTuple):
    """What a method tells of a picture in a few numbers, where it does; pictures with like codes show like objects.

    Args:
      shape: that the shape is decoded from.
      texture: that the colours are decoded from.
      scale: by which the shape is stretched along x, y and z.
    """

    shape: Float[Array, "b n"] | None = None
    texture: Float[Array, "b m"] | None = None
    scale: Float[Array, "b 3"] | None = None


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Prediction:
    """A pytree; ``faces`` are its static part, everything else arrays that lead with the batch.

    Args:
      vertices: world space; objects fit in a sphere of radius 0.5.
      faces: numpy, counter-clockwise from outside.
      intermediate_vertices: after the coarse step and after each decoder layer but the last, for deep
        supervision.
      texture: colours in [0, 1] of any kind that ``render`` knows; None without. All of its arrays lead with b, those
        of a ``render.UVImage``, too, so that a part of the batch can be taken.
      camera: candidates with leading axes [b, k], of a method that finds cameras by itself and whose world is its own;
        None when cameras are given.
      camera_logits: of the candidates' probabilities.
      input_camera: of the picture that the method saw, leading axis [b]: regressed, or the most probable candidate;
        None where cameras are given and none is regressed.
      intermediate_cameras: leading axes [b, k], those before, if it was found in steps, for deep supervision.
      keypoints_world: key points on the mesh; None without them.
      mean_vertices: the shape that the method deforms for each picture, the same for all; None without one.
      light: of the picture, in world space, of a method that tells it from the colours of the surface: ``texture`` is
        then the surface's own (albedo), which is what files are made of, and `lit_texture` what pictures show.
      background: what lies behind the object in the picture that the method saw, all of its frame, in [0, 1]; None of a
        method that tells nothing of it.
      keypoint_entropy: of each key point's choice among the vertices, nats; 0 where it is one vertex.
      texture_flow: the places in the picture that the texels are copied from, NDC, of a texture that is a flow.
      codes: that shape and texture are decoded from, of a method that has codes.
      saliency: where in the picture the method sees the object, in [0, 1], at a resolution of its own.
      attention: {"shape": per layer [b, n, q, l], "texture": the same}; None unless asked for.

    Raises:
      ValueError: an array of the texture does not lead with b.
    """

    vertices: Float[Array, "b v 3"]
    faces: Int[np.ndarray, "f 3"]
    intermediate_vertices: tuple[Float[Array, "b v 3"], ...] = ()
    texture: Texture | None = None
    camera: Camera | None = None
    camera_logits: Float[Array, "b k"] | None = None
    input_camera: Camera | None = None
    intermediate_cameras: Camera | None = None
    keypoints_world: Float[Array, "b p 3"] | None = None
    mean_vertices: Float[Array, "b v 3"] | None = None
    light: SphericalHarmonicsLight | None = None
    background: Float[Array, "b h w 3"] | None = None
    keypoint_entropy: Float[Array, "b p"] | None = None
    texture_flow: Float[Array, "b n 2"] | None = None
    codes: Codes = Codes()
    saliency: Float[Array, "b h w"] | None = None
    attention: dict[str, tuple[Float[Array, "b n q l"], ...] | None] | None = None

    def __post_init__(self):
        for name, values in vars(self.texture).items() if self.texture is not None else ():
            # A texture of one object would be cut, or mixed up with others, where a part of the batch is taken.
            if hasattr(values, "shape") and values.shape[:1] != self.vertices.shape[:1]:
                raise ValueError(
                    f"texture.{name}: must lead with the batch of {len(self.vertices)}, got shape {values.shape};"
                    " repeat what all objects share."
                )

    @property
    def found_camera(self) -> Camera | None:
        """Of the picture, by a method whose world is its own; None where the given cameras hold."""
        return None if self.camera is None else self.input_camera

    @property
    def lit_texture(self) -> Texture | None:
        """The texture in its light, as pictures of the object show it; colours may leave [0, 1]."""
        if self.texture is None or self.light is None:
            return self.texture
        normals = vertex_normals(self.vertices, self.faces)
        return shade_texture(self.light, self.texture, self.faces, normals[:, self.faces])

    def __getitem__(self, which: slice) -> "Prediction":
        """Some of the batch."""
        return jax.tree.map(lambda leaf: leaf[which], self)

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


# Pictures as `Batch.image` has them -> answers.
Predict = Callable[[Float[np.ndarray, "b h w c"]], Prediction]
