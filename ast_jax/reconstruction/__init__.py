"""From a photograph to a textured mesh: ``ast_jax.load("bird").reconstruct("photo.jpg").save("bird.glb")``."""

from ast_jax.reconstruction.by_name import load
from ast_jax.reconstruction.mesh_settings import MeshSettings
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.reconstruction.result import Reconstruction
from ast_jax.reconstruction.write import check_files, reconstruct_files

__all__ = ["MeshSettings", "Reconstruction", "Reconstructor", "check_files", "load", "reconstruct_files"]
