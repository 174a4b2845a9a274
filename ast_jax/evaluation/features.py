"""Distances between sets of pictures by name of the network: FID and KID, or the same formulas elsewhere.

The numbers of different networks are not comparable. Only those of Inception are called ``fid`` and ``kid``.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.evaluation.batches import map_batches
from ast_jax.evaluation.fid import fid, kid
from ast_jax.model.backbones.efficientnet import EfficientNetLite0, find_efficientnet_lite0, load_efficientnet_lite0
from ast_jax.near_match import choose
from ast_jax.pretrained.inception import inception_features
from ast_jax.pretrained.inception_weights import FILE_NAME, load_inception
from ast_jax.pretrained.perceptual_network import features as perceptual_features
from ast_jax.pretrained.perceptual_weights import load_perceptual

# Pictures [b, h, w, 3] in [0, 1] -> features [b, d].
Extract = Callable[[np.ndarray], jax.Array]

_EFFICIENTNET_SIZE = 224  # side of the pictures that EfficientNet-Lite0 was trained with


def set_distances(
    images: Float[np.ndarray, "m h w 3"],
    targets: Float[np.ndarray, "n i j 3"],
    network: str,
    path: str | Path | None = None,
    *,
    batch_size: int = 16,
) -> dict[str, float]:
    """How much a set of pictures looks like another, without pairing them.

    Args:
      images: in [0, 1], at least two.
      targets: likewise, of any size; for small sets both should be of about the same number.
      network: ``"inception"``; or one whose weights pip has: ``"efficientnet_lite0"``, ``"alexnet"``, ``"vgg16"``.
      path: its weights; Inception has no default, the others are found in their packages.
      batch_size: pictures at once.

    Returns:
      ``fid`` and ``kid`` (mean over subsets) for Inception, else ``frechet_<network>`` and ``kernel_<network>``.

    Raises:
      ValueError: no such network, or no weights; the message says how to get them.
    """
    extract = load_extractor(network, path)
    first, second = (map_batches(extract, batch_size, pictures) for pictures in (images, targets))
    names = ("fid", "kid") if network == "inception" else (f"frechet_{network}", f"kernel_{network}")
    return {names[0]: fid(first, second), names[1]: kid(first, second)[0]}


def load_extractor(network: str, path: str | Path | None = None) -> Extract:
    """The compiled features of a pretrained network.

    Args:
      network: as `set_distances`.
      path: likewise.

    Returns:
      pictures in [0, 1] -> 2,048 (Inception), 1,280 (EfficientNet), 256 (AlexNet) or 512 (VGG-16) features: the
      last feature map, mean over its pixels.

    Raises:
      ValueError: no such network, or no weights; the message says how to get them.
    """
    weights, function = _LOADERS[choose("--features", network, _LOADERS)](network, path)
    compiled = jax.jit(function)
    return lambda image: compiled(weights, image)


def _load_inception(network: str, path):
    if path is None:
        raise ValueError(f"path: FID and KID need the file {FILE_NAME} of pytorch-fid, or the .npz made of it.")
    return load_inception(path), inception_features


def _load_efficientnet(network: str, path):
    model = EfficientNetLite0(rngs=nnx.Rngs(0))
    load_efficientnet_lite0(model, path or find_efficientnet_lite0())
    definition, state = nnx.split(model)

    def extract(state, image):
        shape = (image.shape[0], _EFFICIENTNET_SIZE, _EFFICIENTNET_SIZE, 3)
        image = jax.image.resize(image, shape, "bilinear")
        return nnx.merge(definition, state)(image)[-1].mean(axis=(1, 2))

    return state, extract


def _load_perceptual(network: str, path):
    return load_perceptual(network, path), lambda weights, image: perceptual_features(weights, image)[-1].mean((1, 2))


_LOADERS = {
    "inception": _load_inception,
    "efficientnet_lite0": _load_efficientnet,
    "alexnet": _load_perceptual,
    "vgg16": _load_perceptual,
}
