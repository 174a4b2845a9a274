"""The distance of the features of a pretrained network that the released AST code trains with."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import TEXTURE, Seen, Term
from ast_jax.pretrained.perceptual_network import NETWORKS, PerceptualNetwork, features, lpips, unit
from ast_jax.pretrained.perceptual_weights import INSTALL_COMMAND, find_perceptual_weights, load_perceptual

__all__ = [
    "INSTALL_COMMAND",
    "NETWORKS",
    "PerceptualNetwork",
    "cosine_loss",
    "find_perceptual_weights",
    "load_perceptual",
    "lpips",
    "perceptual_loss",
]


def perceptual_loss(
    network: PerceptualNetwork,
    rgb: Float[Array, "b h w 3"],
    target: Float[Array, "b h w 3"],
    *,
    tap: int = 2,
) -> Float[jax.Array, " b"]:
    """Distance of the features of one layer: ``mean over pixels and channels of (f / |f| - g / |g|)^2``.

    Args:
      network: from `load_perceptual`.
      rgb: in [0, 1].
      target: in [0, 1], same size.
      tap: which feature map, 0 to 4; 2 is VGG-16's relu3_3 and AlexNet's relu3. Later ones are not computed.

    Returns:
      one value >= 0 per image; 0 for equal images.

    Raises:
      ValueError: no such tap, or the pictures are too small for the network.

    Source: released AST code (VGG-16 relu3_3, weight 10); Monnier et al., Unicorn, ECCV 2022.
    """
    if not 0 <= tap < len(network.heads):
        raise ValueError(f"tap must be in 0..{len(network.heads) - 1}, got {tap}.")
    f, g = (features(network, image, tap)[tap] for image in (rgb, target))
    return jnp.square(unit(f) - unit(g)).mean(axis=(1, 2, 3))


def cosine_loss(
    network: PerceptualNetwork, rgb: Float[Array, "b h w 3"], target: Float[Array, "b h w 3"]
) -> Float[jax.Array, " b"]:
    """How differently the features of all layers point: ``sum over taps of mean over pixels of 1 - <f, g> / |f| |g|``.

    Args:
      network: from `load_perceptual`.
      rgb: in [0, 1].
      target: in [0, 1], same size.

    Returns:
      one value >= 0 per image; 0 for equal images. Where both have no feature at all, there is no difference.

    Raises:
      ValueError: the pictures are too small for the network.

    Source: CMR (Kanazawa et al. 2018), released code: the package PerceptualSimilarity without its learned weights.
    """
    pairs = zip(features(network, rgb), features(network, target))
    return sum(jnp.square(unit(f) - unit(g)).sum(axis=-1).mean(axis=(1, 2)) / 2 for f, g in pairs)


def _term(name: str, function) -> Term:
    return Term(name, lambda seen: function(seen.inputs.perceptual, seen.rgb, seen.target), TEXTURE, reads_network=True)


# As the released code compares pictures; `perceptual` looks only where rendering and mask overlap.
def _masked(seen: Seen) -> Float[jax.Array, " n"]:
    return perceptual_loss(seen.inputs.perceptual, *seen.cut_out)


TERMS = (
    _term("perceptual", perceptual_loss),
    _term("perceptual_cosine", cosine_loss),
    Term("masked_perceptual", _masked, TEXTURE, reads_network=True),
)
