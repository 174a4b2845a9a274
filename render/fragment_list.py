"""Lists of fragments: the soft faces near each pixel that are in front of a surface, sorted front to back.

How many fragments a batch has is known only at run time. A list has room for a constant number of them, at least as
many as one pixel can see, so pixels are listed in rounds: each takes as many of the pixels that are left as fit. Most
scenes need one round. The order within a pixel is that of depth at clamped barycentrics, then of the index of faces.

A list is filled from the work list in two passes over a chunk of pairs. The first notes in one integer for each pair
which pixels of its window it is seen by; the second, which computes no geometry, writes them one after the other.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render import worklist
from render.arrays import Array
from render.clamped import depth_of, face_table, place
from render.distance import signed_squared_distance
from render.screen import ScreenFaces, soft_box
from render.worklist import Canvas, Carry, Pairs, Pixel
from render.zbuffer import NO_FACE, comparable_depth, is_behind, sort_corners

# Room for so many fragments a pixel on average. Surfaces of faces a few pixels large have one to two.
_PER_PIXEL = 2
# Longest list, and largest count of a pixel that is added up, so that the sum of both fits into an int32.
_MOST = 2**30 - 1
# A sort of the whole list takes as long as looking at so many fragments of each of its places one by one.
_SORT = 8
# Fragments that are taken out together.
_CHUNK = 4096


class Surface(NamedTuple):
    """What fragments are in front of: depth, as it is compared, and face of the batch.

    Attributes:
        depth: infinite where there is nothing.
        face: `NO_FACE` where there is nothing.
    """

    depth: Float[Array, "b h w"]
    face: Int[Array, "b h w"]


class FragmentList(NamedTuple):
    """Sorted by pixel, then front to back.

    Attributes:
        pixel: number within the batch; that of all pixels behind the last fragment.
        face: of the batch.
        rank: how many of its pixel are in front of it.
    """

    pixel: Int[Array, " n"]
    face: Int[Array, " n"]
    rank: Int[Array, " n"]


class Search(NamedTuple):
    """Where to look for fragments.

    Attributes:
        canvas: layout of the images.
        table: `face_table`.
        low: lower x, y of the boxes of faces, grown by the reach.
        high: upper x, y.
        soft: faces to look at.
        reach: squared pixels; a face is near where the squared distance to it is less.
        surface: what fragments are in front of.
    """

    canvas: Canvas
    table: Float[Array, "m 15"]
    low: Float[Array, "m 2"]
    high: Float[Array, "m 2"]
    soft: Bool[Array, " m"]
    reach: Float[Array, ""]
    surface: Surface

    @property
    def room(self) -> int:
        """Length of a list."""
        canvas = self.canvas
        least = max(_PER_PIXEL * canvas.batch * canvas.height * canvas.width, len(self.soft) // canvas.batch)
        return min(-(-least // _CHUNK) * _CHUNK, _MOST // _CHUNK * _CHUNK)


def make_search(canvas: Canvas, screen: ScreenFaces, reach: Float[Array, ""], surface: Surface) -> Search:
    """The search for soft faces in front of a surface; no gradients."""
    screen, reach, surface = jax.lax.stop_gradient((screen, reach, surface))
    low, high = soft_box(screen, jnp.sqrt(reach))
    return Search(canvas, sorted_table(screen), low, high, screen.soft, reach, surface)


def sorted_table(screen: ScreenFaces) -> Float[Array, "m 15"]:
    """`face_table` of faces whose corners are in the order of `sort_corners`."""
    return face_table(sort_corners(screen))


def depth_to_compare(rows: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Depth of faces, rows of `sorted_table`, at clamped barycentrics of pixel centres x, y."""
    return comparable_depth(depth_of(rows, place(rows, x, y).weights))


def count_fragments(search: Search) -> Int[Array, "b h w"]:
    """Fragments of each pixel."""
    canvas, table = search.canvas, search.table
    # Everywhere but for nothing: a constant mask would be worked out by the compiler.
    work, surface = _work(search, search.surface.face >= 0)

    def step(pairs: Pairs, count):
        rows = worklist.take_rows(table, pairs.face)

        def at_pixel(pixel: Pixel, count):
            seen = _sees(search, rows, pairs, pixel, surface)
            return count.at[pixel.index].add(seen.astype(jnp.int32), mode="promise_in_bounds")

        return worklist.each_pixel(pairs, canvas, at_pixel, count, table.dtype)

    return canvas.unflatten(worklist.walk(work, canvas, step, jnp.zeros(canvas.size, jnp.int32)))


