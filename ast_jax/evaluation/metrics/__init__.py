"""Metrics that protocols take beside their own, one file each; a new one gets a line in ``METRICS``."""

from ast_jax.evaluation.metric import Metric
from ast_jax.evaluation.metrics import viewpoints

METRICS: tuple[Metric, ...] = (viewpoints.METRIC,)
