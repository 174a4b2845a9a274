"""Patches of 4 x 4 pixels: one map."""

import jax
from flax import nnx

from ast_jax.model.layers import linear


class Patches(nnx.Module):
    """A linear map of each patch."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.channels = (width,)
        self.patch = linear(4 * 4 * 3, width, rngs=rngs)

    def __call__(self, image):
        b, h, w, _ = image.shape
        patches = image.reshape(b, h // 4, 4, w // 4, 4, 3).swapaxes(2, 3).reshape(b, h // 4, w // 4, -1)
        return (jax.nn.relu(self.patch(patches)),)


def make(config, *, rngs: nnx.Rngs) -> Patches:
    """The network of ``config.model.encoder``."""
    return Patches(config.width, rngs=rngs)
