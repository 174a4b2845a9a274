"""The one thing that every data source gives: a picture, and the views that supervise it."""

from dataclasses import dataclass

from jaxtyping import Float, Int, Shaped

from ast_jax.arrays import Array
from render import Camera
from render.pytree import pytree


@pytree
@dataclass(frozen=True)
class Batch:
    """``b`` pictures with ``s`` supervising views each; ``p`` key points, which may be none.

    Args:
      image: what the model sees, cropped to the object, in [0, 1]: RGB over the background colour, and a fourth channel
        with the object's coverage where the input is cut out; the photograph's own RGB where it is not.
      input_camera: the camera of that picture; meaningless where the source knows none.
      target_images: the supervising views in their own frame, RGB in [0, 1] over the same background.
      target_masks: their masks in [0, 1].
      camera: the cameras of the supervising views, leading axes ``[b, s]``; meaningless where the source knows none.
      keypoints_ndc: x, y in NDC of the supervising views, and visible (0 or 1).
      index: the number of each sample in its data set.
      frame: where the first supervising view shows a point of the stored picture, ``frame[0] x + frame[1]`` in NDC;
        the scale of x is below 0 where the sample was mirrored. None: as stored.
    """

    image: Float[Array, "b h w c"]
    input_camera: Camera
    target_images: Float[Array, "b s i j 3"]
    target_masks: Float[Array, "b s i j"]
    camera: Camera
    keypoints_ndc: Float[Array, "b s p 3"]
    index: Int[Array, " b"] | Shaped[Array, " b"]
    frame: Float[Array, "b 2 2"] | None = None
