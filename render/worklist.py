"""The work list: which small windows of the image each face can touch, walked in chunks of constant size.

The box of a face on the screen is cut into square windows of a few pixels; a face and one of its windows
make a *pair*. The number of pairs of a batch is known only at run time, so pairs are numbered by a
cumulative sum over faces, and a loop walks them in chunks of constant size, as many chunks as there are.
Shapes are static, memory is one chunk, and no pair is ever dropped. Where there may be more pairs than an int32 counts,
faces are walked block by block.

Within a chunk an inner loop runs over the pixels of a window, so that everything computed is an array over
pairs: small enough for the cache, and in the layout that vector units like. Screen coordinates are pixels,
x right and y down, from the middle of the image, see `render.screen`. Images inside the walk are flat,
`[canvas.size]`, see `Canvas`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

Carry = TypeVar("Carry")

# Pixels along a window. Measured on CPU with faces of a few pixels: smaller windows mean more pairs, larger
# ones more pixels outside of the face.
_SIDE = 5
# Pairs that are counted at once; an int32 holds twice as many, and a chunk may count beyond the last.
_MOST_PAIRS = 2**30
# Numbers in the arrays of a chunk that should stay in the second-level cache of a CPU core.
_CACHE = 2**18
# An accelerator wants long arrays instead, to keep its lanes busy between two launches.
_ACCELERATOR_CHUNK = 2**17
# Pixels by which boxes grow beyond need, so that rounding cannot lose a pixel centre on the border of a face.
_SLACK = 0.02


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Images of a batch as one flat array, padded so that windows may hang over to the right and below.

    Args:
        batch: images.
        height: pixels.
        width: pixels.
        side: pixels along a window.
    """

    batch: int
    height: int
    width: int
    side: int

    @property
    def rows(self) -> int:
        """Rows of an image with its padding."""
        return self.height + self.side - 1

    @property
    def columns(self) -> int:
        """Columns of an image with its padding."""
        return self.width + self.side - 1

    @property
    def centre(self) -> tuple[float, float]:
        """Column and row of the middle of an image."""
        return centre((self.height, self.width))

    @property
    def windows(self) -> int:
        """Most windows of a face."""
        return -(-self.height // self.side) * -(-self.width // self.side)

    @property
    def block(self) -> int:
        """Most faces whose pairs can be counted together, however large the faces are."""
        return max(_MOST_PAIRS // self.windows, 1)

    @property
    def nowhere(self) -> int:
        """Where the windows of pairs that do not exist begin."""
        return self.batch * self.rows * self.columns

    @property
    def size(self) -> int:
        """Length of the flat array: all images, then room for the window of pairs that do not exist."""
        return self.nowhere + self.side * self.columns

    def flatten(self, image: jax.Array) -> jax.Array:
        """`[b, h, w]` to the flat array, zero in the padding."""
        padded = jnp.pad(image, ((0, 0), (0, self.side - 1), (0, self.side - 1))).reshape(-1)
        return jnp.pad(padded, (0, self.size - self.nowhere))

    def unflatten(self, flat: jax.Array) -> jax.Array:
        """The flat array to `[b, h, w]`."""
        padded = flat[: self.nowhere].reshape(self.batch, self.rows, self.columns)
        return padded[:, : self.height, : self.width]


class WorkList(NamedTuple):
    """Windows of all faces of a batch.

    Attributes:
        box: `[b * f, 4]` of each face: first column, first pixel row counted through the padded batch,
            windows side by side, and number of the first pair.
        end: `[b * f]` one past the number of the last pair. Numbers begin anew in every block of `canvas.block` faces.
    """

    box: jax.Array
    end: jax.Array


class Pairs(NamedTuple):
    """One chunk of pairs, `[pairs]` each.

    Attributes:
        face: index into the faces of the batch.
        corner: index of the first pixel of the window in the flat images.
        column: column of that pixel.
        row: row of that pixel.
    """

    face: jax.Array
    corner: jax.Array
    column: jax.Array
    row: jax.Array


class Pixel(NamedTuple):
    """One pixel of every window of a chunk, `[pairs]` each.

    Attributes:
        index: into the flat images, always within bounds.
        x: on the screen.
        y: on the screen.
    """

    index: jax.Array
    x: jax.Array
    y: jax.Array


def centre(image_size: tuple[int, int]) -> tuple[float, float]:
    """Middle of an image as column and row, where pixel centres have whole numbers."""
    height, width = image_size
    return 0.5 * (width - 1), 0.5 * (height - 1)


def make_canvas(batch: int, image_size: tuple[int, int]) -> Canvas:
    """The canvas for images of a size.

    Args:
        batch: images.
        image_size: height and width in pixels.

    Returns:
        The canvas.

    Raises:
        ValueError: more pixels than an int32 can number.
    """
    canvas = Canvas(batch, int(image_size[0]), int(image_size[1]), _SIDE)
    if canvas.size >= 2**31:
        raise ValueError(
            f"image_size {tuple(image_size)} for a batch of {batch} is more than 2^31 pixels in one call:"
            f" {'draw smaller images' if batch == 1 else 'split the batch'}"
        )
    return canvas


def build(low: jax.Array, high: jax.Array, visible: jax.Array, canvas: Canvas) -> WorkList:
    """Lists the windows of each face.

    Args:
        low: `[2, b * f]` lower x, y of the box of each face.
        high: `[2, b * f]` upper x, y.
        visible: `[b * f]`; false takes a face out of the list.
        canvas: layout of the images.

    Returns:
        The work list; boxes without a pixel centre are not in it.
    """
    size, middle = (jnp.array([pair], low.dtype).T for pair in ((canvas.width, canvas.height), canvas.centre))
    first = jnp.clip(jnp.ceil(low + (middle - _SLACK)), 0.0, size)
    last = jnp.clip(jnp.floor(high + (middle + _SLACK)), -1.0, size - 1.0)
    # Boxes that are not a number end here too: every comparison with them is false.
    visible = visible & jnp.all(last >= first, axis=0)
    first = jnp.where(visible[None], first, 0.0).astype(jnp.int32)
    last = jnp.where(visible[None], last, 0.0).astype(jnp.int32)
    windows = (last - first) // canvas.side + 1
    count = jnp.where(visible, windows[0] * windows[1], 0)
    end = _count_up(count, canvas.block)
    image = jnp.arange(len(visible), dtype=jnp.int32) // max(len(visible) // canvas.batch, 1)
    return WorkList(jnp.stack([first[0], first[1] + image * canvas.rows, windows[0], end - count], axis=-1), end)


def touching(low: jax.Array, high: jax.Array, mask: jax.Array, canvas: Canvas) -> jax.Array:
    """Which boxes have a pixel of a mask in them.

    Args:
        low: `[2, b * f]` lower x, y of the box of each face.
        high: `[2, b * f]` upper x, y.
        mask: `[b, h, w]`.
        canvas: layout of the images.

    Returns:
        `[b * f]`.
    """
    # Pixels of the mask above and to the left of each corner.
    total = jnp.cumsum(jnp.cumsum(mask.astype(jnp.int32), axis=1), axis=2)
    total = jnp.pad(total, ((0, 0), (1, 0), (1, 0)))
    limit, middle = jnp.array([[canvas.width], [canvas.height]], jnp.int32), jnp.array([canvas.centre], low.dtype).T
    first = jnp.clip(jnp.ceil(low + (middle - _SLACK)), 0, limit).astype(jnp.int32)
    last = jnp.clip(jnp.floor(high + (middle + _SLACK)) + 1, 0, limit).astype(jnp.int32)
    last = jnp.maximum(first, last)
    image = jnp.arange(low.shape[1], dtype=jnp.int32) // max(low.shape[1] // canvas.batch, 1)

    def before(x, y):
        return total.at[image, y, x].get(mode="promise_in_bounds")

    inside = before(last[0], last[1]) + before(first[0], first[1])
    return inside > before(first[0], last[1]) + before(last[0], first[1])


def walk(
    work: WorkList, canvas: Canvas, step: Callable[[Pairs, Carry], Carry], carry: Carry, numbers: int = 32
) -> Carry:
    """Runs `step` over all pairs, chunk by chunk, in the order of faces.

    The last chunk is filled up with pairs that do not exist: their pixels are beyond all images, so what is
    scattered there is lost, and what is gathered there is what the caller put there.

    Args:
        work: the list.
        canvas: layout of the images.
        step: takes a chunk and the carry, gives the next carry.
        carry: arrays to start from.
        numbers: floats that `step` keeps for each pair, to choose the length of a chunk.

    Returns:
        The carry after the last chunk.
    """
    faces = work.end.shape[0]
    if faces == 0:
        return carry
    # Adding zero times the count changes no value, but under `shard_map` the carry then differs between
    # devices from the first trip on, as it must.
    carry = jax.tree.map(lambda value: value + (0 * work.end[-1]).astype(value.dtype), carry)
    length = min(faces, canvas.block)
    if length == faces:
        return _walk_block(work, canvas, step, carry, numbers, 0)

    def block(index, carry):
        # The last block begins before its first face rather than to end behind the last one: those are without pairs.
        first = jnp.minimum(index * length, faces - length)
        box, end = (jax.lax.dynamic_slice_in_dim(array, first, length) for array in work)
        end = jnp.where(first + jnp.arange(length) < index * length, 0, end)
        return _walk_block(WorkList(box, end), canvas, step, carry, numbers, first)

    return jax.lax.fori_loop(0, -(-faces // length), block, carry)


def _walk_block(work: WorkList, canvas: Canvas, step: Callable, carry: Carry, numbers: int, first) -> Carry:
    """`walk` over faces that are counted together and begin with face `first` of the batch."""
    faces, total = work.end.shape[0], work.end[-1]
    chunk = max(_CACHE // numbers, 256) if jax.default_backend() == "cpu" else _ACCELERATOR_CHUNK
    # Powers of two: XLA's CPU code for odd lengths is several times slower.
    chunk = 2 ** (min(chunk, faces * canvas.windows).bit_length() - 1)

    def body(index, carry):
        number = index * chunk + jnp.arange(chunk, dtype=jnp.int32)
        # "scan" is the fastest search inside a loop on CPU (5 times "scan_unrolled").
        face = jnp.searchsorted(work.end, number, side="right", method="scan").astype(jnp.int32)
        face = jnp.minimum(face, faces - 1)
        column, row, windows, start = take_rows(work.box, face)
        exists = number < total
        nth = jnp.where(exists, number - start, 0)
        below = nth // windows
        column, row = column + (nth - below * windows) * canvas.side, row + below * canvas.side
        corner = jnp.where(exists, row * canvas.columns + column, canvas.nowhere)
        return step(Pairs(first + face, corner, column, row % canvas.rows), carry)

    return jax.lax.fori_loop(0, (total + (chunk - 1)) // chunk, body, carry)


def each_pixel(pairs: Pairs, canvas: Canvas, step: Callable[[Pixel, Carry], Carry], carry: Carry, dtype) -> Carry:
    """Runs `step` over the pixels of a window, for all windows of a chunk at once.

    Args:
        pairs: the chunk.
        canvas: layout of the images.
        step: takes one pixel of every window and the carry, gives the next carry.
        carry: arrays to start from.
        dtype: of the pixel coordinates.

    Returns:
        The carry after the last pixel.
    """

    def body(number, carry):
        below = number // canvas.side
        right = number - below * canvas.side
        index = pairs.corner + (below * canvas.columns + right)
        x, y = ((first + more).astype(dtype) for first, more in ((pairs.column, right), (pairs.row, below)))
        return step(Pixel(index, x - canvas.centre[0], y - canvas.centre[1]), carry)

    return jax.lax.fori_loop(0, canvas.side**2, body, carry)


def once(index: jax.Array, function: Callable[[], Carry]) -> Carry:
    """Calls a function whose results are to be computed once and stored.

    XLA repeats cheap operations in every one of their consumers, however many they add up to: without this a gradient
    of twenty numbers computes the distance to a triangle twenty times. Its CPU compiler drops optimization barriers
    before it decides, so there the barrier is a condition that always holds, which XLA cannot know.

    Args:
        index: any integers that are not negative, of at least one axis; none, where nothing is to be computed.
        function: closes over all it needs.

    Returns:
        What the function returns.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.optimization_barrier(function())
    if not index.size:
        return function()
    results, first = jax.eval_shape(function), index.reshape(-1)[0]

    def never():
        # Made from an argument, so that under `shard_map` both branches differ between devices.
        return jax.tree.map(lambda out: jnp.zeros(out.shape, out.dtype) + (0 * first).astype(out.dtype), results)

    return jax.lax.cond(first >= 0, function, never)


def zeros(pairs: Pairs, count: int, dtype) -> tuple[jax.Array, ...]:
    """Sums over the pixels of a window to start from: `count` arrays over pairs."""
    return ((0 * pairs.corner).astype(dtype),) * count


def take_rows(table: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of `[rows, columns]` as `[columns, len(index)]`; several times faster than gathering columns."""
    return table.at[index].get(mode="promise_in_bounds").T


def add_rows(table: jax.Array, pairs: Pairs, values: jax.Array) -> jax.Array:
    """Adds `[columns, pairs]` into the rows of faces."""
    return table.at[pairs.face].add(values.T, mode="promise_in_bounds")


def take(flat: jax.Array, pixel: Pixel) -> jax.Array:
    """Values of a flat image at one pixel of every window."""
    return flat.at[pixel.index].get(mode="promise_in_bounds")


def _count_up(count: jax.Array, block: int) -> jax.Array:
    """Cumulative sums of `[m]` that begin anew after every `block` numbers."""
    if len(count) <= block:
        return jnp.cumsum(count, dtype=jnp.int32)
    blocks = jnp.pad(count, (0, -len(count) % block)).reshape(-1, block)
    return jnp.cumsum(blocks, axis=1, dtype=jnp.int32).reshape(-1)[: len(count)]
