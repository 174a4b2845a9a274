"""The protocols of AST, Unicorn, CMR and UMR on CUB-200-2011: masks, and key points in three ways."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ast_jax.evaluation.image2d import mask_iou, psnr, ssim
from ast_jax.evaluation.keypoints import (
    POOLED_THRESHOLDS,
    THRESHOLDS,
    transfer_keypoints,
    transfer_pairs,
    visible_vertices,
)
from ast_jax.evaluation.protocols.base import Item, Protocol, first_view
from ast_jax.evaluation.published import CUB_CMR, CUB_MASKS
from ast_jax.evaluation.summary import Evaluation
from render import FaceTexels, Mesh, rasterize, render

# Both pictures of AST's and Unicorn's evaluation are drawn at 512, averaged to 256, and resized to the crop.
_DRAWN_SIZE, _SHOWN_SIZE = 512, 256
_NUM_PAIRS = {"ast": 10_000, "unicorn": 10_000, "umr": 10_000}


@partial(jax.jit, static_argnames="size")
def _face_ids(vertices, faces, camera, size: int):
    return rasterize(camera.project(vertices), faces, (size, size)).face_id


@jax.jit
def _project(vertices, camera):
    clip = camera.project(vertices)
    return clip[..., :2] / clip[..., 3:]


@partial(jax.jit, static_argnames="size")
def _draw(vertices, faces, camera, texels, size: int):
    black = jnp.zeros(3, vertices.dtype)
    mesh = Mesh(vertices, jnp.broadcast_to(faces, (len(vertices), *faces.shape)))
    picture = render(mesh, camera, (size, size), texture=FaceTexels(texels), blending="hard", background=black)
    return picture.rgb


def _camera_of(item: Item, batch):
    """The camera that the method found; the given one where it does not look for any."""
    found = item.predicted.camera
    return jax.tree.map(lambda x: x[:, 0], batch.camera) if found is None else found


def _silhouette(face_id: np.ndarray, size: int) -> Float[np.ndarray, "b size size"]:
    """Coverage at the size of the crop: 2 x 2 means of the drawn pixels, then bilinear as `torch.interpolate`.

    Without antialiasing, that takes only the pixels next to the centre of each output pixel.
    """
    drawn = (face_id >= 0).astype(np.float64)
    shown = drawn.reshape(len(drawn), _SHOWN_SIZE, 2, _SHOWN_SIZE, 2).mean(axis=(2, 4))
    return _bilinear(_bilinear(shown, size, 1), size, 2)


def _bilinear(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """One axis resized with pixel centres at +0.5, no antialiasing."""
    count = values.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.minimum(np.floor(place).astype(int), max(count - 2, 0))
    weight = (place - low).reshape(-1, *(1,) * (values.ndim - axis - 1))
    high = np.minimum(low + 1, count - 1)
    return np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight


def _measure_transfer(item: Item) -> dict:
    """Silhouette and colours of the picture itself, and what the transfer of key points needs."""
    batch = item.batch()
    camera, vertices = _camera_of(item, batch), np.asarray(item.predicted.vertices, np.float32)
    mask, size = batch.target_masks[:, 0], batch.target_masks.shape[-1]
    face_id = np.asarray(_face_ids(vertices, item.faces, camera, _DRAWN_SIZE))
    row = {
        "mask_iou": mask_iou(_silhouette(face_id, size), mask)[0],
        "points_ndc": np.asarray(_project(vertices, camera))[0],
        "visible": visible_vertices(face_id, item.faces, vertices.shape[1])[0],
        "keypoints": batch.keypoints_ndc[0, 0],
        "box_share": np.float64(np.nan if item.truth.box_share is None else item.truth.box_share[item.views[0]]),
    }
    if item.predicted.texels is not None:
        rgb = np.asarray(_draw(vertices, item.faces, camera, np.asarray(item.predicted.texels), size))
        target = _over_black(batch.target_images[:, 0], mask, item.source.config["background"])
        row |= {"psnr": psnr(rgb, target)[0], "ssim": ssim(rgb, target)[0]}
        row |= {"picture": _to_bytes(rgb[0]), "target": _to_bytes(target[0])}
    return row


def _to_bytes(image) -> np.ndarray:
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)


def _over_black(images, masks, background) -> Float[np.ndarray, "b h w 3"]:
    """Pictures that lie over the background, over black instead."""
    clear = (1 - np.asarray(masks))[..., None] * np.asarray(background, np.float32)
    return np.clip(np.asarray(images) - clear, 0.0, 1.0)


def _finish_transfer(ids: tuple[str, ...], measured: dict, *, num_pairs: int, pooled: bool) -> Evaluation:
    """Key points from one picture to another, both ways, over the published list of pairs."""
    pairs = transfer_pairs(len(ids), num_pairs)
    pairs = np.concatenate([pairs, pairs[:, ::-1]]) if pooled else pairs
    start, end = pairs.T
    keypoints, points = measured["keypoints"], measured["points_ndc"]
    usable = measured["visible"] if pooled else np.ones_like(measured["visible"])
    metrics = {n: measured[n] for n in ("mask_iou", "psnr", "ssim") if n in measured}
    result = Evaluation(ids, metrics)
    if not keypoints.shape[1]:
        return result
    error = _transfer_errors(keypoints, points, usable, start, end)
    if not pooled:
        error = error / measured["box_share"][end][:, None]
    seen = (keypoints[start, :, 2] > 0.5) & (keypoints[end, :, 2] > 0.5)
    for threshold in POOLED_THRESHOLDS if pooled else THRESHOLDS:
        name, correct = f"pck_{round(100 * threshold):02d}", (error <= threshold) & seen
        count = seen.sum(axis=1)
        result.metrics[name] = correct.sum(axis=1) / np.maximum(count, 1) if pooled else correct.astype(float)
        result.weights[name] = count if pooled else seen.astype(float)
        result.units[name] = pairs
    return result


def _transfer_errors(keypoints, points, usable: Bool[np.ndarray, "b v"], start, end) -> Float[np.ndarray, "n p"]:
    """Distances as fractions of the side of the picture; pairs in parts, for the memory."""
    parts = []
    for first in range(0, len(start), 256):
        a, b = start[first : first + 256], end[first : first + 256]
        moved = transfer_keypoints(keypoints[a], points[a], points[b], usable[a])
        parts.append(0.5 * np.linalg.norm(moved - keypoints[b, :, :2], axis=-1))
    return np.concatenate(parts)


def _measure_reprojection(item: Item) -> dict:
    """Soft IoU of the mask, and the error of each projected key point over the side of the box."""
    batch = item.batch()
    camera, vertices = _camera_of(item, batch), np.asarray(item.predicted.vertices, np.float32)
    mask, size = batch.target_masks[:, 0], batch.target_masks.shape[-1]
    face_id = np.asarray(_face_ids(vertices, item.faces, camera, 2 * size))
    alpha = (face_id >= 0).astype(np.float64).reshape(1, size, 2, size, 2).mean(axis=(2, 4))
    row = {"mask_iou_soft": mask_iou(alpha, mask, threshold=None)[0]}
    if item.predicted.keypoints_world is not None:
        target = batch.keypoints_ndc[0, 0]
        found = np.asarray(_project(np.asarray(item.predicted.keypoints_world), camera))[0]
        side = 1.0 if item.truth.box_share is None else item.truth.box_share[item.views[0]]
        row["error"] = 0.5 * np.linalg.norm(found - target[:, :2], axis=-1) / side
        row["seen"] = target[:, 2]
    if item.predicted.camera is not None and item.source.camera_kind != "unknown":
        row["camera_error_deg"] = _angle_deg(np.asarray(camera.rotation)[0], item.truth.rotation[item.views[0]])
    return row


def _angle_deg(first: Array | np.ndarray, second: np.ndarray) -> float:
    """Angle of the rotation between two rotations."""
    cosine = 0.5 * (np.trace(np.asarray(first, np.float64) @ np.asarray(second, np.float64).T) - 1.0)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _finish_reprojection(ids: tuple[str, ...], measured: dict) -> Evaluation:
    metrics = {n: measured[n] for n in ("mask_iou_soft", "camera_error_deg") if n in measured}
    result = Evaluation(ids, metrics)
    if "error" in measured:
        for threshold in THRESHOLDS:
            name = f"pck_{round(100 * threshold):02d}"
            result.metrics[name] = (measured["error"] <= threshold).astype(float)
            result.weights[name] = measured["seen"]
    return result


def _transfer_protocol(who: str, *, pooled: bool, columns: tuple[str, ...], **rest) -> Protocol:
    finish = partial(_finish_transfer, num_pairs=_NUM_PAIRS[who], pooled=pooled)
    return Protocol(
        choose_views=first_view, measure=_measure_transfer, finish=finish, columns=columns, input_crop="frame", **rest
    )


AST = _transfer_protocol(
    "ast",
    pooled=True,
    columns=("mask_iou", "pck_05", "pck_10", "pck_15", "psnr", "ssim"),
    description="mask IoU at 0.5, PCK by transfer between 10,000 pairs (both ways, fraction of the crop, pooled)",
    note="No number of the AST paper is quoted: its tables were not at hand. Its code measures PSNR and SSIM on"
    " the first 32 pictures only, and 100 pairs by default.",
)
UNICORN = _transfer_protocol(
    "unicorn",
    pooled=True,
    columns=("mask_iou", "pck_05", "pck_10", "pck_15"),
    description="as cub_ast, on the crops of 256 px",
    note="Unicorn measures on a finer mesh of 2,562 vertices; ours are the vertices of the model.",
)
UMR = _transfer_protocol(
    "umr",
    pooled=False,
    columns=("mask_iou", "pck_10", "pck_15"),
    description="PCK by transfer between 10,000 pairs through all projected vertices, fraction of the box, mean over"
    " key points",
    published=CUB_MASKS,
    needs=("box_share",),
    note="UMR's published mask IoU is the soft one: see cub_cmr.",
)
CMR = Protocol(
    description="soft mask IoU, PCK of key points projected into their own picture, fraction of the box",
    choose_views=first_view,
    measure=_measure_reprojection,
    finish=_finish_reprojection,
    columns=("mask_iou_soft", "pck_10", "pck_15", "camera_error_deg"),
    published=CUB_CMR + CUB_MASKS[1:],
    input_crop="frame",
    note="With given cameras (config.model.camera.kind='given') compare with the row of cameras from motion.",
)
