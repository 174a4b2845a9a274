"""What a protocol is: which views of an object are shown, what is measured of each object, and what papers report."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.data.store import ObjectRecord
from ast_jax.evaluation.published import PublishedRow
from ast_jax.evaluation.results import Evaluation
from ast_jax.prediction import Prediction


@dataclass(frozen=True)
class Item:
    """One object, and what was predicted of it.

    Args:
      source: the split.
      index: of the object in ``source.ids``; seeds what is random.
      views: those that the method saw, one answer each.
      predicted: the answers.
      truth: all that is stored of the object.
    """

    source: DataSource
    index: int
    views: tuple[int, ...]
    predicted: Prediction
    truth: ObjectRecord

    def batch(self, views: tuple[int, ...] | None = None):
        """Pictures, masks, cameras and key points of views, of those that the method saw if none are named."""
        return evaluation_batch(self.source, self.index, list(views or self.views))


@dataclass(frozen=True)
class Protocol:
    """How a paper or a benchmark measures.

    Args:
      description: one line: data, views, what is special.
      choose_views: number of views and a random generator of the object -> views that the method sees.
      measure: object -> name -> a number, or an array that ``finish`` needs.
      columns: names of ``summary.COLUMNS`` that make its table, in their order.
      finish: object ids and everything measured, ``[n, ...]`` each -> the evaluation; None: means over objects.
      published: rows of the literature that may stand beside ours.
      input_crop: what the model sees, see ``DataSource``; None: as in training.
      needs: fields of ``ObjectRecord`` without which nothing can be measured.
      split: of the data set, that the published numbers are of.
      render_size: side of the pictures that are compared, px; None: as in training.
      stored_points: points and queries of each object that the published measure takes; 0: any number.
      variant: of launch.prepare_data, whose squares the published numbers are of; empty: any.
      photographs: the model's input is a photograph, in which published methods see what surrounds the object.
      note: what one has to know before comparing.
    """

    description: str
    choose_views: Callable[[int, np.random.Generator], list[int]]
    measure: Callable[[Item], dict]
    columns: tuple[str, ...]
    finish: Callable[[tuple[str, ...], dict[str, np.ndarray]], Evaluation] | None = None
    published: tuple[PublishedRow, ...] = ()
    input_crop: str | None = None
    needs: tuple[str, ...] = ()
    split: str = "test"
    render_size: int | None = None
    stored_points: int = 0
    variant: str = ""
    photographs: bool = False
    note: str = field(default="")


def all_views(num_views: int, rng: np.random.Generator) -> list[int]:
    """Every view of the object."""
    return list(range(num_views))


def first_view(num_views: int, rng: np.random.Generator) -> list[int]:
    """View 0."""
    return [0]


def one_random_view(num_views: int, rng: np.random.Generator) -> list[int]:
    """One view, by chance; the seed of the evaluation and the object decide."""
    return [int(rng.integers(num_views))]
