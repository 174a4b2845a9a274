"""From a photograph to a textured mesh: ``ast_jax.load("bird").reconstruct("photo.jpg").save("bird.glb")``."""

from ast_jax.reconstruction.files import reconstruct_files
from ast_jax.reconstruction.reconstruct import Reconstructor, load
from ast_jax.reconstruction.result import Reconstruction

__all__ = ["Reconstruction", "Reconstructor", "load", "reconstruct_files"]