def each_round(
    search: Search, count: Int[Array, "b h w"], step: Callable[[FragmentList, Carry], Carry], carry: Carry
) -> Carry:
    """Runs `step` with the fragments of all pixels, of as many pixels at a time as fit into a list.

    Args:
        search: what to look for.
        count: result of `count_fragments`.
        step: takes a list and the carry, gives the next carry.
        carry: arrays to start from.

    Returns:
        The carry after the last round.
    """
    # Added zeros change nothing, but under `shard_map` they differ between devices, as all that is carried must.
    zero = 0 * count[0, 0, 0]
    carry = jax.tree.map(lambda value: value + zero.astype(value.dtype), carry)
    flat = count.reshape(-1)
    number = jnp.arange(len(flat), dtype=jnp.int32)

    def one_round(state):
        start, carry = state
        end = _end_of_round(flat, start, search.room)
        mask = (number >= start) & (number < end) & (flat > 0)
        return end, step(_collect(search, mask.reshape(count.shape)), carry)

    def any_left(state):
        return jnp.any((number >= state[0]) & (flat > 0))

    return jax.lax.while_loop(any_left, one_round, (zero, carry))[1]


def _work(search: Search, mask: jax.Array) -> tuple[worklist.WorkList, tuple[jax.Array, jax.Array]]:
    """Windows of the faces near pixels of a mask `[b, h, w]`, and the surface, flat, which elsewhere hides all."""
    canvas, low, high = search.canvas, search.low, search.high
    work = worklist.build(low, high, search.soft & worklist.touching(low, high, mask, canvas), canvas)
    depth, face = (canvas.flatten(part) for part in search.surface)
    return work, (jnp.where(canvas.flatten(mask), depth, -jnp.inf), face)


