"""The share of the picture that the object covers: one random view of each object."""

from ast_jax.evaluation.metrics import METRICS
from ast_jax.evaluation.protocols.base import Item, Protocol, one_random_view


def measure(item: Item) -> dict[str, float]:
    """The true mask, as a metric of silhouettes would take it."""
    return {"mask_iou": float(item.batch().target_masks.mean())}


PROTOCOL = Protocol(
    description="share of the picture that the object covers",
    choose_views=one_random_view,
    measure=measure,
    own_columns=("mask_iou",),
    metrics=METRICS,
)
