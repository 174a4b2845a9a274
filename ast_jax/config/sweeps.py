"""Sweeps that all experiments share; a config file offers one to launch.sweep by importing it."""

from collections.abc import Iterator


def sweep_shape() -> Iterator[dict]:
    """The Shape Transformer against the baseline of CMR and DIB-R."""
    for kind in ("transformer", "mlp"):
        yield {"model.shape.kind": kind}


def sweep_synthesis() -> Iterator[dict]:
    """Steps of analysis by synthesis after the coarse shape of an MLP: none, unlearned ones, learned ones."""
    for kind in ("none", "fit", "learned"):
        yield {"model.shape.kind": "mlp", "model.shape.synthesis": kind}


def sweep_steps() -> Iterator[dict]:
    """How many learned steps of synthesis."""
    for steps in (1, 2, 4, 8):
        yield {"model.shape.synthesis": "learned", "model.shape.synthesis_steps": steps}


def sweep_texture() -> Iterator[dict]:
    """The Texture Transformer against what copies the picture, and what decodes colours from its summary."""
    for kind in ("transformer", "projection", "flow", "mlp", "vertex_colour"):
        yield {"model.texture.kind": kind}


def sweep_queries() -> Iterator[dict]:
    """12, 42, 162 or 642 shape queries: icosphere levels, the last of which is one query per vertex of the mesh."""
    for level in range(4):
        yield {"model.shape.query_level": level}


def sweep_layers() -> Iterator[dict]:
    """Decoder layers of the paper's Shape Transformer."""
    for layers in (1, 2, 4):
        yield {"model.shape.kind": "transformer", "model.shape.layers": layers}


def sweep_seed() -> Iterator[dict]:
    """Three runs that differ by chance alone: how much of a difference between others is that?"""
    for seed in range(3):
        yield {"seed": seed}


def sweep_learning_rate() -> Iterator[dict]:
    """About the default of 1e-3, a factor of three to both sides."""
    for rate in (3e-4, 1e-3, 3e-3):
        yield {"optimizer.learning_rate": rate}
