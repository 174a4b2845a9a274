"""Given cameras, of which that of the picture is regressed if it is asked for."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.cameras.answer import CameraOutput
from ast_jax.model.layers import Mlp, Sizes
from render import PerspectiveCamera
from render.camera import NMR_DISTANCE, rotation_from_6d

_DEFAULT_ROTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# An object of radius 0.4 at that distance then fills a crop with a margin of a tenth, as `ast_jax.data.crop` cuts it.
_FIRST_FOCAL = NMR_DISTANCE / 0.4 / 1.2


class CameraRegressor(nnx.Module):
    """The camera of the picture that the model sees, regressed; at first one in front.

    Rotation from six numbers; ``focal = first * exp(s)`` on both axes and the principal point say how large and where
    the object is in the crop. The distance is fixed: in a crop it shows only as perspective.

    Args:
      dim: embedding size d of the summary.
    """

    def __init__(self, dim: int, *, rngs: nnx.Rngs):
        self.mlp = Mlp((dim, dim, 9), zero_last=True, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> PerspectiveCamera:
        values = self.mlp(summary)
        rotation = rotation_from_6d(values[:, :6] + np.array(_DEFAULT_ROTATION, np.float32)[None])
        translation = jnp.broadcast_to(jnp.array([0, 0, -NMR_DISTANCE], values.dtype), (len(values), 3))
        focal = _FIRST_FOCAL * jnp.exp(values[:, 6:7]) * jnp.ones((1, 2), values.dtype)
        return PerspectiveCamera(rotation, translation, focal, values[:, 7:])


class GivenCamera(nnx.Module):
    """Nothing, unless ``config.predict`` asks for the camera of the picture.

    Args:
      config: ``config.model.camera``; see `ast_jax.config.model.CameraConfig`.
      sizes: of the network.
    """

    def __init__(self, config, sizes: Sizes, *, rngs: nnx.Rngs):
        self.regressor = CameraRegressor(sizes.dim, rngs=rngs) if config.predict else None

    @property
    def sees(self) -> bool:
        """Whether the camera of the picture is answered."""
        return self.regressor is not None

    def __call__(self, summary: Float[Array, "b d"]) -> CameraOutput:
        return CameraOutput() if self.regressor is None else CameraOutput(seen=self.regressor(summary))
