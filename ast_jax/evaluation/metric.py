"""What is measured of an object, and what a metric is that any protocol can take beside its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.data.store import ObjectRecord
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


def _nothing(item: Item) -> dict:
    return {}


@dataclass(frozen=True)
class Metric:
    """One measure, or several that belong together.

    Args:
      headings: name -> heading of its column, whose arrow says which way is better, and digits after the point.
      measure: object -> name -> a number, NaN where there is nothing to measure, or an array that ``finish`` needs;
        nothing where the data set lacks what it takes.
      finish: the evaluation so far, to which it adds, and everything measured, ``[n, ...]`` each; None: means over
        objects.
      arrays: names of what ``measure`` gives to ``finish`` alone.
    """

    headings: Mapping[str, tuple[str, int]]
    measure: Callable[[Item], dict] = _nothing
    finish: Callable[[Evaluation, dict[str, np.ndarray]], None] | None = None
    arrays: tuple[str, ...] = ()

    def add_to(self, result: Evaluation, measured: dict[str, np.ndarray]) -> None:
        """Its columns, from what was measured of all objects."""
        if self.finish is not None:
            self.finish(result, measured)
            return
        for name in self.headings:
            if name in measured:
                result.metrics[name] = measured[name]
                result.weights[name] = (~np.isnan(measured[name])).astype(float)
