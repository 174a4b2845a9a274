"""The three encoders of the released AST code: a U-Net each for shape and texture, and a residual network."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import run_block
from ast_jax.model.backbones.convnet import ConvNet, refuse_weights
from ast_jax.model.layers import scaled_normal

# Channels over the width: of the way down, of what the way up puts beside its own maps, and of the way up.
_DOWN, _BESIDE, _UP = (1, 1, 2, 4, 8, 16), (4, 2, 1), (12, 10, 9)
_HALVED = (2, 3, 4)  # the convolutions of the way down that see half the resolution of the one before
_ANSWERED = 8  # channels of the map, over the width
_SUMMARY_WIDTH = 4  # of the residual network, over the width: 64 where the U-Nets have 16, as ResNet-18
_SLOPE = 0.01  # of the leaky ReLU below 0


class UNet(nnx.Module):
    """Picture -> map with ``8 width`` channels, at an eighth of the resolution times ``2^climbs``.

    Six 3x3 convolutions go down to an eighth of the resolution. Each climb doubles it (nearest neighbour), and
    convolves twice with the same weights: once what comes from below, once that beside the map of the way down.
    Leaky ReLU, no normalisation.

    Args:
      width: channels at full resolution; 16 in the released code.
      climbs: 1 to 3.
    Source: released AST code, ``Encoder`` (3 climbs) and ``Encoder_16`` (1).
    """

    # AST-DIFF: initial weights by the inputs of each convolution (fan in), where the released ones go by its outputs.
    def __init__(self, width: int, climbs: int, *, rngs: nnx.Rngs):
        down = [width * factor for factor in _DOWN]
        up = [width * factor for factor in (_DOWN[-1], *_UP[:climbs])]
        self.down = nnx.List([_convolution(*pair, rngs=rngs) for pair in zip((3, *down), down)])
        self.up = nnx.List([_convolution(*pair, rngs=rngs) for pair in zip(up[:-1], up[1:])])
        self.last = _convolution(up[-1], _ANSWERED * width, side=1, gain=1.0, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b i j c"]:
        x, before = image, []
        for i, convolve in enumerate(self.down):
            if i in _HALVED:
                before.append(x)
                x = nnx.max_pool(x, (2, 2), (2, 2))
            x = nnx.leaky_relu(convolve(x), _SLOPE)
        for convolve, beside in zip(self.up, reversed(before)):
            larger = convolve(jax.image.resize(x, (*beside.shape[:3], x.shape[-1]), "nearest"))
            x = nnx.leaky_relu(convolve(jnp.concatenate([beside, larger], axis=-1)), _SLOPE)
        return self.last(x)


class UNets(nnx.Module):
    """Three networks that share nothing, one for each branch.

    Maps: at full resolution, for the tokens of the shape; at a quarter, for those of the texture; and at a sixteenth,
    for the summary.

    Args:
      width: of the U-Nets, see `UNet`; the residual network begins with four times as many channels.
      blocks: residual blocks in each of its stages.
    """

    # AST-DIFF: `ConvNet`, with a 3x3 convolution in front, no pooling after it and group normalisation, in place of
    # torchvision's ResNet-18: that leaves 2 x 2 cells of a picture of 64 px, which it was not made for.
    def __init__(self, width: int, blocks: int, *, rngs: nnx.Rngs):
        self.shape = UNet(width, 3, rngs=rngs)
        self.texture = UNet(width, 1, rngs=rngs)
        self.whole = ConvNet(_SUMMARY_WIDTH * width, blocks, rngs=rngs)
        self.channels = (_ANSWERED * width, _ANSWERED * width, self.whole.channels[-1])

    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Feature maps, finest first; the image is RGB in [0, 1]."""
        return run_block(self.shape, image), run_block(self.texture, image), self.whole(image)[-1]


def _convolution(size_in: int, size_out: int, *, side: int = 3, gain: float = 2.0, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(size_in, size_out, (side, side), kernel_init=scaled_normal(gain), rngs=rngs)


def make(config, *, rngs: nnx.Rngs) -> UNets:
    """The networks of ``config.model.encoder``.

    Raises:
      ValueError: weights are asked for.
    """
    refuse_weights(config)
    return UNets(config.width, config.blocks, rngs=rngs)
