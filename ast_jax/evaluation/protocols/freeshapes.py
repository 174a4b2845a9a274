"""Our own protocol: each object from several of its views, compared in space and in all of its other views."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ast_jax.arrays import Array
from ast_jax.evaluation.hidden import half_ious
from ast_jax.evaluation.mask_iou import mask_iou
from ast_jax.evaluation.metrics import METRICS
from ast_jax.evaluation.protocols.base import Item, Protocol
from ast_jax.evaluation.protocols.pictures import to_bytes
from ast_jax.evaluation.protocols.surfaces import SURFACE_COLUMNS, compare_surfaces
from ast_jax.evaluation.psnr import psnr
from ast_jax.evaluation.results import Evaluation
from ast_jax.evaluation.shape3d import mesh_occupancy, voxel_iou
from ast_jax.evaluation.ssim import SMALLEST as SSIM_SMALLEST
from ast_jax.evaluation.ssim import ssim
from render import Camera, Mesh, rasterize, render
from render.texture import Texture

DEFAULT_NUM_VIEWS = 5
NUM_POINTS = 10_000
COLUMNS = (
    "iou_3d",
    "iou_front",
    "iou_hidden",
    *SURFACE_COLUMNS,
    "f_score_hidden",
    "mask_iou_seen",
    "mask_iou_unseen",
    "psnr_unseen",
    "psnr_overlap",
    "ssim_unseen",
)
# Pictures of each object, evenly spaced over its inputs, that SSIM, LPIPS and distances of sets are taken of:
# all pairs of an input and another view would be thousands per object.
NUM_PICTURES = 4


def freeshapes(num_views: int = DEFAULT_NUM_VIEWS, num_points: int = NUM_POINTS, resolution: int = 32) -> Protocol:
    """The protocol with its numbers.

    Args:
      num_views: input views per object, evenly spaced over its views; 0 for all of them.
      num_points: sampled on each predicted surface.
      resolution: of the voxel grid; must be that of the stored solids.
    """
    return Protocol(
        description=f"held-out objects, {num_views or 'all'} input views each, mean over views, then over objects",
        choose_views=lambda count, rng: evenly_spaced_views(count, num_views or count),
        measure=partial(_measure, num_points=num_points, resolution=resolution),
        finish=_finish,
        own_columns=COLUMNS,
        metrics=METRICS,
        needs=("occupancy", "surface_points"),
    )


def evenly_spaced_views(num_views: int, count: int) -> list[int]:
    """``count`` of the views 0 .. ``num_views`` - 1, the first among them, at (nearly) equal steps.

    Raises:
      ValueError: there are not so many views.
    """
    if not 1 <= count <= num_views:
        raise ValueError(f"num_views={count}: the objects have 1 to {num_views} views; choose in this range.")
    return [i * num_views // count for i in range(count)]


def _measure(item: Item, num_points: int, resolution: int) -> dict:
    """Means over the input views of one object, and some pictures."""
    vertices = np.asarray(item.predicted.vertices, np.float32)
    everything = item.batch(tuple(range(len(item.truth.images))))
    cameras = [jax.tree.map(lambda x, view=view: x[view, 0], everything.camera) for view in item.views]
    row = _compare_shapes(vertices, item.predicted.faces, cameras, item.truth, num_points, resolution)
    background = item.source.config["background"]
    compared, pictures = _compare_views(
        Mesh(vertices, item.predicted.faces), item.predicted.lit_texture, everything, item.views, background
    )
    means = {name: _known_mean(values) for name, values in (row | compared).items()}
    return means | pictures


def _known_mean(values) -> float:
    """Of some views there may be nothing to measure: no overlap with the truth, or nothing hidden."""
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
    """Means over objects; SSIM of the pictures, where they are large enough."""
    metrics = {name: values for name, values in measured.items() if name not in ("picture", "target")}
    weights = {name: (~np.isnan(values)).astype(float) for name, values in metrics.items() if np.isnan(values).any()}
    result = Evaluation(ids, metrics, weights)
    if "picture" not in measured:
        return result
    drawn, true = (measured[name].astype(np.float32) / 255 for name in ("picture", "target"))
    if drawn.shape[-2] >= SSIM_SMALLEST:
        values = ssim(*(x.reshape(-1, *x.shape[2:]) for x in (drawn, true)))
        result.metrics["ssim_unseen"] = values.reshape(len(ids), NUM_PICTURES).mean(axis=1)
    return result


def _compare_shapes(vertices, faces, cameras, truth, num_points: int, resolution: int) -> dict[str, list[float]]:
    """Metrics in object space, one value per prediction; the camera that it was seen by tells what was hidden."""
    rows = []
    for seed, (points, camera) in enumerate(zip(vertices, cameras)):
        solid = mesh_occupancy(points, faces, resolution)
        front, hidden = half_ious(solid, truth.occupancy, camera.rotation)
        row = {"iou_3d": voxel_iou(solid, truth.occupancy), "iou_front": front, "iou_hidden": hidden}
        rows.append(row | compare_surfaces(points, faces, truth, num_points, seed, seen_by=camera))
    return {name: [row[name] for row in rows] for name in rows[0]}


def _compare_views(mesh: Mesh, texture, views, chosen: tuple[int, ...], background) -> tuple[dict, dict]:
    """Metrics in the image, over all (prediction, view) pairs that count, and some drawn and true pictures."""
    camera = jax.tree.map(lambda x: x[:, 0], views.camera)
    masks, targets = views.target_masks[:, 0], views.target_images[:, 0]
    num_inputs, num_views = len(chosen), len(masks)
    rgb, covered = _render_pairs(mesh, camera, texture, masks.shape[1:], np.asarray(background, np.float32))
    is_seen = np.zeros((num_inputs, num_views), bool)
    is_seen[np.arange(num_inputs), chosen] = True
    overlap = mask_iou(np.asarray(covered), np.tile(masks, (num_inputs, 1, 1)) > 0.5)
    overlap = overlap.reshape(num_inputs, num_views)
    row = {"mask_iou_seen": overlap[is_seen], "mask_iou_unseen": overlap[~is_seen]}
    if rgb is not None:
        unseen = ~is_seen.reshape(-1)
        view = np.tile(np.arange(num_views), num_inputs)[unseen]
        drawn, inside = np.asarray(rgb)[unseen], masks[view] > 0.5
        row["psnr_unseen"] = psnr(drawn, targets[view], inside)
        row["psnr_overlap"] = psnr(drawn, targets[view], inside & np.asarray(covered)[unseen])
    if rgb is None:
        return row, {}
    # Of each of these inputs the view after it.
    inputs = np.arange(NUM_PICTURES) * num_inputs // NUM_PICTURES
    shown = (np.asarray(chosen)[inputs] + 1) % num_views
    drawn = np.asarray(rgb)[inputs * num_views + shown]
    return row, {"picture": to_bytes(drawn), "target": to_bytes(targets[shown])}


@partial(jax.jit, static_argnames="image_size")
def _render_pairs(
    mesh: Mesh,
    camera: Camera,
    texture: Texture | None,
    image_size: tuple[int, int],
    background: Float[Array, "3"],
) -> tuple[Float[jax.Array, "n h w 3"] | None, Bool[jax.Array, "n h w"]]:
    """Every mesh from every camera with hard edges: the pictures of the first mesh come first."""
    num_meshes, num_cameras = mesh.vertices.shape[0], camera.translation.shape[0]
    cameras = jax.tree.map(lambda x: jnp.concatenate([x] * num_meshes), camera)
    repeated = Mesh(jnp.repeat(mesh.vertices, num_cameras, axis=0), mesh.faces)
    if texture is None:
        return None, rasterize(cameras.project(repeated.vertices), mesh.faces, image_size).face_id >= 0
    texture = jax.tree.map(lambda x: jnp.repeat(x, num_cameras, axis=0), texture)
    # The soft coverage that comes along is not used, so it is not computed either.
    result = render(repeated, cameras, image_size, texture=texture, blending="hard", background=background)
    return result.rgb, result.face_id >= 0
