"""ResNet-18, 34 and 50, from scratch with group normalisation, or torchvision's with frozen batch statistics."""

from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import run_block
from ast_jax.model.backbones.convnet import BasicBlock, Bottleneck, ChannelAffine, conv, group_norm, make_stages
from ast_jax.near_match import choose
from ast_jax.pretrained.weights import check_finite, read_torch

# Mean and standard deviation of ImageNet's RGB, with which torchvision's weights were trained.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_BATCH_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d's default, used by torchvision
_STEM_CHANNELS = 64
# Kind of block, and how many in each stage. Source: He et al. 2016, table 1.
ARCHITECTURES = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nnx.Module):
    """Feature maps at strides 4, 8, 16, 32 with 64, 128, 256, 512 channels, four times as many for ``resnet50``.

    Args:
      name: one of `ARCHITECTURES`.
      pretrained: frozen-statistics normalisation (an affine per channel) instead of group normalisation.
    Raises:
      ValueError: the name is unknown.
    Source: He et al. 2016, table 1.
    """

    def __init__(self, name: str, *, pretrained: bool, rngs: nnx.Rngs):
        self.name = choose("name", name, ARCHITECTURES)
        block, blocks = ARCHITECTURES[name]
        norm = ChannelAffine if pretrained else group_norm
        self.channels = tuple(block.expansion * _STEM_CHANNELS * 2**i for i in range(len(blocks)))
        self.stem = conv(3, _STEM_CHANNELS, 7, 2, rngs=rngs)
        self.stem_norm = norm(_STEM_CHANNELS, rngs=rngs)
        self.stages = make_stages(_STEM_CHANNELS, blocks, norm, block=block, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Feature maps, finest first; the image is RGB in [0, 1]."""
        x = (image - _MEAN[None, None, None]) / _DEVIATION[None, None, None]
        x = jax.nn.relu(self.stem_norm(self.stem(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        features = []
        for stage in self.stages:
            for block in stage:
                x = run_block(block, x)
            features.append(x)
        return tuple(features)


class StateReader:
    """Takes tensors out of a torch state dict one by one, so that a left-over can be noticed.

    Args:
      state: flat dict of arrays.
      source: the file, for messages.
    """

    def __init__(self, state: dict, source: str | Path):
        self.state, self.source, self.taken = state, source, set()

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor of that name; raises ValueError if it is absent or of another shape."""
        if name not in self.state:
            raise ValueError(f"{self.source} has no tensor {name!r}: it is not the expected network")
        if np.shape(self.state[name]) != shape:
            raise ValueError(f"{self.source}: {name!r} has shape {np.shape(self.state[name])}, expected {shape}")
        check_finite({name: self.state[name]}, self.source)
        self.taken.add(name)
        return self.state[name].astype(np.float32)

    def take_kernel(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A convolution kernel of that shape in flax's order (h, w, in, out) from torch's (out, in, h, w)."""
        height, width, size_in, size_out = shape
        return self.take(name, (size_out, size_in, height, width)).transpose(2, 3, 1, 0)

    def take_norm(self, name: str, channels: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """A batch normalisation with its running statistics as scale and bias per channel."""
        parts = (self.take(f"{name}.{p}", (channels,)) for p in ("weight", "bias", "running_mean", "running_var"))
        weight, bias, mean, variance = parts
        self.taken.add(f"{name}.num_batches_tracked")
        if (variance < 0).any():
            raise ValueError(f"{self.source}: {name}.running_var is negative: it is not the expected network")
        scale = weight / np.sqrt(variance + epsilon)
        return scale, bias - mean * scale

    def left_over(self) -> list[str]:
        """Names that nobody took."""
        return sorted(set(self.state) - self.taken)


def load_torchvision_resnet(network: ResNet, path: str | Path) -> None:
    """Fill the network from torchvision's state dict of the same name.

    Args:
      network: made with ``pretrained=True``; changed in place.
      path: a local file such as ``resnet18-f37072fd.pth``.
    Raises:
      ValueError: the file is not such a state dict, or that of another ResNet.
    """
    reader = StateReader(read_torch(path), path)

    def fill(convolution, norm, conv_name, norm_name):
        convolution.kernel[...] = reader.take_kernel(f"{conv_name}.weight", convolution.kernel.shape)
        norm.scale[...], norm.bias[...] = reader.take_norm(norm_name, norm.scale.shape[0], _BATCH_NORM_EPSILON)

    fill(network.stem, network.stem_norm, "conv1", "bn1")
    for i, stage in enumerate(network.stages):
        for j, block in enumerate(stage):
            name = f"layer{i + 1}.{j}"
            fill(block.conv1, block.norm1, f"{name}.conv1", f"{name}.bn1")
            fill(block.conv2, block.norm2, f"{name}.conv2", f"{name}.bn2")
            if isinstance(block, Bottleneck):
                fill(block.conv3, block.norm3, f"{name}.conv3", f"{name}.bn3")
            if block.shortcut is not None:
                fill(block.shortcut, block.shortcut_norm, f"{name}.downsample.0", f"{name}.downsample.1")
    unexpected = [name for name in reader.left_over() if not name.startswith("fc.")]
    if unexpected:
        raise ValueError(f"{path} has tensors that {network.name} does not: {', '.join(unexpected[:5])}")


def make(config, *, rngs: nnx.Rngs) -> ResNet:
    """The network of ``config.model.encoder``, with its weights where asked for.

    Raises:
      ValueError: as `load_torchvision_resnet`.
    """
    network = ResNet(config.name, pretrained=config.weights != "none", rngs=rngs)
    if config.weights != "none":
        load_torchvision_resnet(network, config.weights)
    return network
