"""Readers of mesh files, one format a file; ``ast_jax.data.meshes`` chooses among them."""
