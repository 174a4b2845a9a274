"""A memory of pictures that were seen before, and the neighbours that a batch finds in it (Unicorn)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from ml_collections import ConfigDict

from ast_jax.arrays import Array
from ast_jax.batch import Batch
from ast_jax.losses.term import Neighbours
from ast_jax.prediction import Codes, Prediction
from ast_jax.training.mean_texture import with_mean_texture
from ast_jax.training.stages import make_stages

TERM = "neighbour"
# By `config.neighbours.swaps`: of each of the neighbours of a picture, whether it takes its shape, else its texture.
SWAPS = {"both": (True, False), "texture": (False,)}
_WHITE = 255  # pictures are kept as bytes: a quarter of the memory, and as exact as they were stored


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """The last n pictures that were learned from, first in, first out; the leaves are arrays, or what describes them.

    Args:
      image: ``[n, h, w, 3]``, what the model saw, bytes.
      target: ``[n, i, j, 3]``, the first supervising view, bytes.
      mask: ``[n, i, j]``, of the object in it, bytes.
      shape, texture: ``[n, a]`` and ``[n, m]``, their codes as they were.
      rotation: ``[n, 3, 3]``, of the camera that was found.
      count: how many were ever remembered.
    """

    image: Any
    target: Any
    mask: Any
    shape: Any
    texture: Any
    rotation: Any
    count: Any


class Entry(NamedTuple):
    """What the memory keeps of a batch beside its pictures; names as in `Memory`."""

    shape: Float[Array, "b a"]
    texture: Float[Array, "b m"]
    rotation: Float[Array, "b 3 3"]


class Found(NamedTuple):
    """Rows of the memory for each picture, one for each swap, and whether there was any to choose from."""

    which: Int[Array, "b s"]
    exists: Bool[Array, "b s"]


def has_memory(config: ConfigDict) -> bool:
    """Whether some stage that is run compares with neighbours."""
    return any(TERM in dict(stage.losses) for stage in make_stages(config) if stage.stop > stage.start)


def make_memory(config: ConfigDict, codes: Codes) -> Memory:
    """A memory of nothing yet.

    Args:
      config: the experiment.
      codes: of one picture or more, or their shapes.
    """
    n, image, view = config.neighbours.memory, config.data.image_size, config.data.render_size
    return Memory(
        image=jnp.zeros((n, image, image, 3), jnp.uint8),
        target=jnp.zeros((n, view, view, 3), jnp.uint8),
        mask=jnp.zeros((n, view, view), jnp.uint8),
        shape=jnp.zeros((n, *codes.shape.shape[1:]), jnp.float32),
        texture=jnp.zeros((n, *codes.texture.shape[1:]), jnp.float32),
        rotation=jnp.zeros((n, 3, 3), jnp.float32),
        count=jnp.zeros((), jnp.int32),
    )


def entry_of(prediction: Prediction) -> Entry:
    """What is kept of an answer."""
    codes, camera = prediction.codes, prediction.input_camera
    return jax.lax.stop_gradient(Entry(codes.shape, codes.texture, camera.rotation))


def remembered(memory: Memory, batch: Batch, entry: Entry) -> Memory:
    """The memory with a batch in place of what it has held longest."""
    size = len(memory.rotation)
    rows = (memory.count + jnp.arange(len(batch.image))) % size
    new = dict(image=_bytes(batch.image[..., :3]), target=_bytes(batch.target_images[:, 0]))
    new |= dict(mask=_bytes(batch.target_masks[:, 0]), **entry._asdict())
    kept = {name: getattr(memory, name).at[rows].set(value) for name, value in new.items()}
    # Counted to twice the size at most, so that the count never runs over.
    count = memory.count + len(batch.image)
    return replace(memory, **kept, count=jnp.where(count >= 2 * size, count - size, count))


def find_neighbours(memory: Memory, entry: Entry, settings: ConfigDict, key: jax.Array) -> Found:
    """Who is most like each picture in its shape, and in its texture, among those that were seen from elsewhere.

    ``argmin_j |z_i - z_j|^2`` over the rows j whose camera is turned against that of i by an angle in the bin of i,
    which is drawn anew each time from equal ones between the least angle and 180 degrees.

    Args:
      memory: with any number of pictures.
      entry: of the batch.
      settings: ``config.neighbours``.
      key: of the random numbers.

    Returns:
      the nearest in the code of the shape, where shapes are swapped, and the nearest in that of the texture.

    Source: Monnier et al., Unicorn, ECCV 2022, released code.
    """
    count, size = len(entry.rotation), len(memory.rotation)
    trace = jnp.einsum("bij,nij->bn", entry.rotation, memory.rotation, precision="highest")
    cosine = jnp.clip((trace - 1) / 2, -1.0, 1.0)  # rounding leaves it beyond
    width = (180.0 - settings.least_angle_deg) / settings.angle_bins
    chosen = jax.random.randint(key, (count, 1), 0, settings.angle_bins)
    low, high = (jnp.cos(jnp.deg2rad(settings.least_angle_deg + width * (chosen + k))) for k in range(2))
    high = jnp.where(chosen == settings.angle_bins - 1, -2.0, high)  # the last bin has its upper end
    allowed = (cosine <= low) & (cosine > high) & (jnp.arange(size) < memory.count)[None]
    distances = [_squared_distances(*pair) for pair in zip(entry[:2], (memory.shape, memory.texture))]
    nearest = [jnp.argmin(jnp.where(allowed, distance, jnp.inf), axis=1) for distance in distances]
    by_code = [nearest[0 if takes_shape else 1] for takes_shape in SWAPS[settings.swaps]]
    exists = jnp.broadcast_to(allowed.any(axis=1, keepdims=True), (count, len(by_code)))
    return Found(jnp.stack(by_code, axis=1), exists)


class Recalled(NamedTuple):
    """The pictures of neighbours, neighbour after neighbour of each picture of a batch; names as in `Memory`."""

    image: Float[Array, "n h w 3"]
    target: Float[Array, "n i j 3"]
    mask: Float[Array, "n i j"]


def recalled(memory: Memory, found: Found) -> Recalled:
    """The pictures that were found."""
    rows = found.which.reshape(-1)
    return Recalled(*(_floats(x[rows]) for x in (memory.image, memory.target, memory.mask)))


def swapped(own: Prediction, theirs: Prediction, swaps: str) -> Prediction:
    """The neighbours' answers, each with the shape or with the texture of the picture that found it.

    A shape keeps the stretch of the neighbour, as its camera.

    Args:
      own: answers for a batch of b.
      theirs: for its ``b * s`` neighbours, neighbour after neighbour of each picture; no gradient flows into them.
      swaps: one of ``SWAPS``.
    """
    takes_shape = np.tile(SWAPS[swaps], len(own.vertices))
    theirs = jax.lax.stop_gradient(theirs)
    own = jax.tree.map(lambda x: jnp.repeat(x, len(SWAPS[swaps]), axis=0), own)
    vertices = own.vertices
    if own.codes.scale is not None and theirs.codes.scale is not None:
        vertices = vertices * (theirs.codes.scale / own.codes.scale)[:, None]

    def where(chosen, mine, other):
        return jnp.where(chosen.reshape(-1, *[1] * (other.ndim - 1)), mine, other)

    texture = jax.tree.map(lambda mine, other: where(~takes_shape, mine, other), own.texture, theirs.texture)
    return replace(theirs, vertices=where(takes_shape, vertices, theirs.vertices), texture=texture)


def look_back(
    memory: Memory,
    prediction: Prediction,
    settings: ConfigDict,
    *,
    predict: Callable[[Float[Array, "n h w 3"]], Prediction],
    is_plain: Bool[Array, " b"] | None,
    key: jax.Array,
) -> tuple[Entry, Neighbours]:
    """What is to be remembered of a batch, and what its neighbours should look like with a part of it.

    Args:
      memory: of what was seen before the batch.
      prediction: for the batch.
      settings: ``config.neighbours``.
      predict: as the model answers today; no gradient flows into it.
      is_plain: which pictures of the batch are drawn in their mean colour: with their neighbours; None: none.
      key: of the random numbers.
    """
    entry = entry_of(prediction)
    found = find_neighbours(memory, entry, settings, key)
    pictures = recalled(memory, found)
    both = swapped(prediction, predict(pictures.image), settings.swaps)
    if is_plain is not None:
        both = with_mean_texture(both, jnp.repeat(is_plain, found.which.shape[1]))
    return entry, as_neighbours(both, pictures, found)


def as_neighbours(prediction: Prediction, pictures: Recalled, found: Found) -> Neighbours:
    """What the loss compares: answers of `swapped`, and the pictures that they should look like."""
    camera, count = prediction.input_camera, len(pictures.image)
    views = jax.tree.map(lambda x: x[:, None], camera)
    targets, masks = pictures.target[:, None], pictures.mask[:, None]
    batch = Batch(pictures.image, camera, targets, masks, views, jnp.zeros((count, 1, 0, 3)), jnp.zeros(count, int))
    return Neighbours(prediction, batch, found.exists)


def _squared_distances(a: Float[Array, "b m"], b: Float[Array, "n m"]) -> Float[jax.Array, "b n"]:
    squares = [jnp.square(x).sum(axis=1) for x in (a, b)]
    return squares[0][:, None] + squares[1][None] - 2 * jnp.matmul(a, b.T, precision="highest")


def _bytes(picture: Float[Array, "..."]) -> Array:
    return jnp.round(jnp.clip(picture, 0.0, 1.0) * _WHITE).astype(jnp.uint8)


def _floats(picture: Array) -> Float[Array, "..."]:
    return picture.astype(jnp.float32) / _WHITE
