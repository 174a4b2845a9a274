"""The networks that turn a picture into feature maps, one file each; a new one gets a line in ``BACKBONES``.

A line names ``make(config, *, rngs)``: the network of ``config.model.encoder``, with its weights where these are asked
for.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.backbones import convnet, efficientnet, resnet, unet


@runtime_checkable
class Backbone(Protocol):
    """A module that answers pictures, RGB in [0, 1], with maps, finest first, of so many ``channels``."""

    @property
    def channels(self) -> tuple[int, ...]: ...

    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]: ...


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "convnet": convnet.make,
    **{name: resnet.make for name in resnet.ARCHITECTURES},
    "efficientnet_lite0": efficientnet.make,
    "unet": unet.make,
}
