"""Our own protocol: each object from several of its views, compared in space and in all of its other views."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ast_jax.evaluation.image2d import mask_iou, psnr
from ast_jax.evaluation.prediction import Array
from ast_jax.evaluation.protocols.base import Item, Protocol
from ast_jax.evaluation.shape3d import mesh_occupancy, sample_surface, surface_scores, voxel_iou
from render import Camera, FaceTexels, Mesh, rasterize, render

DEFAULT_NUM_VIEWS = 5
NUM_POINTS = 10_000
COLUMNS = ("iou_3d", "chamfer_l1", "f_score", "mask_iou_seen", "mask_iou_unseen", "psnr_unseen")


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
        columns=COLUMNS,
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


def _measure(item: Item, num_points: int, resolution: int) -> dict[str, float]:
    """Means over the input views of one object."""
    vertices = np.asarray(item.predicted.vertices, np.float32)
    row = _compare_shapes(vertices, item.faces, item.truth, num_points, resolution)
    everything = item.batch(tuple(range(len(item.truth.images))))
    background = item.source.config["background"]
    row |= _compare_views(Mesh(vertices, item.faces), item.predicted.texels, everything, item.views, background)
    return {name: float(np.mean(values)) for name, values in row.items()}


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


def _compare_views(mesh: Mesh, texels, views, chosen: tuple[int, ...], background) -> dict[str, np.ndarray]:
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
    camera: Camera,
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
