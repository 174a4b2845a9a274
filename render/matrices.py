"""Small matrices and vectors with free leading axes."""

import jax
import jax.numpy as jnp

from render.arrays import Array


def scale_columns(vectors: Array, factors: tuple[float, ...]) -> jax.Array:
    """Vectors `[*b, n]` times n numbers."""
    vectors = jnp.asarray(vectors)
    return vectors * jnp.array(factors, vectors.dtype).reshape(*(1,) * (vectors.ndim - 1), -1)


def product(left: Array | list[list[float]], right: Array) -> jax.Array:
    """Matrix product in full precision, as for points: accelerators would round to bfloat16."""
    right = jnp.asarray(right)
    return jnp.matmul(jnp.asarray(left, right.dtype), right, precision=jax.lax.Precision.HIGHEST)


def columns(vectors: Array) -> list[jax.Array]:
    """Entries of the last axis, one array each."""
    return list(jnp.moveaxis(vectors, -1, 0))


def stack_matrix(rows: list[list[jax.Array]]) -> jax.Array:
    """`[*b, rows, columns]` from rows of entries `[*b]`."""
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def affine(linear: Array, shift: Array) -> jax.Array:
    """`[*b, 4, 4]` that does a linear map, then a shift."""
    top = jnp.concatenate([linear, shift[..., None]], axis=-1)
    last = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0], top.dtype), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, last], axis=-2)
