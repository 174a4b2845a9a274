"""FID's Inception against a float64 reference at a sixteenth of the width, and its size against published counts."""

import jax
import numpy as np
import pytest

from ast_jax.evaluation.features import load_extractor, set_distances
from ast_jax.evaluation.fid import fid
from ast_jax.pretrained.inception import inception_features
from ast_jax.pretrained.inception_weights import CONVOLUTIONS, convert_inception, fold_state, load_inception
from tests.pretrained.inception_reference import Reference
from tests.pretrained.torch_files import write_state_dict

SIDE = 139  # the last feature map is 3 x 3: smaller ones do not tell the poolings apart


@pytest.fixture(scope="module")
def small():
    """(state dict, picture, features) of the narrow network."""
    reference, image = Reference(share=16), np.random.default_rng(1).random((SIDE, SIDE, 3)).astype(np.float32)
    features = reference.features(image)
    return reference.state | {"fc.weight": np.zeros((2, 2))}, image, features


_features = jax.jit(inception_features, static_argnames="input_size")


def test_equals_the_reference(small):
    state, image, expected = small
    actual = _features(fold_state(state, "file"), image[None], input_size=None)
    assert expected.shape == (128,) and np.count_nonzero(expected) > 64
    np.testing.assert_allclose(actual[0], expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_pictures_are_resized_as_in_pytorch_fid(small):
    """Bilinear with pixel centres at +0.5 and clamped borders, one output row at a time."""
    state, image, _ = small
    small_image = image[:90, :60]

    def lines(x):
        result = []
        for i in range(SIDE):
            place = max((i + 0.5) * len(x) / SIDE - 0.5, 0.0)
            low, share = int(place), place - int(place)
            result.append((1 - share) * x[low] + share * x[min(low + 1, len(x) - 1)])
        return np.stack(result)

    resized = lines(lines(small_image.astype(np.float64)).swapaxes(0, 1)).swapaxes(0, 1)
    weights = fold_state(state, "file")
    expected = _features(weights, resized[None].astype(np.float32), input_size=None)
    actual = _features(weights, small_image[None], input_size=SIDE)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_has_the_published_number_of_weights():
    """Keras' Inception-v3 without top: 21,802,784 (kernels, shift, mean, variance); torchvision's without top and
    auxiliary head: 21,785,568 (kernels, scale, shift)."""
    reference = Reference(shapes_only=True)
    assert reference.features(np.zeros((1, 1, 3))).shape == (2048,)
    assert len(reference.state) == 94 and set(reference.state) == set(CONVOLUTIONS)
    kernels = sum(int(np.prod(shape)) for shape in reference.state.values())
    channels = sum(shape[0] for shape in reference.state.values())
    assert kernels + 3 * channels == 21_802_784 and kernels + 2 * channels == 21_785_568
    weights = {
        name: (jax.ShapeDtypeStruct((h, w, i, o), np.float32), jax.ShapeDtypeStruct((o,), np.float32))
        for name, (o, i, h, w) in reference.state.items()
    }
    image = jax.ShapeDtypeStruct((1, 64, 80, 3), np.float32)
    assert jax.eval_shape(inception_features, weights, image).shape == (1, 2048)


def test_torch_file_and_converted_file_are_the_same(small, tmp_path):
    path = write_state_dict(tmp_path / "inception.pth", small[0])
    convert_inception(path, tmp_path / "inception.npz")
    first, second = load_inception(path), load_inception(tmp_path / "inception.npz")
    expected = fold_state({k: np.asarray(v, np.float32) for k, v in small[0].items()}, "file")
    assert set(first) == set(second) == set(CONVOLUTIONS)
    for name, arrays in expected.items():
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(first[name][i], array)
            np.testing.assert_array_equal(second[name][i], array)


def test_other_files_are_refused(small, tmp_path):
    state = dict(small[0])
    state["Mixed_7c.branch1x1.bn.bias"] = np.zeros(3)
    with pytest.raises(ValueError, match="f.pth: the tensors of 'Mixed_7c.branch1x1' do not fit"):
        fold_state(state, "f.pth")
    del state["Mixed_7c.branch1x1.bn.bias"]
    with pytest.raises(ValueError, match="f.pth: has no tensor 'Mixed_7c.branch1x1.bn.bias'"):
        fold_state(state, "f.pth")
    with pytest.raises(ValueError, match="has the tensor 'AuxLogits.conv0.conv.weight'"):
        fold_state(small[0] | {"AuxLogits.conv0.conv.weight": np.zeros(1)}, "f.pth")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(ValueError, match="other.npz: 'Conv2d_1a_3x3/kernel' is missing"):
        load_inception(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="at least 75 pixels"):
        inception_features({}, np.zeros((1, 40, 90, 3), np.float32), None)


def test_only_inception_gives_fid(small, tmp_path):
    path = write_state_dict(tmp_path / "inception.pth", small[0])
    images, targets = np.random.default_rng(2).random((2, 2, 32, 32, 3)).astype(np.float32)
    row = set_distances(images, targets, "inception", path, batch_size=2)
    weights = load_inception(path)
    first, second = (np.asarray(_features(weights, x)) for x in (images, targets))
    assert set(row) == {"fid", "kid"}
    np.testing.assert_allclose(row["fid"], fid(first, second), rtol=1e-3)
    with pytest.raises(ValueError, match="pt_inception-2015-12-05-6726825d.pth"):
        set_distances(images, targets, "inception")
    with pytest.raises(ValueError, match="choose one of inception, efficientnet_lite0, alexnet, vgg16"):
        load_extractor("resnet")
