"""The distance of the features of a pretrained network that the released AST code trains with."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import TEXTURE, Term
from ast_jax.pretrained.perceptual_network import NETWORKS, PerceptualNetwork, features, lpips, unit
from ast_jax.pretrained.perceptual_weights import INSTALL_COMMAND, find_perceptual_weights, load_perceptual

__all__ = [
    "INSTALL_COMMAND",
    "NETWORKS",
    "PerceptualNetwork",
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


TERMS = (Term("perceptual", lambda seen: perceptual_loss(seen.inputs.perceptual, seen.rgb, seen.target), TEXTURE),)
