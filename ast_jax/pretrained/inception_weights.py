"""Weights of the Inception network of FID: from the published torch file, or from an ``.npz`` made of it.

The file is ``pt_inception-2015-12-05-6726825d.pth`` of the package pytorch-fid (about 90 MB), which ported the
graph of TensorFlow. It is read as data; torch is not needed and none of its code runs.
"""

from pathlib import Path

import numpy as np

from ast_jax.files.npz import load_npz
from ast_jax.files.writing import replacing
from ast_jax.pretrained.weights import check_finite, read_torch

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
_EPSILON = 1e-3  # of the batch normalisations (torchvision's BasicConv2d)

_BRANCHES = {
    "stem": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3",
    "a": "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool",
    "b": "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3",
    "c": "branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3"
    " branch7x7dbl_4 branch7x7dbl_5 branch_pool",
    "d": "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4",
    "e": "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a"
    " branch3x3dbl_3b branch_pool",
}
_BLOCKS = {"5b": "a", "5c": "a", "5d": "a", "6a": "b", "6b": "c", "6c": "c", "6d": "c", "6e": "c", "7a": "d"}
_BLOCKS |= {"7b": "e", "7c": "e"}
# All 94 convolutions.
CONVOLUTIONS = tuple(_BRANCHES["stem"].split()) + tuple(
    f"Mixed_{block}.{branch}" for block, kind in _BLOCKS.items() for branch in _BRANCHES[kind].split()
)


def load_inception(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights for `inception.inception_features`.

    Args:
      path: ``pt_inception-2015-12-05-6726825d.pth``, or the ``.npz`` of `convert_inception`, which loads faster.

    Returns:
      name of each convolution -> kernel ``[h, w, in, out]`` and bias ``[out]``, float32.

    Raises:
      ValueError: the file is absent, damaged or of another network.
    """
    path = Path(path)
    if path.suffix != ".npz":
        return fold_state(read_torch(path), path)
    try:
        arrays = load_npz(path)
    except ValueError as error:
        raise ValueError(f"{error} Make it of {FILE_NAME} with convert_inception.") from error
    check_finite(arrays, path)
    try:
        return {name: (arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in CONVOLUTIONS}
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing; make the file of {FILE_NAME} with convert_inception.") from error


def convert_inception(source: str | Path, destination: str | Path) -> None:
    """Make an ``.npz`` of the torch file: ``<convolution>/kernel`` ``[h, w, in, out]`` and ``<convolution>/bias``.

    Args:
      source: ``pt_inception-2015-12-05-6726825d.pth``.
      destination: the ``.npz`` to write, some 87 MB.

    Raises:
      ValueError: the source is absent, damaged or of another network.
    """
    arrays = {}
    for name, (kernel, bias) in load_inception(source).items():
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = kernel, bias
    with replacing(destination) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def fold_state(state: dict[str, np.ndarray], source: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fold each batch normalisation into the convolution before it.

    ``(W x - m) s / sqrt(v + 0.001) + t`` is one convolution with a bias.

    Args:
      state: torch's names: ``<convolution>.conv.weight`` ``[out, in, h, w]`` and ``<convolution>.bn.weight``,
        ``bias``, ``running_mean``, ``running_var`` ``[out]``. The classifier ``fc`` is left out.
      source: the file, for messages.

    Returns:
      as `load_inception`.

    Raises:
      ValueError: a tensor is missing or has another shape than its neighbours, or the network has further layers.
    """
    folded, used = {}, set()
    for name in CONVOLUTIONS:
        names = [f"{name}.conv.weight", *(f"{name}.bn.{x}" for x in ("weight", "bias", "running_mean", "running_var"))]
        missing = [x for x in names if x not in state]
        if missing:
            raise ValueError(f"{source}: has no tensor {missing[0]!r}; it is not {FILE_NAME}.")
        check_finite({x: state[x] for x in names}, source)
        weight, scale, shift, mean, variance = (np.asarray(state[x], np.float64) for x in names)
        if weight.ndim != 4 or any(x.shape != weight.shape[:1] for x in (scale, shift, mean, variance)):
            raise ValueError(f"{source}: the tensors of {name!r} do not fit together; it is not {FILE_NAME}.")
        if (variance < 0).any():
            raise ValueError(f"{source}: a variance of {name!r} is negative; it is not {FILE_NAME}.")
        scale = scale / np.sqrt(variance + _EPSILON)
        kernel, bias = weight.transpose(2, 3, 1, 0) * scale, shift - mean * scale
        folded[name] = (kernel.astype(np.float32), bias.astype(np.float32))
        used |= {*names, f"{name}.bn.num_batches_tracked"}
    extra = [x for x in state if x not in used and not x.startswith("fc.")]
    if extra:
        raise ValueError(f"{source}: has the tensor {extra[0]!r}, which FID's network has not; it is not {FILE_NAME}.")
    return folded
