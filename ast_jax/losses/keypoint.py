"""The term that pulls semantic key points of the mesh onto annotated ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import KEYPOINTS, Seen, Term, merge_views
from ast_jax.losses.views import project_points


def keypoint_loss(predicted_ndc: Float[Array, "b p 2"], target: Float[Array, "b p 3"]) -> Float[jax.Array, " b"]:
    """Squared distance of the visible key points.

    ``mean over points and axes of (visible * (predicted - target))^2``. As in CMR the mean runs over all
    points, hidden ones included, so a picture with few visible points weighs less.

    Args:
      predicted_ndc: projected key points, NDC; points behind the camera may be anything if they are hidden.
      target: x, y in NDC and visible (0 or 1).

    Returns:
      one value >= 0 per image; 0 where no point is visible or ``p`` is 0.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``kp_l2_loss``).
    """
    visible = target[..., 2:]
    # The difference is cleared before it is squared: a hidden point may be infinite, and 0 * inf is NaN.
    difference = jnp.where(visible > 0.0, predicted_ndc - target[..., :2], 0.0)
    entries = max(predicted_ndc.shape[1] * 2, 1)
    return jnp.square(visible * difference).sum(axis=(1, 2)) / entries


def _keypoint(seen: Seen) -> Float[jax.Array, " n"]:
    if seen.prediction.keypoints_world is None or not seen.batch.keypoints_ndc.shape[2]:
        raise ValueError(f"loss 'keypoint' needs {KEYPOINTS.words}.")
    points_ndc = project_points(seen.prediction.keypoints_world, seen.camera)
    return keypoint_loss(points_ndc, merge_views(seen.batch.keypoints_ndc))


def _entropy(seen: Seen) -> Float[jax.Array, " b"]:
    """Mean entropy of the choices of vertices: a key point is one vertex in the end (CMR's released code)."""
    return seen.prediction.keypoint_entropy.mean(1)


TERMS = (
    Term("keypoint", _keypoint, KEYPOINTS),
    Term("keypoint_entropy", _entropy, KEYPOINTS, phases=("shape",)),
)
