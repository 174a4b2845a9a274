"""Deep supervision: the shapes of earlier layers and steps are compared with a view, too."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ast_jax.losses.colour import TERMS as COLOUR
from ast_jax.losses.mesh import TERMS as MESH
from ast_jax.losses.perceptual import TERMS as PERCEPTUAL
from ast_jax.losses.silhouette import TERMS as SILHOUETTE
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


def intermediate(term: Term) -> Term:
    """The mean of a term over the earlier shapes, in the colours and cameras of the last; without any it is 0.

    Other than `intermediate_iou_loss` it looks at all views.
    """

    def value(seen: Seen) -> Float[Array, " b"]:
        values = [term.function(earlier) for earlier in seen.earlier]
        return sum(values) / len(values) if values else jnp.zeros(len(seen.prediction.vertices))

    return Term(f"intermediate_{term.name}", value, term.needs, ("shape",), term.reads_network)


_DEEP = ("masked_mse", "masked_perceptual", "bce_iou", "laplacian", "normal")
TERMS = (
    Term("intermediate_iou", intermediate_iou_loss, phases=("shape",)),
    *(intermediate(term) for term in (*COLOUR, *PERCEPTUAL, *SILHOUETTE, *MESH) if term.name in _DEEP),
)
