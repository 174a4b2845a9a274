"""Which faces meet at which edges, by where their vertices are.

Files give a vertex several times over where texture coordinates or normals have a seam, so that neighbours need not
name the same vertices. What counts here is the place: vertices with equal coordinates, bit for bit, are one. Places are
known only at run time; rows that are equal are found by hashing, in a time that grows with the number of rows alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from render.arrays import Array, to_float
from render.mesh import gather_corners

# Slots of a hash table for each row, at least.
_SLOTS = 2
# Rounding errors, in units in the last place of a coordinate, that make three points on a line look like a triangle.
_ROUNDING = 4.0


def first_alike(keys: UInt[Array, "n k"]) -> Int[jax.Array, " n"]:
    """For each row the lowest index of an equal row.

    In each round the lowest row of each slot of a hash table claims all that equal it; others wait for the next round,
    where another hash parts them.

    Args:
        keys: unsigned 32-bit integers.

    Returns:
        Indices of rows.
    """
    count = keys.shape[0]
    number = jnp.arange(count, dtype=jnp.int32)
    slots = 1 << (_SLOTS * count - 1).bit_length()

    def search(state):
        round_number, first = state
        slot = (_hash(keys, round_number) & jnp.uint32(slots - 1)).astype(jnp.int32)
        waiting = first < 0
        table = jnp.full(slots, count, jnp.int32).at[slot].min(jnp.where(waiting, number, count))
        claim = jnp.minimum(table[slot], count - 1)
        alike = waiting & jnp.all(keys[claim] == keys, axis=1)
        return round_number + 1, jnp.where(alike, claim, first)

    # Made from an argument, so that it differs between devices under `shard_map`.
    zero = (0 * keys[0, 0]).astype(jnp.int32)
    return jax.lax.while_loop(
        lambda state: jnp.any(state[1] < 0), search, (zero.astype(jnp.uint32), zero - 1 + 0 * number)
    )[1]


def coincident_vertices(vertices: Float[Array, "b v 3"]) -> Int[jax.Array, "b v"]:
    """For each vertex the lowest index of a vertex of its mesh at the same place.

    Args:
        vertices: coordinates; equal means equal to the last bit, and 0 equals -0.

    Returns:
        Indices of vertices, without gradient.
    """
    batch, count, _ = vertices.shape
    if batch * count == 0:
        return jnp.zeros((batch, count), jnp.int32)
    vertices = jax.lax.stop_gradient(to_float("vertices", vertices))
    places = jnp.where(vertices == 0, 0.0, vertices)
    image = jnp.broadcast_to(jnp.arange(batch, dtype=jnp.uint32)[:, None, None], (batch, count, 1))
    bits = jax.lax.bitcast_convert_type(places, jnp.uint32).reshape(batch, count, -1)
    first = first_alike(jnp.concatenate([image, bits], axis=-1).reshape(batch * count, -1))
    return first.reshape(batch, count) - count * jnp.arange(batch, dtype=jnp.int32)[:, None]


def edges_of_faces(
    vertices: Float[Array, "b v 3"], faces: Int[Array, "f 3"] | Int[Array, "b f 3"]
) -> tuple[Int[jax.Array, "b f 3"], Bool[jax.Array, "b f 3"]]:
    """The edges of faces, one number for all that join the same two places.

    Args:
        vertices: coordinates.
        faces: triangle indices.

    Returns:
        Number, from 0 to 3 f in each image, of the edge from corner i to i + 1; and whether the face walks it in the
        direction that the edge has, which is the same for all of its faces.
    """
    batch, num_faces = vertices.shape[0], faces.shape[-2]
    place = coincident_vertices(vertices)

    def by_place():
        number = jnp.broadcast_to(jnp.asarray(faces, jnp.int32), (batch, num_faces, 3))
        start = jax.vmap(lambda place, faces: place[faces])(place, number)
        end = jnp.roll(start, -1, axis=2)
        image = jnp.broadcast_to(jnp.arange(batch, dtype=jnp.int32)[:, None, None], start.shape)
        keys = jnp.stack([image, jnp.minimum(start, end), jnp.maximum(start, end)], axis=-1)
        edge = first_alike(keys.reshape(-1, 3).astype(jnp.uint32)).reshape(start.shape)
        return edge - 3 * num_faces * image, start < end

    if not isinstance(faces, np.ndarray) or faces.ndim == 3:
        return by_place()
    # Static faces: where no two vertices are at one place, their indices tell all, and that is known before.
    start, end = faces, np.roll(faces, -1, axis=1)
    ends = np.stack([np.minimum(start, end), np.maximum(start, end)], axis=-1).reshape(-1, 2)
    edge = np.unique(ends, axis=0, return_inverse=True)[1].reshape(1, num_faces, 3).astype(np.int32)

    def by_index():
        shape = batch, num_faces, 3
        return jnp.broadcast_to(edge, shape) + 0 * place[:, :1, None], jnp.broadcast_to(start < end, shape) & (
            place[:, :1, None] >= 0
        )

    apart = jnp.all(place == jnp.arange(place.shape[1], dtype=jnp.int32)[None])
    return jax.lax.cond(apart, by_index, by_place)


def have_area(
    vertices: Float[Array, "b v 3"], faces: Int[Array, "f 3"] | Int[Array, "b f 3"]
) -> Bool[jax.Array, "b f"]:
    """Whether faces are more than a segment or a point, as far as the precision of their coordinates can tell.

    Args:
        vertices: coordinates.
        faces: triangle indices.

    Returns:
        False where two corners are one, or where all are on a line up to rounding.
    """
    corners = gather_corners(jax.lax.stop_gradient(to_float("vertices", vertices)), faces)
    size = jnp.max(jnp.abs(corners), axis=(2, 3), keepdims=True)
    scaled = corners / jnp.where(size > 0, size, 1.0)
    first, second = scaled[:, :, 1] - scaled[:, :, 0], scaled[:, :, 2] - scaled[:, :, 0]
    # Of each coordinate: how long the face is, and how far rounding moves it.
    extent = jnp.maximum(jnp.abs(first), jnp.abs(second))
    error = _ROUNDING * jnp.finfo(scaled.dtype).eps * jnp.max(jnp.abs(scaled), axis=2)
    ahead = [jnp.roll(part, -1, axis=-1) for part in (first, second, extent, error)]
    area = jnp.abs(first * ahead[1] - second * ahead[0])
    return jnp.any(area > extent * ahead[3] + error * ahead[2], axis=-1)


def _hash(keys: jax.Array, seed: jax.Array) -> jax.Array:
    """A well mixed 32-bit number of each row, another for each seed.

    Source: Austin Appleby's MurmurHash3, public domain; its 32-bit finaliser.
    """
    mixed = seed * jnp.uint32(0x9E3779B9) + jnp.zeros_like(keys[:, 0])
    for column in range(keys.shape[1]):
        mixed = (mixed ^ keys[:, column]) * jnp.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
        mixed = mixed ^ (mixed >> 16)
    return mixed
