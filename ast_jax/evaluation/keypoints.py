"""Percentage of correct key points: papers print three measures under this one name; `pck` is the first.

| protocol | of | what moves | error over | mean |
|---|---|---|---|---|
| `cub_cmr` | CMR | predicted key points, in their own picture | side of the box | per key point, then of these |
| `cub_umr` | UMR, CSM | key points of one picture to another | side of the box | per key point, then of these |
| `cub_ast` | Unicorn, AST | key points of one picture to another | side of the picture | over all at once |
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

# Kanazawa et al., CMR, ECCV 2018.
THRESHOLDS = (0.10, 0.15)
# Monnier et al., Unicorn, ECCV 2022, released evaluation; AST uses the same.
POOLED_THRESHOLDS = (0.05, 0.10, 0.15)
_FIRST_SEED = 123  # of the pairs, likewise

Masks = Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"]


def pck(
    predicted_ndc: Float[np.ndarray, "b p 2"],
    target: Float[np.ndarray, "b p 3"],
    masks: Masks | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    box_share: Float[np.ndarray, " b"] | None = None,
) -> Float[np.ndarray, " k"]:
    """Share of visible key points whose error is at most a fraction of the size of the object in the picture.

    ``mean_p mean_{b: visible} [ |predicted - target| <= threshold * side_b ]`` in pixels, with side_b the
    longer side of the bounding box, without padding. Key points that are visible nowhere do not count.

    Args:
      predicted_ndc: projected key points, NDC.
      target: x, y in NDC and visible (0 or 1).
      masks: of the object; pixels above one half are inside and give the box.
      thresholds: fractions of the side of the bounding box.
      box_share: the annotated box instead: its longer side as a fraction of the square picture. This is CMR's.

    Returns:
      one share in [0, 1] per threshold; NaN if no key point is visible at all.

    Raises:
      ValueError: neither or both of masks and box_share, or a mask is empty, so the object has no size.

    Source: Kanazawa et al., CMR, ECCV 2018, section 4.2 and released code.
    """
    error = _box_error(predicted_ndc, target, masks, box_share)
    return _mean_over_keypoints(error, target[..., 2] > 0.5, thresholds)


def transfer_keypoints(
    keypoints: Float[np.ndarray, "b p 3"],
    source_points: Float[np.ndarray, "b v 2"],
    target_points: Float[np.ndarray, "b v 2"],
    usable: Bool[np.ndarray, "b v"] | None = None,
) -> Float[np.ndarray, "b p 2"]:
    """Carry key points to another picture: the nearest point of the surface there, then the same point here.

    Args:
      keypoints: of the source picture, x, y in NDC; the third number is not used.
      source_points: points of the surface in the source picture, NDC. Unicorn and AST: projected vertices of the
        predicted shape. UMR by camera: of the mean shape. UMR by flow: where each texel takes its colour.
      target_points: the same points in the target picture.
      usable: which points may be chosen. Unicorn and AST: the visible vertices of the source, from
        `visible_vertices`. None: all.

    Returns:
      positions in the target picture, NDC.

    Raises:
      ValueError: a picture has no usable point.

    Source: Monnier et al., Unicorn, ECCV 2022, and Li et al., UMR, ECCV 2020: released evaluation.
    """
    distance = np.linalg.norm(keypoints[:, :, None, :2] - source_points[:, None], axis=-1)
    if usable is not None:
        empty = np.flatnonzero(~usable.any(axis=1))
        if len(empty):
            raise ValueError(f"usable: picture {empty[0]} of the batch has no usable point; nothing to transfer by.")
        distance = np.where(usable[:, None], distance, np.inf)
    return np.take_along_axis(target_points, distance.argmin(axis=-1)[..., None], axis=1)


def visible_vertices(
    face_id: Int[np.ndarray, "b h w"], faces: Int[np.ndarray, "f 3"], num_vertices: int
) -> Bool[np.ndarray, "b v"]:
    """The corners of all faces that some pixel sees.

    Args:
      face_id: of `render.rasterize`, -1 where there is no face.
      faces: of the mesh.
      num_vertices: of the mesh.

    Returns:
      one value per vertex.

    Source: Monnier et al., Unicorn, ECCV 2022, released evaluation.
    """
    visible = np.zeros((len(face_id), num_vertices), bool)
    for row, image in zip(visible, face_id):
        row[faces[np.unique(image[image >= 0])]] = True
    return visible


def transfer_pairs(num_images: int, num_pairs: int) -> Int[np.ndarray, "n 2"]:
    """The pairs of pictures that Unicorn and AST compare.

    Permutations of all pictures, of which the first half is paired with the last half, one after the other until
    there are enough pairs. The seed of each is 123 plus the number of pairs before it.

    Args:
      num_images: of the test split.
      num_pairs: 10 000 in Unicorn, 100 by default on the command line of AST.

    Returns:
      indices of both pictures.

    Raises:
      ValueError: fewer than two pictures.

    Source: Monnier et al., Unicorn, ECCV 2022, and AST: released evaluation.
    """
    if num_images < 2:
        raise ValueError(f"num_images={num_images}: at least two pictures are needed for a pair.")
    half, pairs = num_images // 2, np.zeros((0, 2), np.int64)
    while len(pairs) < num_pairs:
        # The legacy generator, for these are published lists.
        order = np.random.RandomState(_FIRST_SEED + len(pairs)).permutation(num_images)
        pairs = np.concatenate([pairs, np.stack([order[:half], order[-half:]], axis=1)])
    return pairs[:num_pairs]


def umr_pairs(num_images: int, num_pairs: int) -> Int[np.ndarray, "n 2"]:
    """The pairs of pictures that UMR and CSM compare: both drawn with replacement, so that some pair a picture with
    itself. The seed is the number of pictures.

    Args:
      num_images: of the test split.
      num_pairs: 10 000 in the README of UMR, 1 000 by default. The second pictures of another number are others.

    Returns:
      indices of both pictures.

    Source: Li et al., UMR, ECCV 2020, released evaluation.
    """
    rng = np.random.RandomState(num_images)  # The legacy generator, for these are published lists.
    return np.stack([rng.choice(num_images, num_pairs), rng.choice(num_images, num_pairs)], axis=1)


def _box_error(predicted, target, masks, box_share) -> Float[np.ndarray, "b p"]:
    """Distance over the longer side of the box."""
    if (masks is None) == (box_share is None):
        raise ValueError("masks, box_share: give exactly one; it says how large the object is in the picture.")
    offset = predicted - target[..., :2]
    if box_share is not None:
        return 0.5 * np.linalg.norm(offset, axis=-1) / np.asarray(box_share, np.float64)[:, None]
    height, width = masks.shape[1:]
    error_px = np.linalg.norm(offset * (np.array([width, height], np.float64) / 2.0), axis=-1)
    return error_px / _box_sides_px(masks)[:, None]


def _mean_over_keypoints(error, counted, thresholds: Sequence[float]) -> Float[np.ndarray, " k"]:
    """Share within each threshold, per key point over the batch, then the mean of the key points."""
    seen = counted.any(axis=0)
    if not seen.any():
        return np.full(len(thresholds), np.nan)
    correct = [np.where(counted, error <= threshold, False).sum(axis=0) for threshold in thresholds]
    return np.array([(c[seen] / counted.sum(axis=0)[seen]).mean() for c in correct])


def _box_sides_px(masks: np.ndarray) -> np.ndarray:
    """The longer side of the bounding box of each mask."""
    sides = []
    for index, mask in enumerate(masks):
        rows, columns = np.nonzero(mask > 0.5)
        if not len(rows):
            raise ValueError(f"masks: number {index} is empty, so the size of its object is unknown.")
        sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
    return np.array(sides, np.float64)
