"""Objects that are nearly the same shape, and splits that keep them on one side."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.data.occupancy import surface_occupancy

# 20^3 surface voxels and an intersection over union of 0.75 tell apart what the eye calls different models.
RESOLUTION = 20
THRESHOLD = 0.75


def shape_fingerprint(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Bool[np.ndarray, "r r r"]:
    """Surface voxels of the mesh, its bounding box centred and its longest side scaled to the grid."""
    used = np.asarray(vertices, np.float64)[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    scale = 1.0 / max((high - low).max(), 1e-12)
    return surface_occupancy((vertices - 0.5 * (low + high)) * scale, faces, RESOLUTION)


def cluster_shapes(
    fingerprints: Sequence[Bool[np.ndarray, "r r r"]], threshold: float = THRESHOLD
) -> Int[np.ndarray, " n"]:
    """Greedy clusters: a shape joins the first cluster whose founder it resembles, or founds one.

    Two shapes are alike when the IoU of their grids, or of one with the other's mirror image in x, reaches
    the threshold.

    Returns:
      The cluster number of each shape, counted from 0.
    """
    labels = np.zeros(len(fingerprints), np.int64)
    founders = np.zeros((0, 0), np.uint64)  # a row of bits each
    sizes = np.array([np.count_nonzero(grid) for grid in fingerprints])
    founded: list[int] = []
    for k, grid in enumerate(fingerprints):
        bits, mirrored = _bits(grid), _bits(grid[::-1])
        if len(founded) == len(founders):
            founders = np.concatenate(
                [founders.reshape(-1, len(bits)), np.zeros((len(founders) + 64, len(bits)), np.uint64)]
            )
        theirs = sizes[founded]
        # An IoU is at most the smaller size over the larger one.
        near = np.flatnonzero(np.minimum(theirs, sizes[k]) >= threshold * np.maximum(theirs, sizes[k]))
        ious = np.maximum(*(_ious(side, sizes[k], founders[near], theirs[near]) for side in (bits, mirrored)))
        hits = near[ious >= threshold]
        labels[k] = hits[0] if len(hits) else len(founded)
        if not len(hits):
            founders[len(founded)] = bits
            founded.append(k)
    return labels


def _bits(grid) -> np.ndarray:
    """64 voxels a number."""
    packed = np.packbits(grid)
    return np.pad(packed, (0, -len(packed) % 8)).view(np.uint64)


def _ious(bits, size, founders, sizes) -> np.ndarray:
    """Of one grid with each of many, all as bits."""
    both = np.bitwise_count(founders & bits).sum(1, dtype=np.int64)
    return both / np.maximum(size + sizes - both, 1)


def join_labels(*labellings: Sequence | np.ndarray) -> Int[np.ndarray, " n"]:
    """Numbers of the finest partition that keeps together whatever any of the labellings keeps together."""
    count = len(labellings[0])
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for labels in labellings:
        first: dict = {}
        for k, label in enumerate(labels):
            parent[root(k)] = root(first.setdefault(label, k))
    _, numbers = np.unique([root(k) for k in range(count)], return_inverse=True)
    return numbers.astype(np.int64)


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises a ValueError where these are not the fractions of train, val and test."""
    if len(fractions) != 3 or not (min(fractions) >= 0 and abs(sum(fractions) - 1) <= 1e-6):
        raise ValueError(f"split_fractions={tuple(fractions)}: three numbers >= 0 that sum to 1 are needed.")


def split_by_group(
    groups: Sequence | np.ndarray, fractions: tuple[float, float, float], seed: int
) -> dict[str, list[int]]:
    """Cut into train, val and test; a group is never divided.

    Groups come in random order and go to the test set if they still fit there, else to the validation set
    if they fit there, else to the training set: so large groups are trained on.

    Args:
      groups: one label per object.
      fractions: of the objects, for train, val, test; they sum to 1.

    Returns:
      Positions of the objects, ascending, per split. With three groups or more, every split of a positive
      fraction has room for one object at least.

    Raises:
      ValueError: fractions that are negative or do not sum to 1.
    """
    check_fractions(fractions)
    labels = list(dict.fromkeys(groups))
    quota = {name: round(f * len(groups)) for name, f in zip(("val", "test"), fractions[1:])}
    if len(labels) >= 3:
        quota = {name: max(q, 1 if f > 0 else 0) for (name, q), f in zip(quota.items(), fractions[1:])}
    members: dict = {label: [] for label in labels}
    for k, label in enumerate(groups):
        members[label].append(k)
    result: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for position in np.random.default_rng(seed).permutation(len(labels)):
        rows = members[labels[position]]
        fits = [name for name in ("test", "val") if len(result[name]) + len(rows) <= quota[name]]
        result[fits[0] if fits else "train"] += rows
    return {name: sorted(rows) for name, rows in result.items()}
