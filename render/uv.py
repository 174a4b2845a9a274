"""Lookup in images by uv coordinates: bilinear, and trilinear in a pyramid of mip levels.

u points right and v up. (0, 0) is the bottom left corner of the image, whose row 0 is the top, and (1, 1) its
top right corner: the convention of OBJ files. (glTF lets v point down: v = 1 - v_gltf.) Texel centres are at
+0.5, so column i of w sits at u = (i + 0.5) / w and row j of h at v = 1 - (j + 0.5) / h.
"""

import functools
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from render.arrays import Array, check_choice, is_integer, to_float

Wrap: TypeAlias = Literal["repeat", "clamp"]


def sample_uv(
    image: Float[Array, "#b h w c"],
    uv: Float[Array, "b *points 2"],
    *,
    wrap: Wrap = "repeat",
    level: Float[Array, " b *points"] | None = None,
    max_level: int | None = None,
) -> Float[Array, "b *points c"]:
    """Values of images at uv coordinates, bilinear between texels and linear between mip levels.

    Differentiable in image, uv and level.

    Args:
        image: any number of channels; leading axis 1 shares one image among the batch.
        uv: see the top.
        wrap: "repeat" continues the image periodically, "clamp" by its border texels.
        level: mip level, 0 for the image itself, l for texels 2^l as wide (`mip_pyramid`); clamped to the
            levels there are. None looks up in the image itself.
        max_level: coarsest mip level to use, static; None for all.

    Returns:
        The values.

    Raises:
        ValueError: wrong shape or type, unknown wrap, negative max_level.

    Source: Williams, Pyramidal Parametrics, SIGGRAPH 1983.
    """
    image, uv = to_float("image", image), to_float("uv", uv)
    _check(image, uv, wrap, level, max_level)
    return jax.checkpoint(functools.partial(_lookup, wrap, max_level))(image, uv, level)


def _lookup(wrap: Wrap, max_level: int | None, image: jax.Array, uv: jax.Array, level: Array | None) -> jax.Array:
    """The work of `sample_uv`; the backward pass looks up anew."""
    pyramid = mip_pyramid(image, 0 if level is None else max_level)
    if len(pyramid) == 1:
        return _bilinear(image.reshape(image.shape[0], -1, image.shape[3]), _Block(0, *image.shape[1:3]), uv, wrap)
    # One flat array of all levels, so that a pixel's level is an offset into it.
    texels = jnp.concatenate([step.reshape(step.shape[0], -1, step.shape[3]) for step in pyramid], axis=1)
    level = jnp.clip(jnp.asarray(level, uv.dtype), 0.0, len(pyramid) - 1.0)
    low = jnp.clip(jnp.floor(level), 0, len(pyramid) - 2).astype(jnp.int32)
    blocks = _blocks(pyramid)
    fine = _bilinear(texels, _Block(*(column[low] for column in blocks)), uv, wrap)
    coarse = _bilinear(texels, _Block(*(column[low + 1] for column in blocks)), uv, wrap)
    return fine + (level - low.astype(uv.dtype))[..., None] * (coarse - fine)


def mip_pyramid(image: Float[Array, "b h w c"], max_level: int | None = None) -> list[jax.Array]:
    """Images of half, quarter, ... the size, down to one texel.

    Sides are halved and rounded down, as OpenGL does, but never below one. Every texel is the mean of the
    image over its rectangle, also where an odd side is halved, so each level has the same mean.

    Args:
        image: any number of channels.
        max_level: coarsest level; None for all.

    Returns:
        Levels 0 (the image itself), 1, ...

    Raises:
        ValueError: negative max_level.
    """
    _check_max_level(max_level)
    pyramid = [jnp.asarray(image)]
    last = max(image.shape[1:3]).bit_length() - 1
    for _ in range(last if max_level is None else min(last, max_level)):
        pyramid.append(_halve(_halve(pyramid[-1], 1), 2))
    return pyramid


