"""A page that reconstructs photographs in the browser, without a server."""

from ast_jax.demo.page import build_page

__all__ = ["build_page"]
