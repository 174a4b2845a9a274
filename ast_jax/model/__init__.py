"""Picture -> textured mesh, cameras and key points."""

from ast_jax.model.model import Model
from ast_jax.model.prediction import Prediction

__all__ = ["Model", "Prediction"]
