"""Readers of mesh files, one format a file; ``ast_jax.shapes.meshes`` chooses among them."""
