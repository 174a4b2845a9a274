"""The Inception network whose pooled features define FID and KID. `inception_weights` reads its weights.

It is Inception-v3 as TensorFlow's graph of 2015-12-05 has it, which differs from the paper and from torchvision:
average poolings leave the padding out of the mean, and the last block pools by the maximum.

Source: Szegedy et al., Rethinking the Inception architecture, CVPR 2016; names of the layers are torchvision's and
  the differences those of the package pytorch-fid.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ast_jax.arrays import Array

# name of a convolution -> kernel [h, w, in, out] and bias [out], the batch normalisation folded into both
Weights = Mapping[str, tuple[Array, Array]]

INPUT_SIZE = 299
_A, _C = ("Mixed_5b", "Mixed_5c", "Mixed_5d"), ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")


def inception_features(
    weights: Weights, image: Float[Array, "b h w 3"], input_size: int | None = INPUT_SIZE
) -> Float[jax.Array, "b d"]:
    """Mean over the pixels of the last feature map: what FID and KID compare.

    Args:
      weights: from `inception_weights.load_inception`. Hand them to jitted functions as an argument.
      image: in [0, 1].
      input_size: the picture is first brought to this side: bilinear, without smoothing when it shrinks, pixel
        centres at +0.5, as in pytorch-fid. None leaves it; it needs at least 75 pixels.

    Returns:
      2,048 features per picture.

    Raises:
      ValueError: the picture is too small.
    """
    if input_size is not None:
        shape = (image.shape[0], input_size, input_size, image.shape[3])
        image = jax.image.resize(image, shape, "bilinear", antialias=False)
    if min(image.shape[1:3]) < 75:
        raise ValueError(f"image: Inception needs at least 75 pixels a side, got {image.shape[1:3]}.")
    conv = partial(_convolve, weights)
    x = _stem(conv, 2.0 * image - 1.0)
    for name in _A:
        x = _block_a(conv, name, x)
    x = _block_b(conv, x)
    for name in _C:
        x = _block_c(conv, name, x)
    x = _block_d(conv, x)
    x = _block_e(conv, "Mixed_7b", x, _mean_pool)
    x = _block_e(conv, "Mixed_7c", x, partial(_max_pool, stride=1, padding="SAME"))
    return x.mean(axis=(1, 2))


def _convolve(weights: Weights, name: str, x, stride: int = 1, padding: str = "SAME"):
    """Convolution, normalisation (folded), ReLU. Strided ones are never padded, so SAME is symmetric."""
    kernel, bias = weights[name]
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=dimensions)
    return jax.nn.relu(y + bias[None, None, None])


def _max_pool(x, stride: int = 2, padding: str = "VALID"):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _mean_pool(x):
    """3 x 3, of the pixels that there are."""
    pool = partial(jax.lax.reduce_window, init_value=0.0, computation=jax.lax.add)
    window = dict(window_dimensions=(1, 3, 3, 1), window_strides=(1, 1, 1, 1), padding="SAME")
    return pool(x, **window) / pool(jnp.ones_like(x[:1, :, :, :1]), **window)


def _chain(conv, block: str, names: str, x):
    """The convolutions of one branch, one after the other."""
    for name in names.split():
        x = conv(f"{block}.{name}", x)
    return x


def _stem(conv, x):
    x = conv("Conv2d_1a_3x3", x, 2, "VALID")
    x = conv("Conv2d_2a_3x3", x, 1, "VALID")
    x = _max_pool(conv("Conv2d_2b_3x3", x))
    x = conv("Conv2d_3b_1x1", x)
    return _max_pool(conv("Conv2d_4a_3x3", x, 1, "VALID"))


def _block_a(conv, name: str, x):
    branches = [
        _chain(conv, name, "branch1x1", x),
        _chain(conv, name, "branch5x5_1 branch5x5_2", x),
        _chain(conv, name, "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", x),
        _chain(conv, name, "branch_pool", _mean_pool(x)),
    ]
    return jnp.concatenate(branches, axis=-1)


def _block_b(conv, x):
    name = "Mixed_6a"
    double = _chain(conv, name, "branch3x3dbl_1 branch3x3dbl_2", x)
    branches = [
        conv(f"{name}.branch3x3", x, 2, "VALID"),
        conv(f"{name}.branch3x3dbl_3", double, 2, "VALID"),
        _max_pool(x),
    ]
    return jnp.concatenate(branches, axis=-1)


def _block_c(conv, name: str, x):
    double = " ".join(f"branch7x7dbl_{i}" for i in range(1, 6))
    branches = [
        _chain(conv, name, "branch1x1", x),
        _chain(conv, name, "branch7x7_1 branch7x7_2 branch7x7_3", x),
        _chain(conv, name, double, x),
        _chain(conv, name, "branch_pool", _mean_pool(x)),
    ]
    return jnp.concatenate(branches, axis=-1)


def _block_d(conv, x):
    name = "Mixed_7a"
    single = _chain(conv, name, "branch3x3_1", x)
    long = _chain(conv, name, "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3", x)
    branches = [
        conv(f"{name}.branch3x3_2", single, 2, "VALID"),
        conv(f"{name}.branch7x7x3_4", long, 2, "VALID"),
        _max_pool(x),
    ]
    return jnp.concatenate(branches, axis=-1)


def _block_e(conv, name: str, x, pool):
    single = _chain(conv, name, "branch3x3_1", x)
    double = _chain(conv, name, "branch3x3dbl_1 branch3x3dbl_2", x)
    branches = [
        _chain(conv, name, "branch1x1", x),
        conv(f"{name}.branch3x3_2a", single),
        conv(f"{name}.branch3x3_2b", single),
        conv(f"{name}.branch3x3dbl_3a", double),
        conv(f"{name}.branch3x3dbl_3b", double),
        _chain(conv, name, "branch_pool", pool(x)),
    ]
    return jnp.concatenate(branches, axis=-1)
