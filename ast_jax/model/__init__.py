"""Picture -> textured mesh, cameras and key points."""

from ast_jax.model.model import Model

__all__ = ["Model"]
