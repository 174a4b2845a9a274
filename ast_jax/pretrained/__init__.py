"""Frozen networks, readers of published weights, and the models that come with the package (``models/``)."""
