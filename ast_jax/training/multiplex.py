"""The cameras of a multiplex (U-CMR): some for each training picture, a table that the run keeps beside the model."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from ast_jax.arrays import Array
from ast_jax.batch import Batch
from ast_jax.model.cameras.geometry import NUM_MOTIONS
from ast_jax.model.cameras.multiplex import first_angles, multiplex_cameras, seen_through
from ast_jax.training.sharding import BATCH, Layout
from render import PerspectiveCamera

GROUP = "multiplex"
# A number of rows that most numbers of devices divide: a run that goes on with others finds its table as it was.
_ROWS = 256


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CameraTable:
    """A row for each training picture, in the order of `Batch.index`; the leaves are arrays, or what describes them.

    A picture and its mirror image share a row: the cameras of one are those of the other, mirrored.

    Args:
      motion: ``[n, k, 6]``, see `multiplex_cameras`.
      score: ``[n, k]``, the loss through each camera when the picture was last seen; infinite once it is dropped.
      moments: of Adam, for each camera by itself, so that pictures which a batch does not show stay as they are.
    """

    motion: Any
    score: Any
    moments: Any


class Chosen(NamedTuple):
    """The cameras of a batch.

    Args:
      cameras: of the first supervising views, leading axes ``[b, s]``, the best first where some are left out.
      which: their columns of the table.
      best: leading axis ``[b]``, that of the lowest score.
    """

    cameras: PerspectiveCamera
    which: Int[Array, "b s"]
    best: PerspectiveCamera


def has_multiplex(config: ConfigDict) -> bool:
    """Whether training pictures have cameras of their own."""
    return config.model.camera.kind == "multiplex"


def camera_count(config: ConfigDict) -> int:
    """Cameras k of each picture."""
    return config.model.camera.azimuths * config.model.camera.elevations


def make_table(config: ConfigDict, pictures: int) -> CameraTable:
    """The table at step 0: every camera at its place in the grid.

    Args:
      config: the experiment.
      pictures: how many rows are needed; more are made, to a round number.
    """
    shape = (-(-pictures // _ROWS) * _ROWS, camera_count(config))
    motion = jnp.zeros((*shape, NUM_MOTIONS), jnp.float32)
    return CameraTable(motion, jnp.zeros(shape, jnp.float32), _each(_adam().init)(motion))


def table_shardings(config: ConfigDict, layout: Layout) -> CameraTable:
    """The rows are split as batches are."""
    split = jax.NamedSharding(layout.mesh, layout.spec((BATCH,), (_ROWS,)))
    return jax.tree.map(lambda _: split, jax.eval_shape(lambda: make_table(config, 1)))


def choose_cameras(table: CameraTable, batch: Batch, config: ConfigDict, count: int) -> Chosen:
    """The cameras of the pictures of a batch, as those of its first supervising views.

    Args:
      table: of the run.
      batch: whose ``index`` names the rows.
      config: the experiment.
      count: how many of the best are taken; 0: all.
    """
    camera, shape = config.model.camera, config.model.shape
    every = multiplex_cameras(table.motion[batch.index], first_angles(camera.azimuths, camera.elevations), shape.radius)
    if batch.frame is not None:
        every = seen_through(batch.frame, every)
    score = table.score[batch.index]
    which = jax.lax.top_k(-score, count)[1] if count else jnp.broadcast_to(jnp.arange(score.shape[1]), score.shape)
    best = jax.tree.map(lambda x: x[:, 0], _columns(every, jnp.argmin(score, axis=1)[:, None]))
    return Chosen(every if not count else _columns(every, which), which, best)


class Seen(NamedTuple):
    """What a batch saw of each camera of the table: sums, so that the mean over parts of a batch tells the same.

    Args:
      scores: losses, summed over the pictures of that row.
      visits: how many.
    """

    scores: Float[Array, "n k"]
    visits: Float[Array, "n k"]


def note_seen(table: CameraTable, batch: Batch, which: Int[Array, "b s"], scores: Float[Array, "b s"]) -> Seen:
    """The losses through the chosen cameras, at their places in the table."""
    zeros, rows = jnp.zeros_like(table.score), batch.index[:, None]
    return Seen(zeros.at[rows, which].add(scores), zeros.at[rows, which].add(1.0))


def moved_table(
    table: CameraTable, grads: Float[Array, "n k 6"], seen: Seen, rate: float | Float[Array, ""]
) -> CameraTable:
    """The table after a step: cameras that were seen are scored and moved, those passed over are dropped for good.

    Args:
      table: before.
      grads: of the loss in its motions.
      seen: by the batch.
      rate: of learning; 0: they stay.
    """
    was_seen, row_seen = seen.visits > 0, (seen.visits > 0).any(axis=1, keepdims=True)
    score = jnp.where(was_seen, seen.scores / jnp.where(was_seen, seen.visits, 1.0), table.score)
    updates, moments = _each(_adam().update)(grads, table.moments)

    def where_seen(new, old):
        return jnp.where(was_seen.reshape(*was_seen.shape, *[1] * (new.ndim - 2)), new, old)

    return replace(
        table,
        motion=where_seen(table.motion - rate * updates, table.motion),
        score=jnp.where(row_seen & ~was_seen, jnp.inf, score),
        moments=jax.tree.map(where_seen, moments, table.moments),
    )


def _adam() -> optax.GradientTransformation:
    return optax.scale_by_adam()


def _each(function):
    """A function of one camera, of all of the table."""
    return jax.vmap(jax.vmap(function))


def _columns(camera: PerspectiveCamera, which: Int[Array, "b s"]) -> PerspectiveCamera:
    return jax.tree.map(lambda x: jnp.take_along_axis(x, which.reshape(*which.shape, *[1] * (x.ndim - 2)), 1), camera)
