"""A trained model as one file that runs without this project: StableHLO for jax and XLA, or ONNX."""

import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.export.onnx_file import encode_onnx
from ast_jax.export.plain import plain_jaxpr
from ast_jax.model.predictor import answer_with_camera
from ast_jax.near_match import choose
from render import FaceTexels, PerspectiveCamera, draw_with

# Where an exported program of StableHLO runs, whatever exported it.
_PLATFORMS = ("cpu", "cuda", "tpu")
# What a camera is called among the inputs, and 1 where it is known, 0 where the model's own is wanted.
_GIVEN, IS_KNOWN = "given_{}", "camera_is_known"


class Program(NamedTuple):
    """A model as a function of arrays.

    Args:
      function: arrays in the order of ``inputs`` to a list of arrays in the order of ``outputs``.
      inputs: names and shapes; all are float32.
      outputs: ``vertices [1, v, 3]`` in world space, ``faces [f, 3]``, and what the model predicts of ``texels
        [1, f, t, t, 3]`` and of a camera: ``rotation [1, 3, 3]``, ``translation [1, 3]``, ``focal [1, 2]`` and
        ``principal [1, 2]``; see `render.FaceTexels` and `render.PerspectiveCamera`.
    """

    function: Callable[..., list]
    inputs: dict[str, tuple[int, ...]]
    outputs: list[str]

    @property
    def arguments(self) -> list[jax.ShapeDtypeStruct]:
        """What the function takes."""
        return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.inputs.values()]


def make_program(model: nnx.Module, image_shape: tuple[int, int, int], *, takes_camera: bool = False) -> Program:
    """A model as a function of one picture, ``image [1, h, w, c]``.

    Args:
      model: as ``load_model`` gives it.
      image_shape: of the picture as the model takes it: RGB in [0, 1], and the coverage if it was trained with it.
      takes_camera: whether the picture's camera may be given: inputs ``given_rotation`` and so on, which count where
        ``camera_is_known`` is 1. Only for a model that predicts cameras.
    """
    inputs = {"image": (1, *image_shape)}
    if takes_camera:
        inputs |= {_GIVEN.format(name): (1, *size) for name, size in PerspectiveCamera.SHAPES.items()} | {IS_KNOWN: ()}

    def predict(image, *camera):
        if not takes_camera:
            return model(image)
        return answer_with_camera(model, image, dict(zip(PerspectiveCamera.SHAPES, camera[:-1])), camera[-1] > 0.5)

    def function(*arrays: Float[Array, "..."]) -> list:
        return list(_arrays(predict(*arrays)).values())

    dummies = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs.values()]
    found: list[str] = []

    def names(*arrays):
        answer = _arrays(predict(*arrays))
        found.extend(answer)
        return answer

    jax.eval_shape(names, *dummies)
    return Program(function, inputs, found)


def _arrays(prediction) -> dict[str, Array]:
    found = {"vertices": prediction.vertices, "faces": jnp.asarray(np.asarray(prediction.faces, np.int32))}
    if isinstance(prediction.texture, FaceTexels):
        found["texels"] = prediction.texture.values
    if prediction.input_camera is not None:
        found |= {name: getattr(prediction.input_camera, name) for name in PerspectiveCamera.SHAPES}
    return found


def encode_stablehlo(program: Program, about: dict) -> bytes:
    """What ``jax.export.deserialize(content).call(image)`` runs, on CPU, GPU and TPU.

    Args:
      program: the model.
      about: not used; the format has no place for it.
    """
    del about
    return bytes(jax.export.export(jax.jit(program.function), platforms=_PLATFORMS)(*program.arguments).serialize())


def encode_program_onnx(program: Program, about: dict) -> bytes:
    """An ONNX file, drawn with the backend "dense": every step of synthesis looks at all pixels and faces.

    Args:
      program: the model.
      about: goes into the file's metadata, as JSON.

    Raises:
      ValueError: the model has an operation that cannot be written, or the package onnx is missing.
    """
    with draw_with("dense"):
        plain = plain_jaxpr(program.function, *program.arguments)
    metadata = {key: json.dumps(value) for key, value in about.items()}
    return encode_onnx(plain, list(program.inputs), program.outputs, metadata=metadata)


PROGRAM_FORMATS = {"onnx": encode_program_onnx, "stablehlo": encode_stablehlo}


def encode_program(program: Program, name: str, about: dict) -> bytes:
    """A model in one of ``PROGRAM_FORMATS``.

    Args:
      program: see :func:`make_program`.
      name: of the format.
      about: what JSON can hold, for formats that have a place for it.

    Raises:
      ValueError: an unknown format, with the near match, or what cannot be written.
    """
    return PROGRAM_FORMATS[choose("format", name, tuple(PROGRAM_FORMATS))](program, about)
