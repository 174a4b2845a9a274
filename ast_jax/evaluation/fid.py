"""Distances between two sets of pictures by features of each: the Frechet distance (FID) and the kernel distance (KID).

They are called FID and KID only of the pooled features of the Inception network of 2015-12-05
(`ast_jax.pretrained.inception`). Of other networks the same formulas give other numbers, under other names:
`ast_jax.evaluation.features`.
"""

import numpy as np
from jaxtyping import Float

# Binkowski et al., Demystifying MMD GANs, ICLR 2018: 100 subsets of 1000, of which the smaller set may have fewer.
_NUM_SUBSETS, _SUBSET_SIZE = 100, 1000


def fid(features_a: Float[np.ndarray, "m d"], features_b: Float[np.ndarray, "n e"]) -> float:
    """Frechet distance of the Gaussians with the means and covariances of two sets of features.

    ``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))``. With centred features ``S = X^T X / (n - 1)`` the trace
    of the root is the sum of the singular values of ``X_a X_b^T / sqrt((m - 1) (n - 1))``, which needs no root of
    a matrix that is nearly singular. Sets smaller than the number of features bias it upwards: compare equal sizes.

    Args:
      features_a: one row per picture, at least two.
      features_b: likewise, of the same length (e = d).

    Returns:
      a value >= 0.

    Raises:
      ValueError: fewer than two pictures, other lengths of the features, or a number that is not finite.

    Source: Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017; Dowson and Landau 1982.
    """
    a, b = _checked(features_a, features_b)
    mean_gap = a.mean(axis=0) - b.mean(axis=0)
    a = (a - a.mean(axis=0)) / np.sqrt(len(a) - 1)
    b = (b - b.mean(axis=0)) / np.sqrt(len(b) - 1)
    # Triangles of the QR decompositions have the same singular values of the product and at most d rows.
    small_a, small_b = (x if x.shape[0] <= x.shape[1] else np.linalg.qr(x, mode="r") for x in (a, b))
    root = np.linalg.svd(small_a @ small_b.T, compute_uv=False).sum()
    return max(float(mean_gap @ mean_gap + np.square(a).sum() + np.square(b).sum() - 2.0 * root), 0.0)


def kid(
    features_a: Float[np.ndarray, "m d"],
    features_b: Float[np.ndarray, "n e"],
    *,
    num_subsets: int = _NUM_SUBSETS,
    subset_size: int = _SUBSET_SIZE,
    seed: int = 0,
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel ``(x . y / d + 1)^3``, unbiased, over subsets.

    Args:
      features_a: one row per picture, at least two.
      features_b: likewise, of the same length (e = d).
      num_subsets: how often pictures are drawn, without replacement.
      subset_size: pictures per draw; of smaller sets all are taken.
      seed: the same seed gives the same draws.

    Returns:
      mean and standard deviation over the subsets. The mean may be below 0 and is 0 on average for equal
      distributions, whatever the size of the sets. Papers often print it times 100 or 1000.

    Raises:
      ValueError: as `fid`.

    Source: Binkowski et al., Demystifying MMD GANs, ICLR 2018, section 4.
    """
    a, b = _checked(features_a, features_b)
    rng, size = np.random.default_rng(seed), min(subset_size, len(a), len(b))
    draws = ((rng.choice(len(a), size, False), rng.choice(len(b), size, False)) for _ in range(num_subsets))
    values = [squared_mmd(a[first], b[second]) for first, second in draws]
    return float(np.mean(values)), float(np.std(values))


def squared_mmd(features_a: Float[np.ndarray, "m d"], features_b: Float[np.ndarray, "n e"]) -> float:
    """``mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean_{ij} k(a_i, b_j)``, k as in `kid`.

    Raises:
      ValueError: as `fid`.

    Source: Gretton et al., A kernel two-sample test, JMLR 2012, lemma 6 (unbiased).
    """
    a, b = _checked(features_a, features_b)
    within = 0.0
    for x in (a, b):
        kernel = _kernel(x, x)
        within += (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
    return float(within - 2.0 * _kernel(a, b).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def _checked(features_a: np.ndarray, features_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    if len(a) < 2 or len(b) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features: got {a.shape} and {b.shape}; give at least two rows each, equally long.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features: a number is not finite.")
    return a, b
