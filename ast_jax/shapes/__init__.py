"""Meshes that we render: readers of mesh files, upright and to scale, views of them, a data set of them."""
