"""Pages that reconstruct photographs: one for this machine, and one file that needs no server."""

from ast_jax.demo.app import serve
from ast_jax.demo.page import build_page

__all__ = ["build_page", "serve"]
