"""Where the picture was taken from, one way to find out in each file; a new one gets a line in ``CAMERAS``.

A line names a module, ``Mine(config, sizes, *, rngs)``: of ``config.model.camera`` and `ast_jax.model.layers.Sizes`.
"""

from collections.abc import Callable

from ast_jax.model.cameras.answer import CameraBranch
from ast_jax.model.cameras.candidates import ProposedCameras
from ast_jax.model.cameras.multiplex import MultiplexCamera
from ast_jax.model.cameras.regressed import GivenCamera

CAMERAS: dict[str, Callable[..., CameraBranch]] = {
    "given": GivenCamera,
    "candidates": ProposedCameras,
    "multiplex": MultiplexCamera,
}
