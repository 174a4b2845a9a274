"""A map on the template's sphere, decoded from one vector by convolutions that double its size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.layers import linear, scaled_normal
from render import sample_uv

_FIRST_ROWS = 4
_LEAST_CHANNELS = 8  # of the finest map
_NORM_GROUPS = 8


def sphere_uv(points: Float[np.ndarray, "*n 3"], half: bool) -> Float[np.ndarray, "*n 2"]:
    """Where points lie on a map of the sphere, whose poles are at y = 1 and -1.

    ``u`` grows with the azimuth about y, from 0 at +z by way of +x: over a half turn if ``half``, over a whole one
    otherwise. ``v`` is 1 at the upper pole and 0 at the lower one.

    Args:
      points: any length > 0. On a map of the half x >= 0, points with x < 0 are moved to its border.
      half: whether the map shows only x >= 0, so that it has no seam.
    """
    azimuth = np.arctan2(points[..., 0], points[..., 2])
    if half:
        u = np.clip(np.where(azimuth < -np.pi / 2, np.pi, azimuth), 0, np.pi) / np.pi
    else:
        u = azimuth / (2 * np.pi) % 1.0
    height = points[..., 1] / np.linalg.norm(points, axis=-1)
    return np.stack([u, 1 - np.arccos(np.clip(height, -1, 1)) / np.pi], axis=-1).astype(np.float32)


def sphere_points(uv: Float[np.ndarray, "*n 2"], half: bool) -> Float[np.ndarray, "*n 3"]:
    """The point of the unit sphere at each place of a map: the inverse of `sphere_uv`.

    Args:
      uv: in [0, 1].
      half: whether the map shows only x >= 0.
    """
    azimuth, polar = (np.pi if half else 2 * np.pi) * uv[..., 0], np.pi * (1 - uv[..., 1])
    return np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1)


def look_up(values: Float[Array, "b h w c"], points: Float[np.ndarray, "*n 3"], half: bool) -> Float[Array, "b m c"]:
    """A map where points lie on the sphere, bilinear, one after the other.

    Args:
      values: of the map.
      points, half: see `sphere_uv`.
    """
    uv = sphere_uv(points, half).reshape(-1, 2)
    places = jnp.broadcast_to(jnp.asarray(uv), (len(values), *uv.shape))
    return sample_uv(values.astype(jnp.float32), places, wrap="clamp" if half else "repeat")


def with_border(x: Float[Array, "b h w c"], half: bool) -> Float[Array, "b i j c"]:
    """A map with one texel more on each side; the left and the right border of a whole sphere are neighbours."""
    x = jnp.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    first, last = x[:, :, :1], x[:, :, -1:]
    return jnp.concatenate([first, x, last] if half else [last, x, first], axis=2)


def convolution(size_in: int, size_out: int, *, gain: float, rngs: nnx.Rngs) -> nnx.Conv:
    """3x3, of a map `with_border`; ``gain`` as in `ast_jax.model.layers.scaled_normal`."""
    return nnx.Conv(size_in, size_out, (3, 3), padding="VALID", kernel_init=scaled_normal(gain), rngs=rngs)


class SphereMap(nnx.Module):
    """Vector -> map of ``rows x rows`` texels of the half x >= 0, or of twice as many columns of the whole sphere.

    A linear layer gives the first map, 4 rows of 2 d channels; then each step doubles the size, halves the channels and
    convolves, ``relu(norm(conv3x3(bilinear(x))))``; a last convolution gives the answer, without bounds. Where the map
    is that of the whole sphere, its left and its right border are neighbours.

    Args:
      dim: embedding size d of the vector.
      rows: 4 times a power of two.
      channels: that are answered.
      half: whether it shows only x >= 0.
      key: of the config that says how many rows.

    Raises:
      ValueError: no such number of rows.
    Source: CMR (Kanazawa et al. 2018), the texture predictor of its released code: 256 channels and five doublings.
    """

    # Other than here, CMR lays the half of the sphere out on a map of twice as many columns, with a seam, and has batch
    # normalisation where this has group normalisation, which is the same function in training and afterwards.
    def __init__(
        self,
        dim: int,
        rows: int,
        channels: int,
        half: bool,
        *,
        key: str = "config.model.texture.map_size",
        rngs: nnx.Rngs,
    ):
        doublings = (rows // _FIRST_ROWS).bit_length() - 1
        if rows < _FIRST_ROWS or rows != _FIRST_ROWS << doublings:
            raise ValueError(f"{key}={rows}: must be 4 times a power of two, such as 64 or 128.")
        self.half, self.columns = half, _FIRST_ROWS * (1 if half else 2)
        sizes = [max(2 * dim >> step, _LEAST_CHANNELS) for step in range(doublings + 1)]
        self.first = linear(dim, _FIRST_ROWS * self.columns * sizes[0], rngs=rngs)
        pairs = list(zip(sizes[:-1], sizes[1:]))
        self.convolutions = nnx.List([convolution(*pair, gain=2.0, rngs=rngs) for pair in pairs])
        self.norms = nnx.List(
            [nnx.GroupNorm(size, num_groups=math.gcd(size, _NORM_GROUPS), rngs=rngs) for size in sizes[1:]]
        )
        self.last = convolution(sizes[-1], channels, gain=1.0, rngs=rngs)

    def __call__(self, vector: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        x = self.first(vector).reshape(len(vector), _FIRST_ROWS, self.columns, -1)
        for convolve, norm in zip(self.convolutions, self.norms):
            b, h, w, c = x.shape
            x = jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear")
            x = nnx.relu(norm(convolve(with_border(x, self.half))))
        return self.last(with_border(x, self.half))

    def at(self, vector: Float[Array, "b d"], points: Float[np.ndarray, "*n 3"]) -> Float[Array, "b m c"]:
        """The map of a vector where points lie on the sphere, one after the other."""
        return look_up(self(vector), points, self.half)
