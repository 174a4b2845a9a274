"""How far predicted cameras are off: angles between rotations, and how the viewpoints are spread."""

import numpy as np
from jaxtyping import Float
from scipy.stats import entropy

Rotations = Float[np.ndarray, "b 3 3"]

_NUM_BINS = 100  # of the histograms of angles (Goel et al., U-CMR, ECCV 2020, released evaluation)


def rotation_errors_deg(rotation: Rotations, target: Rotations, *, aligned: bool = False) -> Float[np.ndarray, " b"]:
    """Geodesic distance: the angle of the rotation that takes one to the other, ``angle(R^T R')``.

    Computed as ``2 atan2(|R - R'|, sqrt(8 - |R - R'|^2))`` with the Frobenius norm, which is accurate near 0 and 180
    degrees, where the arc cosine of the trace loses half of the digits.

    Args:
      rotation: predicted, world to view.
      target: the true ones, likewise.
      aligned: first turn the predicted object space by the one rotation that fits all pictures best. For methods
        without poses in training, whose object may look in any direction.

    Returns:
      degrees in [0, 180] per picture.

    Source: Huynh, Metrics for 3D rotations, JMIV 2009, Phi_6; Goel et al., U-CMR, ECCV 2020.
    """
    rotation, target = np.asarray(rotation, np.float64), np.asarray(target, np.float64)
    if aligned:
        rotation = rotation @ best_gauge(rotation, target)[None]
    square = np.square(rotation - target).sum(axis=(1, 2))
    return np.degrees(2.0 * np.arctan2(np.sqrt(square), np.sqrt(np.maximum(8.0 - square, 0.0))))


def best_gauge(rotation: Rotations, target: Rotations) -> Float[np.ndarray, "3 3"]:
    """The rotation G of object space with the least ``sum_b |R_b G - R'_b|^2``: orthogonal Procrustes.

    Args:
      rotation: predicted, world to view.
      target: the true ones, likewise.

    Returns:
      G, determinant 1: ``R G`` is the predicted camera of the true object space.

    Source: Umeyama, TPAMI 1991; Hartley et al., Rotation averaging, IJCV 2013, section 5.3 (chordal L2 mean).
    """
    product = np.einsum("bji,bjk->ik", np.asarray(rotation, np.float64), np.asarray(target, np.float64))
    left, _, right = np.linalg.svd(product)
    return left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right


def viewpoint_angles_deg(rotation: Rotations) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """From where the camera looks at the object: azimuth 0 is its front (+Z) and grows towards +X.

    Args:
      rotation: world to view.

    Returns:
      azimuth in (-180, 180] and elevation in [-90, 90], degrees.
    """
    x, y, z = np.moveaxis(np.asarray(rotation, np.float64)[:, 2], -1, 0)  # the view's backward axis in the world
    return np.degrees(np.arctan2(x, z)), np.degrees(np.arctan2(y, np.hypot(x, z)))


def circular_wasserstein_deg(angles_deg: Float[np.ndarray, " m"], target_deg: Float[np.ndarray, " n"]) -> float:
    """Earth mover's distance between two sets of angles on the circle.

    ``min_c integral |F(t) - G(t) - c| dt`` over one turn, with F and G the shares below t: c is a median of F - G.

    Args:
      angles_deg: predicted azimuths, in any turn.
      target_deg: the true ones.

    Returns:
      degrees in [0, 180]: how far the mass has to move on average.

    Source: Rabin, Delon and Gousseau, Transportation distances on the circle, JMIV 2011. U-CMR cuts the circle at
      180 degrees and so counts from 179 to -179 as 358 degrees.
    """
    first, second = np.sort(np.mod(angles_deg, 360.0)), np.sort(np.mod(target_deg, 360.0))
    borders = np.unique(np.concatenate([[0.0], first, second, [360.0]]))
    below = borders[:-1]
    gap = np.searchsorted(first, below, side="right") / len(first)
    gap = gap - np.searchsorted(second, below, side="right") / len(second)
    widths = np.diff(borders)
    order = np.argsort(gap, kind="stable")
    half = np.searchsorted(np.cumsum(widths[order]), 0.5 * widths.sum())
    middle = gap[order[min(half, len(order) - 1)]]
    return float((np.abs(gap - middle) * widths).sum())


def angle_divergence(
    angles_deg: Float[np.ndarray, " m"],
    target_deg: Float[np.ndarray, " n"],
    limits_deg: tuple[float, float],
    *,
    num_bins: int = _NUM_BINS,
    pseudo_count: float = 0.0,
) -> float:
    """Kullback-Leibler divergence of histograms: ``sum_i p_i log(p_i / q_i)``, p predicted, q true.

    Args:
      angles_deg: predicted.
      target_deg: the true ones.
      limits_deg: lower and upper end of the histogram; (-180, 180) for azimuths, (-90, 90) for elevations.
      num_bins: 100 in U-CMR.
      pseudo_count: added to every bin. 0 as in U-CMR is infinite where a prediction falls in a bin without truth.

    Returns:
      nats, >= 0.

    Raises:
      ValueError: an angle lies beyond the limits.

    Source: Goel et al., U-CMR, ECCV 2020, released evaluation.
    """
    for name, values in (("angles_deg", angles_deg), ("target_deg", target_deg)):
        if np.min(values) < limits_deg[0] or np.max(values) > limits_deg[1]:
            raise ValueError(f"{name}: has an angle beyond {limits_deg}; bring all into one turn.")
    counts = [np.histogram(values, num_bins, limits_deg)[0] + pseudo_count for values in (angles_deg, target_deg)]
    return float(entropy(*counts))
