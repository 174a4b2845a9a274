"""The term that keeps the places of a texture flow on the object."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import FLOW, Seen, Term
from render import sample_uv

# Distances are fractions of the picture's side; the released code of CMR.
_SLOPE = 50.0


def distance_transform(mask: Float[Array, "b h w"]) -> Float[jax.Array, "b h w"]:
    """Euclidean distance from the middle of each pixel to that of the nearest one of the mask, exact.

    ``min_{y'} (y - y')^2 + min_{x'} (x - x')^2``, over pixels of the mask, and the root of it; takes h w (h + w) steps.

    Args:
      mask: a pixel counts above 0.5.

    Returns:
      pixels; 0 on the mask. Where there is no mask at all: twice the larger side.

    Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, 2012, by brute force in each axis.
    """
    far = float(4 * max(mask.shape[1:]) ** 2)
    cost = jnp.where(mask > 0.5, 0.0, far)
    rows, columns = (_squares(side) for side in mask.shape[1:])
    cost = (cost[:, :, None, :] + columns[None, None]).min(-1)
    cost = (cost[:, None, :, :] + rows[None, :, :, None]).min(2)
    return jnp.sqrt(jnp.minimum(cost, far))


def _squares(side: int) -> np.ndarray:
    places = np.arange(side, dtype=np.float32)
    return np.square(places[:, None] - places[None])


def outside_barrier(mask: Float[Array, "b h w"]) -> Float[jax.Array, "b h w"]:
    """Near 1 outside of a mask and near 0 inside, without a gradient.

    ``1 / (1 + exp(-50 (d_out - d_in) / max(h, w)))``; ``d_out`` is the distance to the mask and
    ``d_in`` that to what is not mask.

    Args:
      mask: of an object.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``compute_dt_barrier``).
    """
    outside, inside = distance_transform(mask), distance_transform(1.0 - mask)
    return jax.lax.stop_gradient(jax.nn.sigmoid(_SLOPE * (outside - inside) / max(mask.shape[1:])))


def flow_mask_loss(places_ndc: Float[Array, "b n 2"], mask: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """How far places lie outside of the mask, or how near to its border inside.

    ``mean_i D(place_i)``, bilinear, with D from `outside_barrier`.

    Args:
      places_ndc: where texels take their colours.
      mask: of the object in the same picture.

    Returns:
      one value in [0, 1] per image.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``texture_dt_loss``).
    """
    return sample_uv(outside_barrier(mask)[..., None], (places_ndc + 1) / 2, wrap="clamp")[..., 0].mean(1)


def _flow(seen: Seen) -> Float[jax.Array, " b"]:
    return flow_mask_loss(seen.prediction.texture_flow, seen.input_mask)


TERMS = (Term("flow", _flow, FLOW, phases=("shape",)),)
