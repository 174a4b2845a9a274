"""What a protocol is: which views of an object are shown, what is measured of each object, and what papers report."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ast_jax.evaluation.metric import Item, Metric
from ast_jax.evaluation.published import PublishedRow
from ast_jax.evaluation.results import Evaluation


@dataclass(frozen=True)
class Protocol:
    """How a paper or a benchmark measures.

    Args:
      description: one line: data, views, what is special.
      choose_views: number of views and a random generator of the object -> views that the method sees.
      measure: object -> name -> a number, or an array that ``finish`` needs.
      own_columns: names of ``tables.COLUMNS`` that make its table, in their order.
      finish: object ids and everything measured, ``[n, ...]`` each -> the evaluation; None: means over objects.
      metrics: measured beside these.
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
    own_columns: tuple[str, ...]
    finish: Callable[[tuple[str, ...], dict[str, np.ndarray]], Evaluation] | None = None
    metrics: tuple[Metric, ...] = ()
    published: tuple[PublishedRow, ...] = ()
    input_crop: str | None = None
    needs: tuple[str, ...] = ()
    split: str = "test"
    render_size: int | None = None
    stored_points: int = 0
    variant: str = ""
    photographs: bool = False
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of its table, those of the metrics last."""
        return (*self.own_columns, *(name for metric in self.metrics for name in metric.headings))

    def measure_all(self, item: Item) -> dict:
        """Everything of one object."""
        row = dict(self.measure(item))
        for metric in self.metrics:
            row |= metric.measure(item)
        return row

    def conclude(self, ids: tuple[str, ...], measured: dict[str, np.ndarray]) -> Evaluation:
        """The evaluation.

        Args:
          ids: of the objects.
          measured: everything that ``measure_all`` gave, ``[n, ...]`` each.
        """
        others = {name for metric in self.metrics for name in (*metric.headings, *metric.arrays)}
        own = {name: values for name, values in measured.items() if name not in others}
        result = self.finish(ids, own) if self.finish else Evaluation(ids, own)
        for metric in self.metrics:
            metric.add_to(result, measured)
        return result


def all_views(num_views: int, rng: np.random.Generator) -> list[int]:
    """Every view of the object."""
    return list(range(num_views))


def first_view(num_views: int, rng: np.random.Generator) -> list[int]:
    """View 0."""
    return [0]


def one_random_view(num_views: int, rng: np.random.Generator) -> list[int]:
    """One view, by chance; the seed of the evaluation and the object decide."""
    return [int(rng.integers(num_views))]
