"""A trained model as one compiled function."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.compile_options import quick_jit
from ast_jax.prediction import Prediction
from render import PerspectiveCamera

# Pictures as `Batch.image` has them, and their cameras where they are known.
Predictor = Callable[[Float[np.ndarray, "b h w c"], PerspectiveCamera | None], Prediction]


def make_predictor(model: nnx.Module, *, takes_camera: bool = False) -> Predictor:
    """The model as a compiled function of pictures, ``predict(image, camera=None)``.

    Args:
      model: as ``load_model`` gives it.
      takes_camera: whether pictures may come with their cameras. One program then serves those that do and those that
        do not, for compiling it takes far longer than running it. A model that predicts no camera ignores them.
    """
    graphdef, params = nnx.split(model)
    reads_camera = takes_camera and predicts_camera(model)

    def call(params, image, camera, is_known):
        model = nnx.merge(graphdef, params)
        return answer_with_camera(model, image, camera, is_known) if reads_camera else model(image)

    compiled = quick_jit(call)

    def predict(image, camera=None):
        known = {name: np.zeros((len(image), *size), np.float32) for name, size in PerspectiveCamera.SHAPES.items()}
        if camera is not None:
            known = {name: getattr(camera, name) for name in known}
        return compiled(params, jnp.asarray(image, jnp.float32), known, camera is not None)

    return predict


def predicts_camera(model: nnx.Module) -> bool:
    """Whether a model says where a picture was taken from."""
    branch = getattr(model, "camera", None)
    return branch is not None and branch.sees


def answer_with_camera(
    model: nnx.Module, image: Float[Array, "b h w c"], camera: dict[str, Array], is_known: bool | Array
) -> Prediction:
    """The prediction for pictures whose camera may be known.

    Args:
      model: one that predicts cameras.
      image: as `Batch.image`.
      camera: the arrays of ``PerspectiveCamera.SHAPES``.
      is_known: False: the model's own camera stands in for them.
    """
    encoding = model.encode(image)  # ty: ignore[missing-attribute]
    own = model.camera(encoding.summary).seen  # ty: ignore[missing-attribute]
    given = {name: jnp.where(is_known, value, getattr(own, name)) for name, value in camera.items()}
    camera = replace(own, **given)
    return model.answer(image, encoding, camera=camera, camera_is_known=is_known)  # ty: ignore[missing-attribute]
