"""Deep supervision: the shapes of earlier layers and steps are compared with a view, too."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ast_jax.losses.silhouette import iou_loss
from ast_jax.losses.term import Seen, Term
from ast_jax.losses.views import render_views


def intermediate_iou_loss(seen: Seen) -> Float[Array, " b"]:
    """Mean silhouette loss of the earlier shapes against the last view, which is enough and cheap.

    Args:
      seen: the prediction, whose ``intermediate_vertices`` count; without any the loss is 0.
    """
    one_camera = jax.tree.map(lambda x: x[:, -1:], seen.camera)
    mask = seen.batch.target_masks[:, -1]
    losses = [
        iou_loss(render_views(vertices, seen.prediction.faces, one_camera, seen.settings)[1], mask)
        for vertices in seen.prediction.intermediate_vertices
    ]
    return sum(losses) / max(len(losses), 1) + jnp.zeros(mask.shape[0])


TERMS = (Term("intermediate_iou", intermediate_iou_loss, phases=("shape",)),)
