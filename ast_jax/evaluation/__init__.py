"""Every metric, and the protocol behind the tables."""

from ast_jax.evaluation.held_out import (
    constant_predictor,
    evaluate_mean_shape,
    evaluate_predictions,
    evenly_spaced_views,
)
from ast_jax.evaluation.keypoints import pck
from ast_jax.evaluation.mask_iou import mask_iou
from ast_jax.evaluation.psnr import psnr
from ast_jax.evaluation.results import Evaluation, bootstrap_interval, summarize
from ast_jax.evaluation.shape3d import (
    chamfer_l1,
    f_score,
    mesh_occupancy,
    sample_surface,
    surface_scores,
    voxel_iou,
)
from ast_jax.evaluation.ssim import ssim, ssim_uniform
from ast_jax.evaluation.tables import format_table

__all__ = [
    "Evaluation",
    "bootstrap_interval",
    "chamfer_l1",
    "constant_predictor",
    "evaluate_mean_shape",
    "evaluate_predictions",
    "evenly_spaced_views",
    "f_score",
    "format_table",
    "mask_iou",
    "mesh_occupancy",
    "pck",
    "psnr",
    "sample_surface",
    "ssim",
    "ssim_uniform",
    "summarize",
    "surface_scores",
    "voxel_iou",
]
