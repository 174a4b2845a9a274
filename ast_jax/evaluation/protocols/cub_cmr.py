"""The protocol of CMR on CUB-200-2011 and PASCAL3D+: soft masks, and key points in their own picture."""

import numpy as np

from ast_jax.evaluation.keypoints import THRESHOLDS
from ast_jax.evaluation.mask_iou import mask_iou
from ast_jax.evaluation.metrics import METRICS
from ast_jax.evaluation.protocols.base import Item, Protocol, first_view
from ast_jax.evaluation.protocols.pictures import BOX_SCALE, camera_of, face_ids, halved, project
from ast_jax.evaluation.published import CUB_CMR, CUB_MASKS
from ast_jax.evaluation.results import Evaluation


def _measure(item: Item) -> dict:
    """Soft IoU of the mask, and the error of each projected key point over the side of the box."""
    batch = item.batch()
    camera, vertices = camera_of(item, batch), np.asarray(item.predicted.vertices, np.float32)
    mask, size = batch.target_masks[:, 0], batch.target_masks.shape[-1]
    alpha = halved((np.asarray(face_ids(vertices, item.predicted.faces, camera, 2 * size)) >= 0).astype(np.float64))
    row = {"mask_iou_soft": mask_iou(alpha, mask, threshold=None)[0]}
    if item.predicted.keypoints_world is not None:
        target = batch.keypoints_ndc[0, 0]
        found = np.asarray(project(np.asarray(item.predicted.keypoints_world), camera))[0]
        row["error"] = 0.5 * np.linalg.norm(found - target[:, :2], axis=-1) / _box_share(item)
        row["seen"] = target[:, 2]
    return row


def _box_share(item: Item) -> float:
    """Side of the box over that of the picture: 1 / 1.1 of CMR's squares as its code has it, whatever was rounded."""
    if item.source.meta.get("variant") == "cmr":
        return 1 / BOX_SCALE
    return 1.0 if item.truth.box_share is None else float(item.truth.box_share[item.views[0]])


def _finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
    result = Evaluation(ids, {"mask_iou_soft": measured["mask_iou_soft"]})
    if "error" in measured:
        for threshold in THRESHOLDS:
            name = f"pck_{round(100 * threshold):02d}"
            result.metrics[name] = (measured["error"] < threshold).astype(float)
            result.weights[name] = measured["seen"]
    return result


CMR = Protocol(
    description="soft mask IoU, PCK of key points projected into their own picture, fraction of the box",
    choose_views=first_view,
    measure=_measure,
    finish=_finish,
    own_columns=("mask_iou_soft", "pck_10", "pck_15"),
    metrics=METRICS,
    published=CUB_CMR + CUB_MASKS[1:],
    input_crop="frame",
    render_size=256,
    variant="cmr",
    photographs=True,
    split="val",
    note="With given cameras (config.model.camera.kind='given') compare with the row of cameras from motion.",
)
