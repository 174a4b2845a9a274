"""Every training term: a pure function of predictions and targets, one value per image or mesh."""

from ast_jax.losses.camera import (
    camera_loss,
    camera_place_loss,
    camera_quaternion_loss,
    camera_rotation_loss,
    uniform_pose_loss,
)
from ast_jax.losses.colour import l1_loss, mse_loss
from ast_jax.losses.flow import distance_transform, flow_mask_loss, outside_barrier
from ast_jax.losses.keypoint import keypoint_loss
from ast_jax.losses.mesh import (
    cotangent_laplacian_loss,
    deformation_loss,
    edge_length_loss,
    flatness_loss,
    laplacian_loss,
    normal_consistency_loss,
)
from ast_jax.losses.perceptual import (
    PerceptualNetwork,
    cosine_loss,
    find_perceptual_weights,
    load_perceptual,
    lpips,
    perceptual_loss,
)
from ast_jax.losses.saliency import saliency_loss
from ast_jax.losses.silhouette import bce_iou_loss, iou_loss, mask_barrier_loss, mse_mask_loss

__all__ = [
    "PerceptualNetwork",
    "bce_iou_loss",
    "camera_loss",
    "camera_place_loss",
    "camera_quaternion_loss",
    "camera_rotation_loss",
    "cosine_loss",
    "cotangent_laplacian_loss",
    "deformation_loss",
    "distance_transform",
    "edge_length_loss",
    "find_perceptual_weights",
    "flatness_loss",
    "flow_mask_loss",
    "iou_loss",
    "keypoint_loss",
    "l1_loss",
    "laplacian_loss",
    "load_perceptual",
    "lpips",
    "mask_barrier_loss",
    "mse_loss",
    "mse_mask_loss",
    "normal_consistency_loss",
    "outside_barrier",
    "perceptual_loss",
    "saliency_loss",
    "uniform_pose_loss",
]
