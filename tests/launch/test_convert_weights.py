"""Published weights to the files that evaluation reads, by the commands of docs/evaluation.md."""

import numpy as np
import pytest

from ast_jax.evaluation.lpips import load_lpips
from ast_jax.pretrained.inception_weights import load_inception
from tests.launch.test_train import _run
from tests.pretrained.inception_reference import Reference
from tests.pretrained.torch_files import write_state_dict


def test_inception(tmp_path):
    """Random weights in the layout of pytorch-fid, a sixteenth as wide."""
    reference = Reference(share=16)
    reference.features(np.zeros((75, 75, 3), np.float32))
    path = write_state_dict(tmp_path / "pt_inception-2015-12-05-6726825d.pth", reference.state)
    out = tmp_path / "inception.npz"
    result = _run("launch.convert_weights", "--network=inception", f"--source={path}", f"--out={out}")
    assert result.returncode == 0 and f"wrote {out}" in result.stdout, result.stderr[-2000:]
    for (kernel, bias), (other_kernel, other_bias) in zip(load_inception(path).values(), load_inception(out).values()):
        np.testing.assert_array_equal(kernel, other_kernel)
        np.testing.assert_array_equal(bias, other_bias)


def _alexnet(folder):
    """Random weights in the layouts of torchvision and of the package lpips."""
    rng, channels = np.random.default_rng(0), (3, 4, 5, 3, 2, 4)
    network, heads = {"classifier.6.weight": np.zeros((2, 2))}, {}
    for i, (position, side) in enumerate(zip((0, 3, 6, 8, 10), (11, 5, 3, 3, 3))):
        shape = (channels[i + 1], channels[i], side, side)
        network[f"features.{position}.weight"] = rng.normal(size=shape).astype(np.float32)
        network[f"features.{position}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
        heads[f"lin{i}.model.1.weight"] = rng.random((1, shape[0], 1, 1)).astype(np.float32)
    return network, heads


def test_lpips(tmp_path):
    network, heads = _alexnet(tmp_path)
    source, head_file = write_state_dict(tmp_path / "a.pth", network), write_state_dict(tmp_path / "h.pth", heads)
    out = tmp_path / "alexnet.npz"
    command = ["launch.convert_weights", "--network=alexnet", f"--source={source}", f"--out={out}"]
    assert "--heads: give alex.pth" in _run(*command).stderr
    result = _run(*command, f"--heads={head_file}")
    assert result.returncode == 0, result.stderr[-2000:]
    loaded = load_lpips("alexnet", out)
    np.testing.assert_array_equal(loaded.kernels[1], network["features.3.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(loaded.heads[4], heads["lin4.model.1.weight"][0, :, 0, 0])


@pytest.mark.parametrize("out, message", [("weights.txt", "must end with .npz"), ("weights.npz", "nowhere.pth")])
def test_wrong_files_are_named(tmp_path, out, message):
    result = _run("launch.convert_weights", "--network=inception", "--source=nowhere.pth", f"--out={tmp_path / out}")
    assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