def _sees(search: Search, rows, pairs: Pairs, pixel: Pixel, surface: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Whether pixels see faces in front of the surface, which is not in front of itself.

    Its depth alone does not tell: it is interpolated anew, and two programs may round it to different numbers. Listed
    by the forward pass and not by the backward pass, an opaque face would lose its gradient.
    """
    near = signed_squared_distance(rows, pixel.x, pixel.y) < search.reach
    depth, face = (worklist.take(part, pixel) for part in surface)
    near &= pairs.face != face
    return near & is_behind(depth, face, depth_to_compare(rows, pixel.x, pixel.y), pairs.face)


def _collect(search: Search, mask: jax.Array) -> FragmentList:
    """The fragments of the pixels of a mask `[b, h, w]`."""
    canvas, table = search.canvas, search.table
    work, surface = _work(search, mask)

    def step(pairs: Pairs, state):
        total, *lists = state
        rows = worklist.take_rows(table, pairs.face)

        def note(pixel: Pixel, hits):
            seen = _sees(search, rows, pairs, pixel, surface)
            return (hits >> 1) | (seen.astype(jnp.int32) << (canvas.side**2 - 1))

        hits = worklist.each_pixel(pairs, canvas, note, 0 * pairs.corner, table.dtype)
        found = jax.lax.population_count(hits)
        end = total + jnp.cumsum(found, dtype=jnp.int32)
        return end[-1], *_write(canvas, pairs, hits, end - found, *lists)

    nothing = jnp.full(search.room, canvas.nowhere, jnp.int32)
    total, index, face = worklist.walk(work, canvas, step, (jnp.zeros((), jnp.int32), nothing, 0 * nothing))
    # Rounding may let a face in that was not counted; what does not fit is not there.
    return _front_to_back(search, jnp.minimum(total, search.room), index, face)


def _write(canvas: Canvas, pairs: Pairs, hits: jax.Array, slot: jax.Array, index: jax.Array, face: jax.Array):
    """Writes the pixels of all bits of `hits`, and the faces, into lists, from a slot of each pair on."""

    def lowest(state):
        hits, slot, index, face = state
        place = jnp.where(hits > 0, slot, len(index))
        number = 31 - jax.lax.clz(hits & -hits)
        corner = pairs.corner + number // canvas.side * canvas.columns + number % canvas.side
        index = index.at[place].set(corner, mode="drop")
        return hits & (hits - 1), slot + 1, index, face.at[place].set(pairs.face, mode="drop")

    return jax.lax.while_loop(lambda state: jnp.any(state[0] > 0), lowest, (hits, slot, index, face))[2:]


class _Unsorted(NamedTuple):
    """Fragments in any order.

    Attributes:
        pixel: number within the batch; that of all pixels behind the last fragment.
        depth: as it is compared.
        face: of the batch.
    """

    pixel: jax.Array
    depth: jax.Array
    face: jax.Array

    def part(self, first: jax.Array, total: jax.Array, nowhere: int) -> "_Unsorted":
        """A chunk of them; beyond the first `total` the pixel is `nowhere`."""
        part = _Unsorted(*(jax.lax.dynamic_slice_in_dim(part, first, _CHUNK) for part in self))
        number = first + jnp.arange(_CHUNK, dtype=jnp.int32)
        return part._replace(pixel=jnp.where(number < total, part.pixel, nowhere))


def _front_to_back(search: Search, total: jax.Array, index: jax.Array, face: jax.Array) -> FragmentList:
    """Fragments in any order, the first `total` of a list, to sorted ones."""
    canvas, rows = search.canvas, worklist.take_rows(search.table, face)
    row, number = index // canvas.columns, jnp.arange(len(index), dtype=jnp.int32)
    x, row_in_image, image = index - row * canvas.columns, row % canvas.rows, row // canvas.rows
    at = (part.astype(rows.dtype) - middle for part, middle in zip((x, row_in_image), canvas.centre))
    depth = depth_to_compare(rows, *at)
    pixels = canvas.batch * canvas.height * canvas.width
    pixel = jnp.where(number < total, (image * canvas.height + row_in_image) * canvas.width + x, pixels)
    count = jnp.zeros(pixels, jnp.int32).at[pixel].add(1, mode="drop")
    unsorted = _Unsorted(pixel, depth, face)
    if jax.default_backend() == "cpu":
        # Peeling looks at a fragment once for each that is in front of it, and once more.
        looks = 0.5 * jnp.sum(jnp.square(count.astype(jnp.float32)) + count.astype(jnp.float32))
        pixel, face = jax.lax.cond(looks <= _SORT * len(index), _peel, _sort, total, count, unsorted)
    else:
        pixel, face = _sort(total, count, unsorted)
    first = jnp.cumsum(count, dtype=jnp.int32) - count
    rank = jnp.where(number < total, number - first.at[pixel].get(mode="clip"), -1)
    return FragmentList(pixel, face, rank)


def _sort(total: jax.Array, count: jax.Array, unsorted: _Unsorted) -> tuple[jax.Array, jax.Array]:
    """Pixels and faces by pixel, depth and face; arguments as in `_peel`."""
    del total, count
    pixel, _, face = jax.lax.sort(tuple(unsorted), num_keys=3)
    return pixel, face


class _Peeling(NamedTuple):
    """How far `_peel` has come.

    Attributes:
        rank: of the fragments that are taken next: so many of their pixel have been taken.
        waiting: how many fragments have not been taken.
        unsorted: fragments, first those that wait.
        nearest_depth: `[pixels + 1]` of the fragments of each pixel that wait; infinite between two layers.
        nearest_face: `[pixels + 1]` the face of the nearest.
        sorted_pixel: `[n]` pixels of the fragments that have been taken, each at its place.
        sorted_face: `[n]` their faces.
    """

    rank: jax.Array
    waiting: jax.Array
    unsorted: _Unsorted
    nearest_depth: jax.Array
    nearest_face: jax.Array
    sorted_pixel: jax.Array
    sorted_face: jax.Array

    def part(self, first: jax.Array) -> _Unsorted:
        """A chunk of the fragments that wait; behind them the pixel is the last, which is none."""
        return self.unsorted.part(first, self.waiting, len(self.nearest_depth) - 1)


def _peel(total: jax.Array, count: jax.Array, unsorted: _Unsorted) -> tuple[jax.Array, jax.Array]:
    """What `_sort` gives, layer by layer: the nearest fragment of each pixel goes to its place, and the others move up.

    Args:
        total: how many fragments there are.
        count: `[pixels]` how many of them each pixel has.
        unsorted: the fragments.

    Returns:
        Pixel and face of each fragment, sorted by pixel, depth and face.
    """
    # With one pixel more, where all that is not listed goes.
    first_place = jnp.cumsum(jnp.append(0, count), dtype=jnp.int32)
    # Added to what is carried, so that it differs between devices under `shard_map`.
    zero = 0 * total
    state = _Peeling(
        rank=zero,
        waiting=total,
        unsorted=unsorted,
        nearest_depth=jnp.full(len(first_place), jnp.inf, unsorted.depth.dtype) + zero.astype(unsorted.depth.dtype),
        nearest_face=zero + 0 * first_place,
        sorted_pixel=jnp.full(len(unsorted.pixel), len(count), jnp.int32) + zero,
        sorted_face=0 * unsorted.face,
    )
    state = jax.lax.while_loop(lambda state: state.waiting > 0, functools.partial(_peel_layer, first_place), state)
    return state.sorted_pixel, state.sorted_face


def _peel_layer(first_place: jax.Array, state: _Peeling) -> _Peeling:
    """Takes the nearest fragment of each pixel; where depths are equal, that of the lowest face."""
    state = _each_chunk(state.waiting, _find_nearest_depth, state)
    state = _each_chunk(state.waiting, _find_nearest_face, state)
    take = functools.partial(_take_nearest, first_place)
    kept, state = _each_chunk(state.waiting, take, (0 * state.waiting, state))
    return state._replace(rank=state.rank + 1, waiting=kept)


def _find_nearest_depth(first: jax.Array, state: _Peeling) -> _Peeling:
    """Looks at a chunk for nearer depths; which face is the nearest is open again."""
    part = state.part(first)
    return state._replace(
        nearest_depth=state.nearest_depth.at[part.pixel].min(part.depth, mode="promise_in_bounds"),
        nearest_face=state.nearest_face.at[part.pixel].set(NO_FACE, mode="promise_in_bounds"),
    )


def _find_nearest_face(first: jax.Array, state: _Peeling) -> _Peeling:
    """Looks at a chunk for lower faces at the nearest depth."""
    part = state.part(first)
    face = jnp.where(part.depth == state.nearest_depth[part.pixel], part.face, NO_FACE)
    return state._replace(nearest_face=state.nearest_face.at[part.pixel].min(face, mode="promise_in_bounds"))


def _take_nearest(
    first_place: jax.Array, first: jax.Array, carry: tuple[jax.Array, _Peeling]
) -> tuple[jax.Array, _Peeling]:
    """Moves the nearest of a chunk to their places, and the others up behind those that were kept before."""
    kept, state = carry
    part = state.part(first)
    exists = part.pixel < len(state.nearest_depth) - 1
    is_nearest = exists & (state.nearest_face[part.pixel] == part.face)
    place = jnp.where(is_nearest, first_place[part.pixel] + state.rank, len(state.sorted_pixel))
    keep = exists & ~is_nearest
    kept_here = jnp.cumsum(keep, dtype=jnp.int32)
    slot = jnp.where(keep, kept_here - 1, _CHUNK)
    moved_up = jax.tree.map(lambda values: values.at[slot].set(values, mode="drop"), part)
    state = state._replace(
        unsorted=jax.tree.map(
            lambda whole, chunk: jax.lax.dynamic_update_slice_in_dim(whole, chunk, kept, 0), state.unsorted, moved_up
        ),
        # Forgotten, so that the next layer finds another one.
        nearest_depth=state.nearest_depth.at[part.pixel].set(jnp.inf, mode="promise_in_bounds"),
        sorted_pixel=state.sorted_pixel.at[place].set(part.pixel, mode="drop"),
        sorted_face=state.sorted_face.at[place].set(part.face, mode="drop"),
    )
    return kept + kept_here[-1], state


def _each_chunk(total: jax.Array, step: Callable[[jax.Array, Carry], Carry], carry: Carry) -> Carry:
    """Runs `step(first, carry) -> carry` for the first fragment of each chunk of the first `total`."""
    chunks = (total + (_CHUNK - 1)) // _CHUNK
    return jax.lax.fori_loop(0, chunks, lambda number, carry: step(number * _CHUNK, carry), carry)


def _end_of_round(count: jax.Array, start: jax.Array, room: int) -> jax.Array:
    """The first pixel, from `start` on, whose fragments do not fit any more."""
    ahead = jnp.where(jnp.arange(len(count), dtype=jnp.int32) >= start, jnp.minimum(count, _MOST), 0)
    # Beyond the first sum that is too large an int32 may overflow; up to there it does not.
    full = jnp.cumsum(ahead, dtype=jnp.int32) > room
    return jnp.where(jnp.any(full), jnp.argmax(full), len(count)).astype(jnp.int32)
