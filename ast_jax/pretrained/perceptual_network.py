"""VGG-16 and AlexNet as LPIPS sees them, and LPIPS. `ast_jax.pretrained.perceptual_weights` reads their weights."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array

# Statistics of ImageNet that both networks were trained with (torchvision); LPIPS' scaling layer is the same.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
# Added to the channel norm (lpips 0.1.4 and the released AST code).
_NORM_EPSILON = 1e-10


@dataclass(frozen=True)
class Convolution:
    """A convolution followed by ReLU; ``tap``: its output is compared."""

    stride: int = 1
    padding: int = 1
    tap: bool = False
    pool: int = 0  # side of the max pooling (stride 2) in front of it, 0 for none


# Simonyan and Zisserman 2015, configuration D; taps relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.
_VGG16 = tuple(
    Convolution(tap=position == count - 1, pool=2 if block and position == 0 else 0)
    for block, count in enumerate((2, 2, 3, 3, 3))
    for position in range(count)
)
# Krizhevsky 2014 as in torchvision; all five ReLUs are taps.
_ALEXNET = (
    Convolution(stride=4, padding=2, tap=True),
    Convolution(padding=2, tap=True, pool=3),
    Convolution(tap=True, pool=3),
    Convolution(tap=True),
    Convolution(tap=True),
)


class Network(NamedTuple):
    """The layers, and the smallest picture side that leaves a pixel at every tap."""

    layers: tuple[Convolution, ...]
    smallest: int


NETWORKS = {"vgg16": Network(_VGG16, 16), "alexnet": Network(_ALEXNET, 31)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerceptualNetwork:
    """A frozen convolutional stack and the LPIPS heads. Hand it to jitted functions as an argument: as a
    constant its weights (VGG-16: 59 MB) would be compiled into the program.

    Args:
      kernels: one ``[k, k, in, out]`` per convolution.
      biases: one ``[out]`` per convolution.
      heads: LPIPS v0.1 weights >= 0, one ``[channels]`` per tap.
      name: ``"vgg16"`` or ``"alexnet"``.
    """

    kernels: tuple[Float[Array, "_ _ _ _"], ...]
    biases: tuple[Float[Array, " _"], ...]
    heads: tuple[Float[Array, " _"], ...]
    name: str = field(metadata={"static": True})


def lpips(
    network: PerceptualNetwork, rgb: Float[Array, "b h w 3"], target: Float[Array, "b h w 3"]
) -> Float[jax.Array, " b"]:
    """Learned perceptual image patch similarity, version 0.1.

    ``sum over taps of mean over pixels of sum_c head_c (f_c / |f| - g_c / |g|)^2`` with f, g the features.

    Args:
      network: from `load_perceptual`.
      rgb: in [0, 1].
      target: in [0, 1], same size.

    Returns:
      one value >= 0 per image; 0 for equal images.

    Raises:
      ValueError: the pictures are too small for the network.

    Source: Zhang et al., CVPR 2018; package ``lpips`` 0.1.4 (whose inputs are in [-1, 1]).
    """
    pairs = zip(features(network, rgb), features(network, target), network.heads)
    return sum(
        (jnp.square(unit(f) - unit(g)) * head[None, None, None]).sum(axis=-1).mean(axis=(1, 2)) for f, g, head in pairs
    )


def features(
    network: PerceptualNetwork, image: Float[Array, "b h w 3"], last_tap: int | None = None
) -> list[jax.Array]:
    """The feature maps at the taps, up to the last one wanted.

    Args:
      network: from `load_perceptual`.
      image: ``[b, h, w, 3]`` in [0, 1].
      last_tap: 0 to 4, or None for all; later layers are not computed.

    Returns:
      one ``[b, h, w, c]`` per tap.

    Raises:
      ValueError: the pictures are too small for the network.
    """
    layers, smallest = NETWORKS[network.name]
    if min(image.shape[1:3]) < smallest:
        raise ValueError(f"{network.name} needs pictures of at least {smallest} pixels, got {image.shape[1:3]}.")
    x = (image - _MEAN[None, None, None]) / _STD[None, None, None]
    taps = []
    for layer, kernel, bias in zip(layers, network.kernels, network.biases):
        if layer.pool:
            window, stride = (1, layer.pool, layer.pool, 1), (1, 2, 2, 1)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, stride, "VALID")
        padding = [(layer.padding, layer.padding)] * 2
        dimensions = ("NHWC", "HWIO", "NHWC")
        strides = (layer.stride, layer.stride)
        x = jax.lax.conv_general_dilated(x, kernel.astype(x.dtype), strides, padding, dimension_numbers=dimensions)
        x = jax.nn.relu(x + bias.astype(x.dtype)[None, None, None])
        if layer.tap:
            taps.append(x)
            if len(taps) - 1 == last_tap:
                break
    return taps


def unit(features):
    """Divide by the channel norm; where all channels are 0 the result and its gradient are 0."""
    square = jnp.square(features).sum(axis=-1, keepdims=True)
    is_zero = square <= _NORM_EPSILON**2
    norm = jnp.where(is_zero, 1.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))
    return features / (norm + _NORM_EPSILON)
