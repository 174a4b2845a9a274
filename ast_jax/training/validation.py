"""The losses of a stage on pictures that are not learned from, to know the best checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.compile_options import quick_options
from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.training.sharding import Layout, local_rows
from ast_jax.training.stages import Stage
from ast_jax.training.state import TrainState
from ast_jax.training.step import make_loss
from ast_jax.training.values import StageValues

SPLIT = "val"


class Validation:
    """The same batches every time, without augmentation, at the softness that training ends with.

    Args:
      graphdef: structure of the model.
      config: the experiment.
      layout, shardings: as for `make_train_step`.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, config: ConfigDict, root: str | Path, *, layout: Layout, shardings: TrainState
    ):
        self._args, self._config = (graphdef, config), config
        self._layout, self._shardings = layout, shardings
        self._functions: dict[str, Callable] = {}
        self.batches = self._make_batches(root) if config.eval_every > 0 else []

    def __call__(self, state: TrainState, stage: Stage, values: StageValues) -> dict[str, float]:
        """Means over the batches, as ``validation/loss/<name>``; nothing without a validation split.

        Args:
          state: whose moving average is taken, if it has one.
          stage: whose losses are computed.
          values: of that stage.
        """
        if not self.batches:
            return {}
        if stage.name not in self._functions:
            self._functions[stage.name] = self._make(stage)
        params = state.params if state.average is None else state.average
        values = replace(values, wrong_starts=None, mean_texture=None)  # those are for learning
        results = [self._functions[stage.name](params, batch, values) for batch in self.batches]
        table = jax.device_get(results)
        return {f"validation/{name}": float(np.mean([row[name] for row in table])) for name in table[0]}

    def _make(self, stage: Stage):
        loss = make_loss(*self._args, stage, layout=self._layout)
        layout = self._layout
        return jax.jit(
            lambda params, batch, values: loss(params, batch, values.num_steps, values)[1][0],
            in_shardings=(self._shardings.params, layout.by_batch, layout.replicated),
            out_shardings=layout.replicated,
            compiler_options=quick_options(),
        )

    def _make_batches(self, root: str | Path) -> list[Batch]:
        """The first batches of the split, on the devices."""
        config = self._config
        data = config.data.copy_and_resolve_references()
        data.augment = ConfigDict(dict(flip=False, colour=0.0, crop=0.0))
        try:
            source = DataSource(root, SPLIT, data)
        except ValueError as error:
            logging.warning("no validation, and no best checkpoint: %s", error)
            return []
        sharding = self._layout.by_batch
        rows = local_rows(sharding, config.batch_size)
        batches = make_batches(source, data, batch_size=config.batch_size, seed=0, rows=rows)
        count = min(config.evaluation.validation_batches, -(-len(source) // config.batch_size))
        return [place_batch(next(batches), sharding) for _ in range(count)]


def place_batch(batch: Batch, sharding: jax.sharding.NamedSharding) -> Batch:
    """The rows of this process on its devices, as part of the batch of all processes."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
