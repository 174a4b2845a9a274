"""Rotations of cameras that look at the object, and motions of cameras."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from render import PerspectiveCamera

NUM_MOTIONS = 6
_TINY = 1e-12


def rotation_from_angles(
    azimuth_rad: Float[Array, "*b"], elevation_rad: Float[Array, "*b"], roll_rad: Float[Array, "*b"]
) -> Float[Array, "*b 3 3"]:
    """World-to-view rotation Rz(roll) Rx(elevation) Ry(-azimuth) of a camera that looks at the origin.

    The camera's direction from the origin is (cos el sin az, sin el, cos el cos az); a positive roll turns
    the picture counter-clockwise.
    """
    zero, one = jnp.zeros_like(azimuth_rad), jnp.ones_like(azimuth_rad)
    ca, sa = jnp.cos(azimuth_rad), jnp.sin(azimuth_rad)
    ce, se = jnp.cos(elevation_rad), jnp.sin(elevation_rad)
    cr, sr = jnp.cos(roll_rad), jnp.sin(roll_rad)
    about_y = _matrix((ca, zero, -sa), (zero, one, zero), (sa, zero, ca))
    about_x = _matrix((one, zero, zero), (zero, ce, -se), (zero, se, ce))
    about_z = _matrix((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    return jnp.matmul(jnp.matmul(about_z, about_x, precision="highest"), about_y, precision="highest")


def _matrix(*rows):
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def moved_camera(camera: PerspectiveCamera, motion: Float[Array, "*b 6"]) -> PerspectiveCamera:
    """The camera with the object turned in view, larger, and elsewhere in the picture.

    ``rotation' = exp([w]x) rotation``, ``focal' = e^s focal``, ``principal' = principal + p``; ``motion = (w, s, p)``.

    Args:
      camera: of the picture.
      motion: about the axes of the view, rad; logarithm of a scale; NDC.

    Source: Rodrigues' formula for the rotation.
    """
    turn, scale, shift = motion[..., :3], motion[..., 3:4], motion[..., 4:]
    square = jnp.square(turn).sum(-1)[..., None, None] + _TINY
    angle, (x, y, z) = jnp.sqrt(square), jnp.moveaxis(turn, -1, 0)
    zero = jnp.zeros_like(x)
    cross = _matrix((zero, -z, y), (z, zero, -x), (-y, x, zero))
    twice = jnp.matmul(cross, cross, precision="highest")
    eye = jnp.broadcast_to(jnp.eye(3, dtype=cross.dtype), cross.shape)
    rotation = eye + jnp.sin(angle) / angle * cross + (1 - jnp.cos(angle)) / square * twice
    return dataclasses.replace(
        camera,
        rotation=jnp.matmul(rotation, camera.rotation, precision="highest"),
        focal=camera.focal * jnp.exp(scale),
        principal=camera.principal + shift,
    )
