"""The weighted sum of all terms of a stage. A new term is one function in its file and one line in a table here."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ast_jax.data.example import Batch
from ast_jax.losses.camera import camera_loss, uniform_pose_loss
from ast_jax.losses.chamfer2d import silhouette_chamfer_loss
from ast_jax.losses.colour import l1_loss, mse_loss
from ast_jax.losses.keypoint import keypoint_loss
from ast_jax.losses.mesh import deformation_loss, edge_length_loss, laplacian_loss, normal_consistency_loss
from ast_jax.losses.perceptual import perceptual_loss
from ast_jax.losses.silhouette import bce_iou_loss, iou_loss, mse_mask_loss
from ast_jax.losses.views import ViewSettings, project_points, render_views
from ast_jax.perceptual import PerceptualNetwork
from ast_jax.prediction import Prediction

# name -> f(alpha [n, h, w], mask [n, h, w]) -> [n]
SILHOUETTE_TERMS = {"iou": iou_loss, "mask_mse": mse_mask_loss, "bce_iou": bce_iou_loss}
# name -> f(rgb [n, h, w, 3], target [n, h, w, 3]) -> [n]
COLOUR_TERMS = {"l1": l1_loss, "mse": mse_loss}
# name -> f(vertices [b, v, 3], faces [f, 3]) -> [b]
MESH_TERMS = {"laplacian": laplacian_loss, "normal": normal_consistency_loss, "edge": edge_length_loss}
OTHER_TERMS = (
    "perceptual",
    "keypoint",
    "silhouette_chamfer",
    "deformation",
    "intermediate_iou",
    "uniform_pose",
    "camera",
)
TERMS = (*SILHOUETTE_TERMS, *COLOUR_TERMS, *MESH_TERMS, *OTHER_TERMS)


@dataclass(frozen=True)
class LossInputs:
    """Everything a term may need beside the prediction and the batch.

    Args:
      sigma: softness of the silhouette, squared NDC.
      gamma: sharpness of the depth softmax.
      blending: how colour is blended, see ``render.render``.
      background: RGB behind the object, the same as in the supervising views.
      perceptual: network of the perceptual loss, or None.
      mesh: device mesh, or None for one device.
      render_axes: the axes of ``mesh`` over which pictures are rendered; their size divides the batch.
      phase: ``"pose"`` trains only the cameras of a model that proposes several, ``"shape"`` all the rest.
      template_vertices: ``[v, 3]``, for the deformation term, or None.
    """

    sigma: float | Float[Array, ""]
    gamma: float = 1e-4
    blending: str = "softmax"
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    perceptual: PerceptualNetwork | None = None
    mesh: jax.sharding.Mesh | None = None
    render_axes: tuple[str, ...] = ()
    phase: str = "shape"
    template_vertices: Float[np.ndarray, "v 3"] | None = None


def total_loss(
    prediction: Prediction, batch: Batch, weights: dict[str, float], inputs: LossInputs
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Weighted sum over the terms, mean over the batch.

    Args:
      prediction: what the model gave.
      batch: the supervising views.
      weights: term -> weight.
      inputs: see `LossInputs`.

    Returns:
      the loss, and every term unweighted under ``loss/<name>``.

    Raises:
      ValueError: a term that does not exist, or one that this model or data set cannot give.
    """
    unknown = set(weights) - set(TERMS)
    if unknown:
        raise ValueError(f"unknown loss terms {sorted(unknown)}; there are {', '.join(TERMS)}.")
    if prediction.camera is not None:
        terms = _candidate_terms(prediction, batch, weights, inputs)
    else:
        terms = _view_terms(prediction, batch, batch.camera, weights, inputs)
        terms = {name: values.mean() for name, values in terms.items()}
    if inputs.phase != "pose":
        terms |= _mesh_terms(prediction, weights, inputs.template_vertices)
    loss = sum(weights[name] * value for name, value in terms.items())
    return loss, {f"loss/{name}": value for name, value in terms.items()}


def _view_terms(
    prediction: Prediction, batch: Batch, camera, weights, inputs: LossInputs
) -> dict[str, Float[Array, " n"]]:
    """The terms that compare a rendering with a supervising view; ``camera`` leads with ``[b, s]``."""
    with_colour = any(name in weights for name in (*COLOUR_TERMS, "perceptual"))
    size = batch.target_masks.shape[2:]
    look = (inputs.sigma, inputs.gamma, inputs.blending, inputs.background)
    settings = ViewSettings(size, *look, inputs.mesh, inputs.render_axes)
    texels = prediction.texels if with_colour else None
    rgb, alpha = render_views(prediction.vertices, prediction.faces, camera, settings, texels=texels)
    masks = _merge(batch.target_masks)
    terms = {name: f(alpha, masks) for name, f in SILHOUETTE_TERMS.items() if name in weights}
    if with_colour:
        target = _merge(batch.target_images)
        rgb = where_both_cover(rgb, target, alpha, masks)
        terms |= {name: f(rgb, target) for name, f in COLOUR_TERMS.items() if name in weights}
        if "perceptual" in weights:
            terms["perceptual"] = perceptual_loss(inputs.perceptual, rgb, target)
    if "keypoint" in weights:
        if prediction.keypoints_world is None or not batch.keypoints_ndc.shape[2]:
            raise ValueError("loss 'keypoint' needs config.model.num_keypoints > 0 and a data set with key points.")
        points_ndc = project_points(prediction.keypoints_world, camera)
        terms["keypoint"] = keypoint_loss(points_ndc, _merge(batch.keypoints_ndc))
    if "silhouette_chamfer" in weights:
        terms["silhouette_chamfer"] = silhouette_chamfer_loss(project_points(prediction.vertices, camera), masks)
    if "intermediate_iou" in weights:
        terms["intermediate_iou"] = _intermediate_iou(prediction, batch, camera, settings)
    if "camera" in weights:
        terms["camera"] = camera_loss(prediction.input_camera, batch.input_camera)
    return terms


