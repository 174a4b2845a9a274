"""A multiplex: many cameras for each training picture, which move with the shape; for other pictures, one is regressed.

The cameras of the training pictures are numbers of the run (`ast_jax.training.multiplex`) and no part of the model.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.cameras.answer import CameraOutput
from ast_jax.model.cameras.geometry import rotation_from_angles
from ast_jax.model.cameras.regressed import CameraRegressor
from ast_jax.model.layers import Sizes
from render import PerspectiveCamera
from render.camera import NMR_DISTANCE

# How far a camera may turn away from where it began: azimuth, elevation, roll; the released code of U-CMR.
_REACH_DEG = (30.0, 30.0, 60.0)
# AST-DIFF: where the released rows of elevations lie is not known to us; neighbours of these meet half-way.
_HIGHEST_DEG = 60.0
_MARGIN = 1.2  # the frame over the template, at first


def first_angles(azimuths: int, elevations: int) -> Float[np.ndarray, "k 2"]:
    """Azimuth and elevation, rad, from which the ``k = azimuths * elevations`` cameras begin: a grid round the object.

    The first few of them are spread already: every second azimuth, at the elevation that is nearest to 0.

    Args:
      azimuths: evenly over 360 degrees.
      elevations: evenly from -60 to 60 degrees; one alone is 0.
    """
    turns = np.arange(azimuths) * 360.0 / azimuths
    turns = np.concatenate([turns[::2], turns[1::2]])
    rows = np.linspace(-_HIGHEST_DEG, _HIGHEST_DEG, elevations) if elevations > 1 else np.zeros(1)
    rows = rows[np.argsort(np.abs(rows), kind="stable")]
    grid = np.stack(np.meshgrid(turns, rows), axis=-1).reshape(-1, 2)
    return np.deg2rad(grid).astype(np.float32)


def multiplex_cameras(
    motion: Float[Array, "*b k 6"], angles: Float[np.ndarray, "k 2"], radius: float
) -> PerspectiveCamera:
    """The cameras of a multiplex from the numbers that are learned.

    ``angle = first + reach * tanh(motion)`` with a reach of 30, 30 and 60 degrees; ``focal = first * exp(motion)``,
    and at first the template fills 1 / 1.2 of the frame; the principal point is ``motion`` itself. The distance is
    fixed: it shows only as perspective.

    Args:
      motion: azimuth, elevation and roll; logarithm of a scale; x and y in NDC.
      angles: from `first_angles`.
      radius: of the template, world units.

    Source: Goel et al., U-CMR, ECCV 2020, released code, whose cameras are weakly perspective.
    """
    reach = np.deg2rad(_REACH_DEG)
    azimuth, elevation, roll = (jnp.tanh(motion[..., i]) * reach[i] for i in range(3))
    first_azimuth, first_elevation = (jnp.broadcast_to(angles[:, i], azimuth.shape) for i in range(2))
    rotation = rotation_from_angles(first_azimuth + azimuth, first_elevation + elevation, roll)
    distance = jnp.array([0, 0, -NMR_DISTANCE], motion.dtype)
    focal = NMR_DISTANCE / radius / _MARGIN * jnp.exp(motion[..., 3:4])
    return PerspectiveCamera(
        rotation,
        jnp.broadcast_to(distance, (*motion.shape[:-1], 3)),
        jnp.broadcast_to(focal, (*motion.shape[:-1], 2)),
        motion[..., 4:],
    )


def seen_through(frame: Float[Array, "b 2 2"], camera: PerspectiveCamera) -> PerspectiveCamera:
    """The cameras of the stored pictures as those of pictures that were cut, scaled and mirrored.

    A mirrored picture shows the mirror image of the object: ``R' = F R F``, ``t' = F t`` with ``F = diag(-1, 1, 1)``.

    Args:
      frame: as `Batch.frame`.
      camera: leading axes ``[b, k]``.
    """
    scale, shift = frame[:, None, 0], frame[:, None, 1]
    flip = jnp.stack([jnp.sign(scale[..., 0]), *[jnp.ones_like(scale[..., 0])] * 2], axis=-1)
    return dataclasses.replace(
        camera,
        rotation=flip[..., :, None] * camera.rotation * flip[..., None, :],
        translation=flip * camera.translation,
        focal=jnp.abs(scale) * camera.focal,
        principal=scale * camera.principal + shift,
    )


class MultiplexCamera(nnx.Module):
    """The camera of any picture, regressed, as the only candidate: the world is the model's own.

    Args:
      config: ``config.model.camera``; see `ast_jax.config.model.CameraConfig`.
      sizes: of the network.
    """

    sees = True

    def __init__(self, config, sizes: Sizes, *, rngs: nnx.Rngs):
        self.regressor = CameraRegressor(sizes.dim, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> CameraOutput:
        seen = self.regressor(summary)
        only = dataclasses.replace(seen, **{name: getattr(seen, name)[:, None] for name in PerspectiveCamera.SHAPES})
        return CameraOutput(only, jnp.zeros((len(summary), 1), summary.dtype), seen)
