"""Baselines that reconstruct nothing: they answer a picture with shapes of the training set.

Source: Tatarchenko et al., What do single-view 3D reconstruction networks learn, CVPR 2019.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.data.batch_crops import cut_inputs
from ast_jax.data.crop import area_downsample
from ast_jax.data.pipeline import DataSource
from ast_jax.evaluation.hidden import half_ious
from ast_jax.evaluation.protocols.freeshapes import evenly_spaced_views
from ast_jax.evaluation.results import Evaluation
from ast_jax.evaluation.voxel_iou import voxel_iou

_MASK_SIZE = 32
_VOTERS = 5
# Training objects compared at once: bounds the memory for data sets of any size.
_AT_ONCE = 256


def evaluate_retrieval(train: DataSource, source: DataSource, num_views: int) -> dict[str, Evaluation]:
    """What the training objects whose masks are most like the input's say, and the best that any of them could.

    Masks are cropped as the model's input is, or compared in their frames, where cameras at one distance tell the size
    of the object besides: more than a model is told that sees the crop. An object is as near as the nearest of its
    views. The vote of five takes the voxels that three of them share.

    Args:
      train: split to take shapes from; needs its solids.
      source: split to evaluate on.
      num_views: input views per object, evenly spaced.

    Returns:
      name of the method -> ``iou_3d``, ``iou_front`` and ``iou_hidden``, each the mean over the input views.
    """
    chosen = [evenly_spaced_views(int(n), num_views) for n in np.diff(source.first_sample)]
    samples = np.array([[source.sample_number(k, view) for view in views] for k, views in enumerate(chosen)])
    rotations = source.views["rotation"][samples]
    truth = np.stack([source.truth(k).occupancy for k in range(len(source.ids))])
    rows = {}
    for masks_of, how in ((cropped_masks, "by mask"), (frame_masks, "by mask in its frame")):
        overlap = _object_overlap(train, masks_of(source, samples.ravel()), masks_of)
        nearest = np.argsort(-overlap, axis=1, kind="stable")[:, :_VOTERS].reshape(*samples.shape, -1)
        rows[f"nearest training object, {how}"] = nearest[..., :1]
        rows[f"vote of the {_VOTERS} nearest, {how}"] = nearest
    oracle = _best_solids(train, truth)[:, None, None]
    rows["oracle: nearest training object, by IoU"] = np.broadcast_to(oracle, (*samples.shape, 1))
    return {name: _evaluate(train, source, truth, picked, rotations) for name, picked in rows.items()}


def cropped_masks(source: DataSource, samples: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n p"]:
    """Masks of samples as the model's input is cropped, flat."""
    boxes = [source.boxes[sample] for sample in samples]
    alpha = cut_inputs(source.images[samples], boxes, _MASK_SIZE, masked=True)[..., 3]
    return (alpha > 0.5).reshape(len(samples), -1)


def frame_masks(source: DataSource, samples: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n p"]:
    """Masks of samples where they lie in the stored square, flat."""
    alpha = area_downsample(source.targets[samples][..., 3:].astype(np.float32), _MASK_SIZE)[..., 0]
    return (alpha > 127).reshape(len(samples), -1)


def _object_overlap(train: DataSource, masks: Bool[np.ndarray, "n p"], masks_of: Callable) -> Float[np.ndarray, "n t"]:
    """Of each mask with the best view of every training object."""
    parts = []
    for start in range(0, len(train.ids), _AT_ONCE):
        end = min(start + _AT_ONCE, len(train.ids))
        first, last = train.first_sample[[start, end]]
        overlap = pairwise_iou(masks, masks_of(train, np.arange(first, last)))
        parts.append(np.maximum.reduceat(overlap, train.first_sample[start:end] - first, axis=1))
    return np.concatenate(parts, axis=1)


def pairwise_iou(a: Bool[np.ndarray, "n p"], b: Bool[np.ndarray, "m p"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of each of ``a`` with each of ``b``; 1 where both are empty."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    both = a @ b.T
    union = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def _best_solids(train: DataSource, truth: Bool[np.ndarray, "n r r r"]) -> Int[np.ndarray, " n"]:
    """The training object with the largest 3D IoU with each solid."""
    flat, overlaps = truth.reshape(len(truth), -1), []
    for start in range(0, len(train.ids), _AT_ONCE):
        members = range(start, min(start + _AT_ONCE, len(train.ids)))
        solids = np.stack([train.truth(k).occupancy.ravel() for k in members])
        overlaps.append(pairwise_iou(flat, solids))
    return np.concatenate(overlaps, axis=1).argmax(axis=1)


def _evaluate(train: DataSource, source: DataSource, truth, picked: Int[np.ndarray, "n s k"], rotations) -> Evaluation:
    solids = {int(k): train.truth(int(k)).occupancy for k in np.unique(picked)}
    names, rows = ("iou_3d", "iou_front", "iou_hidden"), []
    for true, views, cameras in zip(truth, picked, rotations):
        answers = [np.mean([solids[int(k)] for k in members], axis=0) >= 0.5 for members in views]
        scores = [(voxel_iou(a, true), *half_ious(a, true, rotation)) for a, rotation in zip(answers, cameras)]
        rows.append(np.mean(scores, axis=0))
    return Evaluation(tuple(source.ids), dict(zip(names, np.array(rows).T)))