# AST-DIFF: the paper compares whole pictures, which pulls colours to the background's where the shape is wrong.
def where_both_cover(
    rgb: Float[Array, "n h w 3"],
    target: Float[Array, "n h w 3"],
    alpha: Float[Array, "n h w"],
    mask: Float[Array, "n h w"],
) -> Float[Array, "n h w 3"]:
    """The rendering where it and the object cover the pixel, ``target + alpha mask (rgb - target)``, else the target.

    Args:
      rgb: rendering, over the background of the target.
      target: supervising views.
      alpha: coverage of the rendering; it is the business of the silhouette terms, and gets no gradient here.
      mask: coverage of the object.
    """
    both = jax.lax.stop_gradient(alpha) * mask
    return target + both[..., None] * (rgb - target)


def _intermediate_iou(prediction: Prediction, batch: Batch, camera, settings: ViewSettings) -> Float[Array, " b"]:
    """Deep supervision: the shapes of the earlier layers against one view each, which is enough and cheap."""
    one_camera = jax.tree.map(lambda x: x[:, -1:], camera)
    mask = batch.target_masks[:, -1]
    losses = [
        iou_loss(render_views(vertices, prediction.faces, one_camera, settings)[1], mask)
        for vertices in prediction.intermediate_vertices
    ]
    return sum(losses) / max(len(losses), 1) + jnp.zeros(mask.shape[0])


def _mesh_terms(prediction: Prediction, weights, template_vertices) -> dict[str, Float[Array, ""]]:
    """The terms that look at the predicted surface alone."""
    vertices, faces = prediction.vertices, prediction.faces
    terms = {name: f(vertices, faces).mean() for name, f in MESH_TERMS.items() if name in weights}
    if "deformation" in weights:
        terms["deformation"] = deformation_loss(prediction.vertices - template_vertices[None]).mean()
    return terms


def _candidate_terms(prediction: Prediction, batch: Batch, weights, inputs: LossInputs) -> dict[str, Float[Array, ""]]:
    """Unknown camera, as in the released AST code and Unicorn: alternate between pose and shape.

    The pose phase renders every candidate with the shape held still and weights the losses with the candidates'
    probabilities; the shape phase renders the most probable candidate, held still.
    """
    image_terms = {name: w for name, w in weights.items() if name not in ("uniform_pose", "camera", *MESH_TERMS)}
    probs = jax.nn.softmax(prediction.camera_logits)
    if inputs.phase == "pose":
        still = replace(
            prediction,
            vertices=jax.lax.stop_gradient(prediction.vertices),
            texels=None if prediction.texels is None else jax.lax.stop_gradient(prediction.texels),
        )
        candidates = probs.shape[1]
        repeated = replace(
            batch,
            target_images=_repeat_view(batch.target_images, candidates),
            target_masks=_repeat_view(batch.target_masks, candidates),
            keypoints_ndc=_repeat_view(batch.keypoints_ndc, candidates),
        )
        image_terms.pop("intermediate_iou", None)
        terms = _view_terms(still, repeated, prediction.camera, image_terms, inputs)
        means = {name: (values.reshape(probs.shape) * probs).sum(1).mean() for name, values in terms.items()}
        if "uniform_pose" in weights:
            means["uniform_pose"] = uniform_pose_loss(probs)
        return means
    best = jnp.argmax(prediction.camera_logits, axis=1)
    camera = jax.tree.map(lambda x: jax.vmap(lambda row, i: row[i][None])(x, best), prediction.camera)
    one_view = replace(
        batch,
        target_images=batch.target_images[:, :1],
        target_masks=batch.target_masks[:, :1],
        keypoints_ndc=batch.keypoints_ndc[:, :1],
    )
    terms = _view_terms(prediction, one_view, jax.lax.stop_gradient(camera), image_terms, inputs)
    return {name: values.mean() for name, values in terms.items()}


def _repeat_view(x, count: int):
    """The first view, ``count`` times."""
    return jnp.repeat(x[:, :1], count, axis=1)


def _merge(x):
    """``[b, s, ...]`` -> ``[b * s, ...]``."""
    return x.reshape(-1, *x.shape[2:])