class _Block(NamedTuple):
    """Where a level lies in a flat array of texels; numbers, or arrays over levels or points.

    Attributes:
        start: index of its first texel.
        height: rows.
        width: columns.
    """

    start: int | jax.Array
    height: int | jax.Array
    width: int | jax.Array


def _blocks(pyramid: list[jax.Array]) -> _Block:
    sizes = [step.shape[1:3] for step in pyramid]
    starts = [sum(h * w for h, w in sizes[:i]) for i in range(len(sizes))]
    return _Block(*(jnp.array(column, jnp.int32) for column in (starts, *zip(*sizes))))


def _bilinear(texels: jax.Array, block: _Block, uv: jax.Array, wrap: Wrap) -> jax.Array:
    """Lookup in one level of flat texels `[#b, n, c]`."""
    image = jnp.arange(uv.shape[0], dtype=jnp.int32) if texels.shape[0] > 1 else jnp.zeros(uv.shape[0], jnp.int32)
    image = image.reshape(-1, *(1,) * (uv.ndim - 2))
    total = 0.0
    for row, weight_row in _neighbours(1.0 - uv[..., 1], block.height, wrap):
        for column, weight_column in _neighbours(uv[..., 0], block.width, wrap):
            values = texels[image, block.start + row * block.width + column]
            total = total + (weight_row * weight_column)[..., None] * values
    return total


def _neighbours(place: jax.Array, size: int | jax.Array, wrap: Wrap) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """The two texels of a line on either side of a place in [0, 1], with their weights."""
    count = jnp.asarray(size, place.dtype)
    if wrap == "repeat":
        # Into [0, 1) first: a far place must not overflow the integers.
        scaled = (place - jnp.floor(place)) * count - 0.5
    else:
        scaled = jnp.clip(place * count - 0.5, 0.0, count - 1.0)
    floor = jnp.floor(scaled)
    fraction, low = scaled - floor, floor.astype(jnp.int32)
    if wrap == "repeat":
        return (low % size, 1.0 - fraction), ((low + 1) % size, fraction)
    return (low, 1.0 - fraction), (jnp.minimum(low + 1, size - 1), fraction)


def _halve(image: jax.Array, axis: int) -> jax.Array:
    size, half = image.shape[axis], image.shape[axis] // 2
    if size == 1:
        return image
    parts = [jax.lax.slice_in_dim(image, start, start + 2 * half - 1, 2, axis) for start in range(2 + size % 2)]
    if size % 2 == 0:
        return 0.5 * (parts[0] + parts[1])
    # A texel now covers 2 + 1 / half old ones: parts of the outer two, which change along the line.
    index = jnp.arange(half, dtype=image.dtype).reshape([-1 if i == axis else 1 for i in range(image.ndim)])
    return ((half - index) * parts[0] + half * parts[1] + (index + 1) * parts[2]) / size


def _check_max_level(max_level: int | None) -> None:
    if max_level is not None and (not is_integer(max_level) or max_level < 0):
        raise ValueError(f"max_level must be an integer >= 0 (0: no mip levels) or None (all), got {max_level!r}")


def _check(image: jax.Array, uv: jax.Array, wrap: str, level: Array | None, max_level: int | None) -> None:
    check_choice("wrap", wrap, ("repeat", "clamp"))
    if uv.ndim < 2 or uv.shape[-1] != 2:
        raise ValueError(f"uv must have shape [b, ..., 2], got {uv.shape}")
    if image.ndim != 4 or image.shape[0] not in (1, uv.shape[0]) or 0 in image.shape:
        raise ValueError(
            f"image must have shape [b, h, w, c] or [1, h, w, c] with b = {uv.shape[0]}, got {image.shape}"
        )
    if level is not None and np.shape(level) != uv.shape[:-1]:
        raise ValueError(f"level must have shape {uv.shape[:-1]} like uv, got {np.shape(level)}")
    _check_max_level(max_level)
