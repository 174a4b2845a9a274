"""Weak-perspective cameras and mean 3D key points from 2D key points of many pictures of one category.

``x_ij = s_i (R_i X_j)_xy + t_i`` for visible key points j of picture i; X is the same for all pictures and symmetric
about x = 0. Everything is least squares and deterministic.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

MIN_VISIBLE = 4
MIRROR = np.array([-1.0, 1.0, 1.0])
# Rounds of filling in what is hidden, and of cameras and points by turns, at most: they end where a round changes no
# coordinate (of an object of size 1 or 2) by more than the tolerance. Newton steps from each first rotation, and last.
FILL_ROUNDS, RESTARTS, JOINT_ROUNDS, TOLERANCE = 1000, 3, 100, 1e-6
START_STEPS, LAST_STEPS = 8, 30


@dataclass(frozen=True)
class Motion:
    """What the key points tell.

    Args:
      scale: ``[n]`` pixels per world unit.
      trans: ``[n, 2]`` pixels.
      rotation: ``[n, 3, 3]`` world to view: x right, y down, z forward.
      points: ``[p, 3]`` mean key points: symmetric about x = 0, left at +x, front at +z, +y up; the largest distance
        is 2 (CMR's size).
      found: ``[n]``; where False, there are too few key points, and the camera is not finite.
      error: ``[n]`` root mean square of the reprojection error over the larger side of the key points' box.
    """

    scale: Float[np.ndarray, " n"]
    trans: Float[np.ndarray, "n 2"]
    rotation: Float[np.ndarray, "n 3 3"]
    points: Float[np.ndarray, "p 3"]
    found: Bool[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Semantics:
    """Which key points tell directions.

    Args:
      mirror: for each key point, the one on the other side, or itself.
      left: indices of those on the object's left.
      front: index pair (front, back).
      up: index pair (upper, lower); it tells the shape from its mirror image.
    """

    mirror: Int[np.ndarray, " p"]
    left: tuple[int, ...]
    front: tuple[int, int]
    up: tuple[int, int]


def structure_from_motion(parts: Float[np.ndarray, "n p 3"], semantics: Semantics) -> Motion:
    """Cameras and mean shape.

    Args:
      parts: x and y in pixels (y down), visible (> 0).
      semantics: of the key points.

    Returns:
      The motion; ``found`` tells which pictures have a camera.

    Raises:
      ValueError: fewer than ten pictures with enough key points, or a key point that is hidden in all of them.

    Source: Marques and Costeira, Estimating 3D shape from degenerate sequences with missing data, CVIU 2009, for the
      idea of filling in; Kanazawa et al., CMR, ECCV 2018, for pictures and their mirror images together.
    """
    visible = parts[..., 2] > 0
    # Key points that all lie in one place have no scale.
    low, high = (np.where(visible[..., None], parts[..., :2], far) for far in (np.inf, -np.inf))
    spread = (high.max(1) - low.min(1)).max(-1)
    found = (visible.sum(1) >= MIN_VISIBLE) & (spread > 0)
    if found.sum() < 10:
        raise ValueError(f"structure from motion: only {found.sum()} pictures have {MIN_VISIBLE} visible key points.")
    hidden = np.flatnonzero(~visible[found].any(0))
    if len(hidden):
        raise ValueError(f"structure from motion: key points {hidden.tolist()} are visible in no picture.")
    weight = visible[found].astype(np.float64)
    centred, centre, size = _normalised(parts[found, :, :2], weight)
    points = _canonical(_first_shape(centred, weight, semantics.mirror), semantics)
    points, scale, rotation, shift = _refined(points, centred, weight, semantics)
    residual = centred - (scale[:, None, None] * (points @ rotation[:, :2].mT) + shift[:, None])
    n = len(parts)
    motion = Motion(
        np.full(n, np.nan), np.full((n, 2), np.nan), np.full((n, 3, 3), np.nan), points, found, np.full(n, np.nan)
    )
    motion.scale[found], motion.rotation[found] = scale * size, rotation
    motion.trans[found] = shift * size[:, None] + centre
    motion.error[found] = np.sqrt((weight[..., None] * residual**2).sum((1, 2)) / weight.sum(1))
    return motion


def fit_camera(
    points: Float[np.ndarray, "p 3"], parts: Float[np.ndarray, "p 3"]
) -> tuple[float, Float[np.ndarray, "2"], Float[np.ndarray, "3 3"]]:
    """The camera of one picture, with key points as they are.

    Args:
      points: in the world, as ``Motion.points``.
      parts: x and y in pixels (y down), visible (> 0); at least ``MIN_VISIBLE``, not all in one place.

    Returns:
      scale, trans and rotation, as in `Motion`.
    """
    weight = (parts[None, :, 2] > 0).astype(np.float64)
    centred, centre, size = _normalised(parts[None, :, :2], weight)
    scale, rotation, shift = _cameras(points, centred, weight, *_best_start(points, centred, weight), steps=LAST_STEPS)
    return float(scale[0] * size[0]), shift[0] * size[0] + centre[0], rotation[0]


def _normalised(xy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key points about their mean and over the larger side of their box; hidden ones are zero."""
    centre = (weight[..., None] * xy).sum(1) / weight.sum(1)[:, None]
    centred = weight[..., None] * (xy - centre[:, None])
    size = np.maximum(np.ptp(centred, axis=1).max(-1), 1e-9)
    return centred / size[:, None, None], centre, size


def _first_shape(xy: np.ndarray, weight: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Points up to a rotation and a reflection, by rank-3 factorisation of pictures and mirror images.

    Hidden entries are filled in with the product of the factors again and again; then the one linear change of
    coordinates is found that makes the rows of all cameras orthogonal and equally long.
    """
    xy = np.concatenate([xy, xy[:, mirror] * [-1, 1]])
    known = np.concatenate([weight, weight[:, mirror]]) > 0
    rows, known = xy.transpose(0, 2, 1).reshape(2 * len(xy), -1), np.repeat(known, 2, axis=0)
    filled = np.where(known, rows, 0.0)
    for _ in range(FILL_ROUNDS):
        mean = filled.mean(1, keepdims=True)
        basis = np.linalg.eigh((filled - mean).T @ (filled - mean))[1][:, -3:]
        before, filled = filled, np.where(known, rows, (filled - mean) @ basis @ basis.T + mean)
        if np.abs(filled - before).max() < TOLERANCE:
            break
    motion = ((filled - filled.mean(1, keepdims=True)) @ basis).reshape(-1, 2, 3)
    return basis @ np.linalg.inv(_metric(motion)).T


def _metric(motion: Float[np.ndarray, "n 2 3"]) -> Float[np.ndarray, "3 3"]:
    """Q such that the two rows of each ``motion Q`` are orthogonal and equally long."""
    first, second = motion[:, 0], motion[:, 1]
    i, j = np.triu_indices(3)

    def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(i == j, 1, 2) * (a[:, i] * b[:, j] + a[:, j] * b[:, i]) / 2

    equations = np.concatenate([products(first, first) - products(second, second), 2 * products(first, second)])
    entries = np.linalg.svd(equations.T @ equations)[2][-1]
    square = np.zeros((3, 3))
    square[i, j] = square[j, i] = entries
    values, vectors = np.linalg.eigh(square * np.sign(np.trace(square)))
    # Noise may leave a direction without length; a thin one is a start for the rounds to come.
    return vectors * np.sqrt(np.maximum(values, 1e-3 * values[-1]))


def _canonical(points: np.ndarray, semantics: Semantics) -> np.ndarray:
    """Turned, reflected if need be, moved and scaled to the axes and size of `Motion.points`."""
    left = list(semantics.left)
    pairs = points[left] - points[semantics.mirror[left]]
    x = _unit((pairs / np.linalg.norm(pairs, axis=1, keepdims=True)).sum(0))
    front = points[semantics.front[0]] - points[semantics.front[1]]
    z = _unit(front - (front @ x) * x)
    points = (points - points.mean(0)) @ np.stack([x, np.cross(z, x), z]).T
    if points[semantics.up[0], 1] < points[semantics.up[1], 1]:
        points = points * [1, -1, 1]  # the pictures fit the mirror image as well, seen from behind
    points = (points + points[semantics.mirror] * MIRROR) / 2
    return points * (2 / np.linalg.norm(points[:, None] - points[None], axis=-1).max())


def _refined(points: np.ndarray, xy: np.ndarray, weight: np.ndarray, semantics: Semantics) -> tuple[np.ndarray, ...]:
    """Cameras and points by turns, then points, scale, rotation and shift of each picture."""
    for _ in range(RESTARTS):
        earlier = points
        scale, rotation = _best_start(points, xy, weight)
        for _ in range(JOINT_ROUNDS):
            scale, rotation, shift = _cameras(points, xy, weight, scale, rotation, steps=3)
            before = points
            points = _canonical(_points(xy, weight, scale, rotation, shift, semantics.mirror), semantics)
            if np.abs(points - before).max() < TOLERANCE:
                break
        if np.abs(points - earlier).max() < TOLERANCE:
            break  # other first rotations change nothing any more
    scale, rotation, shift = _cameras(points, xy, weight, *_best_start(points, xy, weight), steps=LAST_STEPS)
    return points, scale, rotation, shift


def _best_start(points: np.ndarray, xy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of several first rotations, the camera that a few steps from there bring closest, picture by picture."""
    best, chosen = np.full(len(xy), np.inf), None
    for rotation in Rotation.create_group("O").as_matrix():  # the 24 of a cube
        start = np.ones(len(xy)), np.broadcast_to(rotation, (len(xy), 3, 3))
        scale, turned, shift = _cameras(points, xy, weight, *start, steps=START_STEPS)
        residual = xy - (scale[:, None, None] * (points @ turned[:, :2].mT) + shift[:, None])
        error = (weight[..., None] * residual**2).sum((1, 2))
        better = error < best
        if chosen is None:
            chosen = scale, turned
        chosen = np.where(better, scale, chosen[0]), np.where(better[:, None, None], turned, chosen[1])
        best = np.minimum(error, best)
    return chosen


def _cameras(
    points: np.ndarray, xy: np.ndarray, weight: np.ndarray, scale: np.ndarray, rotation: np.ndarray, *, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale, rotation and shift of each picture by damped Gauss-Newton steps on rotation vector and scale."""
    total = weight.sum(1)[:, None]
    mean_points, mean_xy = weight @ points / total, (weight[..., None] * xy).sum(1) / total
    offset, target = points - mean_points[:, None], xy - mean_xy[:, None]
    damping = np.full(len(xy), 1e-3)
    cost, system = _linearised(offset, target, weight, scale, rotation)
    for _ in range(steps):
        hessian, gradient = system
        diagonal = np.einsum("nii->ni", hessian)
        damped = hessian + (damping[:, None] * diagonal + 1e-12)[..., None] * np.eye(4)
        step = -np.linalg.solve(damped, gradient[..., None])[..., 0]
        new_scale = scale * np.exp(np.clip(step[:, 3], -1, 1))
        new_rotation = _turn(step[:, :3]) @ rotation
        new_cost, new_system = _linearised(offset, target, weight, new_scale, new_rotation)
        better = new_cost <= cost
        cost, scale = np.where(better, new_cost, cost), np.where(better, new_scale, scale)
        rotation = np.where(better[:, None, None], new_rotation, rotation)
        system = [np.where(better.reshape(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in zip(new_system, system)]
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-9, 1e6)
    shift = mean_xy - scale[:, None] * np.einsum("nij,nj->ni", rotation[:, :2], mean_points)
    return scale, rotation, shift


def _linearised(offset, target, weight, scale, rotation) -> tuple[np.ndarray, list[np.ndarray]]:
    """Squared error, and the normal equations for a turn (applied after the rotation) and the scale's logarithm."""
    view = scale[:, None, None] * (offset @ rotation.mT)
    x, y, z = view[..., 0], view[..., 1], view[..., 2]
    zero = np.zeros_like(x)
    # d(a x view)/da and d/dlog(scale), of the x and the y row.
    jacobian = np.stack([np.stack([zero, z, -y, x], -1), np.stack([-z, zero, x, y], -1)], -2)
    residual = view[..., :2] - target
    weighted = weight[..., None, None] * jacobian
    hessian = np.einsum("npia,npib->nab", weighted, jacobian, optimize=True)
    gradient = np.einsum("npia,npi->na", weighted, residual, optimize=True)
    return (weight[..., None] * residual**2).sum((1, 2)), [hessian, gradient]


def _turn(vector: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotation matrices of rotation vectors (Rodrigues)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    x, y, z = vector.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    safe = np.maximum(angle, 1e-12)
    return np.eye(3) + np.sin(angle) / safe * cross + (1 - np.cos(angle)) / safe**2 * cross @ cross


def _points(xy, weight, scale, rotation, shift, mirror) -> np.ndarray:
    """Least-squares points of known cameras; each also answers for the mirror image of its counterpart."""
    rows = scale[:, None, None] * rotation[:, :2]
    square = np.einsum("np,nia,nib->pab", weight, rows, rows, optimize=True)
    right = np.einsum("np,nia,npi->pa", weight, rows, xy - shift[:, None], optimize=True)
    square = square + MIRROR[:, None] * square[mirror] * MIRROR
    right = right + MIRROR * right[mirror]
    return np.linalg.solve(square, right[..., None])[..., 0]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
