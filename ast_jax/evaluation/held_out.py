"""One call for all metrics of one method on one split, and the baselines that need no picture."""

import numpy as np
from jaxtyping import Float, Int

from ast_jax.data.pipeline import DataSource
from ast_jax.evaluation.protocols.freeshapes import DEFAULT_NUM_VIEWS, NUM_POINTS, evenly_spaced_views, freeshapes
from ast_jax.evaluation.results import Evaluation
from ast_jax.evaluation.run import evaluate
from ast_jax.evaluation.shape3d import voxel_iou
from ast_jax.prediction import Predict, Prediction

__all__ = ["constant_predictor", "evaluate_mean_shape", "evaluate_predictions", "evenly_spaced_views"]


def constant_predictor(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Predict:
    """The baseline that answers every picture with one shape, such as the template.

    Args:
      vertices: of the shape, object units.
      faces: of the shape.

    Returns:
      a function for `evaluate_predictions`.
    """
    return lambda image: Prediction(np.broadcast_to(vertices[None], (len(image), *vertices.shape)), faces)


def evaluate_predictions(
    predict: Predict,
    source: DataSource,
    *,
    num_views: int = DEFAULT_NUM_VIEWS,
    num_points: int = NUM_POINTS,
    resolution: int = 32,
) -> Evaluation:
    """All metrics of one method on one split, by the protocol ``freeshapes``.

    Args:
      predict: from ``num_views`` pictures of one object to as many shapes, in object space.
      source: the split; it makes the pictures as it does in training, without augmentation.
      num_views: input views per object, evenly spaced over its views.
      num_points: sampled on each predicted surface.
      resolution: of the voxel grid; must be that of the stored solids.

    Returns:
      per object, the mean over its input views of ``iou_3d``, ``chamfer_l1``, ``f_score``, ``mask_iou_seen``,
      ``mask_iou_unseen`` and, if the prediction has a texture, ``psnr_unseen`` (within the true mask).

    Raises:
      ValueError: more input views than an object has, or a prediction that is not finite.
    """
    return evaluate(freeshapes(num_views, num_points, resolution), predict, source)


def evaluate_mean_shape(train: DataSource, source: DataSource) -> Evaluation:
    """The baseline that answers every picture with the voxels that most training objects share.

    The voxel-wise mean of the training solids is cut at the level with the best mean IoU on those solids.

    Args:
      train: split to take the mean of.
      source: split to evaluate on.

    Returns:
      ``iou_3d`` of each object.

    Source: Tatarchenko et al., What do single-view 3D reconstruction networks learn, CVPR 2019 (mean shape).
    """
    solids = np.stack([train.truth(i).occupancy for i in range(len(train.ids))])
    mean = solids.mean(axis=0)
    levels = np.linspace(0.05, 0.95, 19)
    scores = [np.mean([voxel_iou(mean >= level, solid) for solid in solids]) for level in levels]
    shape = mean >= levels[int(np.argmax(scores))]
    values = [voxel_iou(shape, source.truth(i).occupancy) for i in range(len(source.ids))]
    return Evaluation(tuple(source.ids), {"iou_3d": np.array(values)})
