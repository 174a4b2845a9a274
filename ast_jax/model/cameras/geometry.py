"""Rotations of cameras that look at the object."""

import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array


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
