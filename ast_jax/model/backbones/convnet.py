"""Residual networks: a small one for small pictures, quick on a CPU, and the blocks that the ResNets share."""

from collections.abc import Callable, Sequence

import jax
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import run_block
from ast_jax.model.layers import scaled_normal

_NORM_GROUPS = 8  # Wu & He 2018 use 32 groups at 256 and more channels; here 32 channels are the narrowest.


class ChannelAffine(nnx.Module):
    """x * scale + bias per channel: what a batch normalisation with frozen statistics comes down to."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.scale = nnx.Param(nnx.initializers.ones(rngs.params(), (channels,)))
        self.bias = nnx.Param(nnx.initializers.zeros(rngs.params(), (channels,)))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return x * self.scale[...][None, None, None] + self.bias[...][None, None, None]


def group_norm(channels: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Group normalisation: independent of the batch, so training and evaluation are the same function."""
    return nnx.GroupNorm(channels, num_groups=min(_NORM_GROUPS, channels), rngs=rngs)


def conv(size_in: int, size_out: int, kernel: int, stride: int = 1, *, rngs: nnx.Rngs) -> nnx.Conv:
    """A convolution for ReLU networks (He initialisation), without bias: a normalisation follows."""
    return nnx.Conv(
        size_in,
        size_out,
        kernel_size=(kernel, kernel),
        strides=(stride, stride),
        padding=[(kernel // 2, kernel // 2)] * 2,
        use_bias=False,
        kernel_init=scaled_normal(2.0),
        rngs=rngs,
    )


class BasicBlock(nnx.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + x), with a 1x1 convolution as short cut where sizes change.

    Source: He et al. 2016, "Deep residual learning", figure 5 left; torchvision's BasicBlock.
    """

    expansion = 1  # channels that come out over those inside

    def __init__(self, size_in: int, size_out: int, stride: int, norm: Callable, *, rngs: nnx.Rngs):
        self.conv1 = conv(size_in, size_out, 3, stride, rngs=rngs)
        self.norm1 = norm(size_out, rngs=rngs)
        self.conv2 = conv(size_out, size_out, 3, rngs=rngs)
        self.norm2 = norm(size_out, rngs=rngs)
        changes = stride != 1 or size_in != size_out
        self.shortcut = conv(size_in, size_out, 1, stride, rngs=rngs) if changes else None
        self.shortcut_norm = norm(size_out, rngs=rngs) if changes else None

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j o"]:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return jax.nn.relu(y + x)


class Bottleneck(nnx.Module):
    """A 3x3 convolution between 1x1 ones that narrow and widen again; the short cut as in `BasicBlock`.

    The 3x3 convolution has the stride (version 1.5, which torchvision's weights are for); the paper has it in the
    first 1x1.

    Source: He et al. 2016, "Deep residual learning", figure 5 right; torchvision's Bottleneck.
    """

    expansion = 4

    def __init__(self, size_in: int, width: int, stride: int, norm: Callable, *, rngs: nnx.Rngs):
        size_out = self.expansion * width
        self.conv1 = conv(size_in, width, 1, rngs=rngs)
        self.norm1 = norm(width, rngs=rngs)
        self.conv2 = conv(width, width, 3, stride, rngs=rngs)
        self.norm2 = norm(width, rngs=rngs)
        self.conv3 = conv(width, size_out, 1, rngs=rngs)
        self.norm3 = norm(size_out, rngs=rngs)
        changes = stride != 1 or size_in != size_out
        self.shortcut = conv(size_in, size_out, 1, stride, rngs=rngs) if changes else None
        self.shortcut_norm = norm(size_out, rngs=rngs) if changes else None

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j o"]:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = jax.nn.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return jax.nn.relu(y + x)


def make_stages(
    width: int,
    blocks: Sequence[int],
    norm: Callable,
    *,
    block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    rngs: nnx.Rngs,
) -> nnx.Pytree:
    """Stages of residual blocks with widths w, 2w, 4w, ..., each but the first halving the resolution.

    Args:
      width: of the first stage, and the channels that it is given.
      blocks: how many in each stage.
      norm: makes a normalisation for so many channels.
      block: `BasicBlock` or `Bottleneck`, whose channels outside are ``block.expansion`` times the width.
    """
    stages, size = [], width
    for i, count in enumerate(blocks):
        stage = []
        for j in range(count):
            stage.append(block(size, width * 2**i, 2 if i and not j else 1, norm, rngs=rngs))
            size = block.expansion * width * 2**i
        stages.append(nnx.List(stage))
    return nnx.List(stages)


class ConvNet(nnx.Module):
    """Group-normalised residual network with feature maps at strides 2, 4, 8, 16.

    Args:
      width: channels of the first stage; 32 costs about 65 M multiply-adds per 64 x 64 picture.
      blocks: residual blocks per stage.
    """

    def __init__(self, width: int, blocks: int, *, rngs: nnx.Rngs):
        self.channels = tuple(width * 2**i for i in range(4))
        self.stem = conv(3, width, 3, 2, rngs=rngs)
        self.stem_norm = group_norm(width, rngs=rngs)
        self.stages = make_stages(width, (blocks,) * 4, group_norm, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Feature maps, finest first; the image is RGB in [0, 1]."""
        x, features = jax.nn.relu(self.stem_norm(self.stem(2 * image - 1))), []
        for stage in self.stages:
            for block in stage:
                x = run_block(block, x)
            features.append(x)
        return tuple(features)


def make(config, *, rngs: nnx.Rngs) -> ConvNet:
    """The network of ``config.model.encoder``.

    Raises:
      ValueError: weights are asked for.
    """
    refuse_weights(config)
    return ConvNet(config.width, config.blocks, rngs=rngs)


def refuse_weights(config) -> None:
    """For a network that nobody has trained before.

    Args:
      config: ``config.model.encoder``.

    Raises:
      ValueError: weights are asked for.
    """
    if config.weights != "none":
        raise ValueError(f"encoder.weights={config.weights!r}: {config.name} has no pretrained weights; use 'none'")
