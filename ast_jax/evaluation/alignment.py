"""Moves a prediction onto the truth before they are compared, for methods that find pose and scale themselves."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from ast_jax.evaluation.nearest import plain_tree
from render.camera import rotation_from_6d

# Monnier et al., Unicorn, ECCV 2022, released evaluation.
_LEARNING_RATE = 0.01
NUM_STEPS = 100
_CHECK_EVERY = 10


@dataclass(frozen=True)
class Alignment:
    """Scale along the axes, rotation, translation: ``p -> (scale * p) @ rotation + translation``.

    Args:
      scale: one factor per axis.
      rotation: orthonormal, determinant 1; acts on row vectors.
      translation: object units.
    """

    scale: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def move(self, points: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
        """The points, moved."""
        return (points * self.scale) @ self.rotation + self.translation

    def turn(self, normals: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
        """Unit normals of the moved surface: they go with the inverse of the scale."""
        turned = (normals / self.scale) @ self.rotation
        return turned / np.linalg.norm(turned, axis=1, keepdims=True)


def align(
    points: Float[np.ndarray, "m 3"],
    target: Float[np.ndarray, "n 3"],
    *,
    num_steps: int = NUM_STEPS,
    num_points: int | None = None,
) -> Alignment:
    """The alignment of the prediction with the least symmetric squared Chamfer distance, by gradient steps.

    The bounding box of the prediction first gets the centre and the longest side of that of the truth. Then
    Adam (rate 0.01) minimises ``mean_a min_b |a - b|^2 + mean_b min_a |a - b|^2`` over a rotation of six
    numbers (two vectors, made orthonormal), a translation and a scale per axis. Nearest points are found anew
    in each step. The best of every tenth step is kept.

    Args:
      points: on the predicted surface.
      target: on the true surface.
      num_steps: 100 in Unicorn's tests, 30 in its validation.
      num_points: fit to so many evenly chosen points of each set, to save time; None: to all.

    Returns:
      the alignment; no worse, in the measure above on the points fitted to, than leaving the prediction alone.

    Raises:
      ValueError: a set is empty or has a coordinate that is not finite, or the prediction has no extent.

    Source: Monnier et al., Unicorn, ECCV 2022, released evaluation; six numbers: Zhou et al., CVPR 2019.
    """
    # AST-DIFF: three points of the released code are not followed. It scales the prediction to [-0.5, 0.5]^3,
    # which is the box of its truth, not of every truth. It stores scale and translation of the best step by
    # reference, so that those of the last step come out with the rotation of the best. It starts from the scaled
    # prediction only, and leaves the normals as they were.
    points, target = _checked("points", points, num_points), _checked("target", target, num_points)
    start = _fit_box(points, target)
    centred, origin = start.move(points), _middle(target)
    params = {"six": jnp.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), "scale": jnp.ones(3), "shift": jnp.zeros(3)}
    state = optax.adam(_LEARNING_RATE).init(params)
    source, goal = centred - origin, target - origin
    tree = plain_tree(goal)
    identity = Alignment(np.ones(3), np.eye(3), np.zeros(3))
    best, best_loss = identity, _search(points, target, plain_tree(target))[0]
    for step in range(num_steps + 1):
        motion = _to_alignment(params)
        loss, to_goal, to_source = _search(motion.move(source), goal, tree)
        if step % _CHECK_EVERY == 0 and loss < best_loss:
            best, best_loss = _combine(start, motion, origin), loss
        if step < num_steps:
            params, state = _step(params, state, _f32(source), _f32(goal), to_goal, to_source)
    return best


def _checked(name: str, points: np.ndarray, num_points: int | None) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError(f"{name}: at least one point and finite coordinates are needed to align surfaces.")
    if num_points is None or num_points >= len(points):
        return points
    return points[np.linspace(0, len(points) - 1, num_points).astype(np.int64)]


def _middle(points: np.ndarray) -> np.ndarray:
    return 0.5 * (points.min(axis=0) + points.max(axis=0))


def _fit_box(points: np.ndarray, target: np.ndarray) -> Alignment:
    """Centre and longest side of the box of the target."""
    side = np.ptp(points, axis=0).max()
    if side <= 0.0:
        raise ValueError("points: all in one place; a prediction without extent cannot be scaled to the truth.")
    scale = np.full(3, np.ptp(target, axis=0).max() / side)
    return Alignment(scale, np.eye(3), _middle(target) - scale * _middle(points))


def _search(points: np.ndarray, target: np.ndarray, tree) -> tuple[float, np.ndarray, np.ndarray]:
    """The measure, and the nearest points both ways."""
    to_target, target_index = tree.query(points)
    to_points, points_index = plain_tree(points).query(target)
    loss = float(np.square(to_target).mean() + np.square(to_points).mean())
    return loss, target_index.astype(np.int32), points_index.astype(np.int32)


@partial(jax.jit, donate_argnums=(0, 1))
def _step(params, state, points, target, target_index, points_index):
    """One step of Adam with the nearest points held."""

    def loss(p):
        moved = (points * p["scale"][None]) @ rotation_from_6d(p["six"]) + p["shift"][None]
        forward = jnp.square(moved - target[target_index]).sum(axis=1).mean()
        return forward + jnp.square(moved[points_index] - target).sum(axis=1).mean()

    updates, state = optax.adam(_LEARNING_RATE).update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


def _f32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def _to_alignment(params) -> Alignment:
    left, _, right = np.linalg.svd(np.asarray(rotation_from_6d(params["six"]), np.float64))  # orthonormal in double too
    return Alignment(np.asarray(params["scale"], np.float64), left @ right, np.asarray(params["shift"], np.float64))


def _combine(start: Alignment, motion: Alignment, origin: np.ndarray) -> Alignment:
    """First ``start`` (which does not turn), then ``motion`` about the origin given."""
    shift = ((start.translation - origin) * motion.scale) @ motion.rotation + motion.translation + origin
    return Alignment(start.scale * motion.scale, motion.rotation, shift)
