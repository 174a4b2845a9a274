"""The protocol of UMR on CUB-200-2011: soft masks, and key points transferred by cameras through the mean shape."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Bool, Float

from ast_jax.evaluation.keypoints import THRESHOLDS, umr_pairs
from ast_jax.evaluation.mask_iou import mask_iou
from ast_jax.evaluation.metrics import METRICS
from ast_jax.evaluation.nearest import plain_tree
from ast_jax.evaluation.protocols.base import Item, Protocol, first_view
from ast_jax.evaluation.protocols.pictures import BOX_SCALE, camera_of, halved, project, seen_in_both, transfer_errors
from ast_jax.evaluation.published import CUB_MASKS
from ast_jax.evaluation.results import Evaluation
from render import soft_coverage

_NUM_PAIRS = 10_000  # in the commands of the README; the flag's default is 1,000
# Of UMR's renderer. Below half a unit in the last place of 1 in single precision nothing is left of a face there.
_SIGMA, _VANISHES = 1e-5, 2.0**-25


@partial(jax.jit, static_argnames="size")
def _coverage(vertices, faces, camera, size: int) -> Float[jax.Array, "b size size"]:
    clip = camera.project(vertices)
    return soft_coverage(clip, faces, (size, size), _SIGMA, cutoff=_VANISHES)


def _measure(item: Item) -> dict:
    """Soft IoU of the mask; the mean shape in the picture, and the pixels of the predicted mask nearest to it."""
    batch = item.batch()
    camera, vertices = camera_of(item, batch), np.asarray(item.predicted.vertices, np.float32)
    mask, size = batch.target_masks[:, 0], batch.target_masks.shape[-1]
    alpha = halved(np.asarray(_coverage(vertices, item.predicted.faces, camera, 2 * size), np.float64))
    mean = item.predicted.mean_vertices
    points = np.asarray(project(vertices if mean is None else np.asarray(mean, np.float32), camera))[0]
    return {
        "mask_iou_soft": mask_iou(alpha, mask, threshold=None)[0],
        "points_ndc": points,
        "snapped_ndc": snap_to_mask(points, alpha[0] > 0),
        "keypoints": batch.keypoints_ndc[0, 0],
    }


def snap_to_mask(points_ndc: Float[np.ndarray, "v 2"], mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "v 2"]:
    """The centre of the nearest pixel of the mask for each point; the points as they are where the mask is empty.

    Args:
      points_ndc: in the picture.
      mask: of the picture.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return points_ndc
    height, width = mask.shape
    centres = np.stack([(columns + 0.5) * 2 / width - 1, 1 - (rows + 0.5) * 2 / height], axis=1)
    return centres[plain_tree(centres).query(points_ndc)[1]].astype(points_ndc.dtype)


def _finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
    """Key points from one picture to another, both ways, over the published list of pairs."""
    result = Evaluation(ids, {"mask_iou_soft": measured["mask_iou_soft"]})
    keypoints = measured["keypoints"]
    if not keypoints.shape[1]:
        return result
    pairs = umr_pairs(len(ids), _NUM_PAIRS)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    error = BOX_SCALE * transfer_errors(keypoints, measured["points_ndc"], measured["snapped_ndc"], pairs)
    seen = seen_in_both(keypoints, *pairs.T)
    for threshold in THRESHOLDS:
        name = f"pck_{round(100 * threshold):02d}"
        result.metrics[name] = (error < threshold).astype(float)
        result.weights[name], result.units[name] = seen.astype(float), pairs
    return result


UMR = Protocol(
    description="soft mask IoU, PCK by transfer through the mean shape between 10,000 pairs (both ways, fraction of the"
    " box, mean over key points)",
    choose_views=first_view,
    measure=_measure,
    finish=_finish,
    own_columns=("mask_iou_soft", "pck_10", "pck_15"),
    metrics=METRICS,
    published=CUB_MASKS,
    input_crop="frame",
    render_size=256,
    variant="cmr",
    photographs=True,
    note="As UMR's `test_kp.py --mode cam` with the 10,000 pairs of its README (default of the flag: 1,000). UMR counts"
    " pixels from corner to corner, ours are squares: half a pixel. A method without a mean shape is measured through"
    " the shape of each picture.",
)
