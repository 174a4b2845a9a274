"""The one protocol that every method and baseline of a table goes through.

Each object is predicted from several of its views. A prediction is compared with the solid, with the surface,
with the silhouette of the view it came from, and with the silhouettes and pictures of all other views.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.evaluation.image2d import mask_iou, psnr
from ast_jax.evaluation.shape3d import (
    mesh_occupancy,
    sample_surface,
    surface_scores,
    voxel_iou,
)
from ast_jax.evaluation.summary import Evaluation
from render import FaceTexels, Mesh, PerspectiveCamera, rasterize, render

Array = jax.Array | np.ndarray
# Pictures [b, h, w, 3] in [0, 1] -> vertices [b, v, 3] and texels [b, f, t, t, 3] or None.
Predict = Callable[[np.ndarray], tuple[Array, Array | None]]

DEFAULT_NUM_VIEWS = 5
_NUM_POINTS = 10_000


def evaluate_predictions(
    predict: Predict,
    faces: Int[np.ndarray, "f 3"],
    source: DataSource,
    *,
    num_views: int = DEFAULT_NUM_VIEWS,
    num_points: int = _NUM_POINTS,
    resolution: int = 32,
) -> Evaluation:
    """All metrics of one method on one split.

    Args:
      predict: from ``num_views`` pictures of one object to as many shapes, in object space.
      faces: of the predicted meshes.
      source: the split; it makes the pictures as it does in training, without augmentation.
      num_views: input views per object, evenly spaced over its views.
      num_points: sampled on each predicted surface.
      resolution: of the voxel grid; must be that of the stored solids.

    Returns:
      per object, the mean over its input views of ``iou_3d``, ``chamfer_l1``, ``f_score``, ``mask_iou_seen``,
      ``mask_iou_unseen`` and, if the prediction has texels, ``psnr_unseen`` (within the true mask).

    Raises:
      ValueError: more input views than an object has, or a prediction that is not finite.
    """
    rows = []
    for index in range(len(source.ids)):
        truth = source.truth(index)
        chosen = evenly_spaced_views(len(truth.images), num_views)
        views = evaluation_batch(source, index, list(range(len(truth.images))))
        vertices, texels = predict(views.image[chosen])
        vertices = np.asarray(vertices, np.float32)
        if not np.isfinite(vertices).all():
            raise ValueError(f"predict: a vertex of {source.ids[index]} is not finite; the model has diverged.")
        row = _compare_shapes(vertices, faces, truth, num_points, resolution)
        background = source.config["background"]
        row |= _compare_views(Mesh(vertices, faces), texels, views, chosen, background)
        rows.append({name: np.mean(values) for name, values in row.items()})
    return Evaluation(tuple(source.ids), {name: np.array([row[name] for row in rows]) for name in rows[0]})


def evenly_spaced_views(num_views: int, count: int) -> list[int]:
    """``count`` of the views 0 .. ``num_views`` - 1, the first among them, at (nearly) equal steps.

    Raises:
      ValueError: there are not so many views.
    """
    if not 1 <= count <= num_views:
        raise ValueError(f"num_views={count}: the objects have 1 to {num_views} views; choose in this range.")
    return [i * num_views // count for i in range(count)]


def constant_predictor(vertices: Float[np.ndarray, "v 3"]) -> Predict:
    """The baseline that answers every picture with one shape, such as the template.

    Args:
      vertices: of the shape, object units.

    Returns:
      a function for `evaluate_predictions`.
    """
    return lambda image: (np.broadcast_to(vertices[None], (len(image), *vertices.shape)), None)


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


def _compare_shapes(vertices, faces, truth, num_points: int, resolution: int) -> dict[str, list[float]]:
    """Metrics in object space, one value per prediction."""
    row = {"iou_3d": [], "chamfer_l1": [], "f_score": []}
    for seed, points in enumerate(vertices):
        row["iou_3d"].append(voxel_iou(mesh_occupancy(points, faces, resolution), truth.occupancy))
        surface = sample_surface(points, faces, num_points, seed)
        chamfer, f = surface_scores(surface, truth.surface_points)
        row["chamfer_l1"].append(chamfer)
        row["f_score"].append(f)
    return row


def _compare_views(mesh: Mesh, texels, views, chosen: list[int], background) -> dict[str, np.ndarray]:
    """Metrics in the image, over all (prediction, view) pairs that count."""
    camera = jax.tree.map(lambda x: x[:, 0], views.camera)
    masks, targets = views.target_masks[:, 0], views.target_images[:, 0]
    num_inputs, num_views = len(chosen), len(masks)
    rgb, covered = _render_pairs(mesh, camera, texels, masks.shape[1:], np.asarray(background, np.float32))
    is_seen = np.zeros((num_inputs, num_views), bool)
    is_seen[np.arange(num_inputs), chosen] = True
    overlap = mask_iou(np.asarray(covered), np.tile(masks, (num_inputs, 1, 1)) > 0.5)
    overlap = overlap.reshape(num_inputs, num_views)
    row = {"mask_iou_seen": overlap[is_seen], "mask_iou_unseen": overlap[~is_seen]}
    if rgb is not None:
        unseen = ~is_seen.reshape(-1)
        view = np.tile(np.arange(num_views), num_inputs)[unseen]
        row["psnr_unseen"] = psnr(np.asarray(rgb)[unseen], targets[view], masks[view] > 0.5)
    return row


@partial(jax.jit, static_argnames="image_size")
def _render_pairs(
    mesh: Mesh,
    camera: PerspectiveCamera,
    texels: Float[Array, "b f t t 3"] | None,
    image_size: tuple[int, int],
    background: Float[Array, "3"],
) -> tuple[Float[jax.Array, "n h w 3"] | None, Bool[jax.Array, "n h w"]]:
    """Every mesh from every camera with hard edges: the pictures of the first mesh come first."""
    num_meshes, num_cameras = mesh.vertices.shape[0], camera.translation.shape[0]
    cameras = jax.tree.map(lambda x: jnp.concatenate([x] * num_meshes), camera)
    repeated = Mesh(jnp.repeat(mesh.vertices, num_cameras, axis=0), mesh.faces)
    if texels is None:
        return None, rasterize(cameras.project(repeated.vertices), mesh.faces, image_size).face_id >= 0
    texture = FaceTexels(jnp.repeat(texels, num_cameras, axis=0))
    # The soft coverage that comes along is not used, so it is not computed either.
    result = render(repeated, cameras, image_size, texture=texture, blending="hard", background=background)
    return result.rgb, result.face_id >= 0
