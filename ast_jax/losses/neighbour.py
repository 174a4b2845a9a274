"""The term that lets pictures of like objects explain each other."""

from dataclasses import replace

import jax
from jaxtyping import Float

from ast_jax.losses.term import NEIGHBOURS, TEXTURE, Seen, Term


def neighbour_loss(seen: Seen) -> Float[jax.Array, " b"]:
    """How little the neighbours' pictures look like renderings with a shape or a texture of this batch.

    ``sum_swaps sum_t w_t L_t(rendering of the swapped object, picture of the neighbour)`` over the terms t on colours
    of the same stage, with their weights. A swap whose neighbour was not found is 0.

    Args:
      seen: whose ``inputs.neighbours`` are compared.

    Returns:
      one value per object.

    Source: Monnier et al., Unicorn, ECCV 2022, neighbour reconstruction.
    """
    neighbours = seen.inputs.neighbours
    assert neighbours is not None  # else the term is left out
    inputs = replace(seen.inputs, neighbours=None)
    swapped = Seen(neighbours.prediction, neighbours.batch, neighbours.batch.camera, inputs, with_colour=True)
    values = [weight * term.function(swapped) for term, weight in seen.weighted if term.needs is TEXTURE]
    return (sum(values).reshape(neighbours.exists.shape) * neighbours.exists).sum(axis=1)


TERMS = (Term("neighbour", neighbour_loss, NEIGHBOURS, phases=("shape",)),)
