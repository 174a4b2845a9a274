"""How far the middle of the shape is from the origin."""

import numpy as np

from ast_jax.evaluation.metric import Item, Metric


def measure(item: Item) -> dict[str, float]:
    """Mean over the answers."""
    return {"off_centre": float(np.linalg.norm(item.predicted.vertices.mean(1), axis=-1).mean())}


METRIC = Metric({"off_centre": ("off centre ↓", 4)}, measure)
