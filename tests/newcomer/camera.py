"""A pinhole camera whose picture is squeezed to half its height."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from render.arrays import Array
from render.camera import Camera, PerspectiveCamera
from render.pytree import pytree


@pytree
@dataclasses.dataclass(frozen=True)
class SqueezedCamera(Camera):
    """``y_ndc`` of the pinhole camera, halved.

    Args:
        rotation, translation, focal: see `PerspectiveCamera`.
    """

    SHAPES: ClassVar = {"rotation": (3, 3), "translation": (3,), "focal": (2,)}
    rotation: Array
    translation: Array
    focal: Array
    near: float = dataclasses.field(default=0.1, metadata={"static": True})
    far: float = dataclasses.field(default=100.0, metadata={"static": True})

    def view(self, points_world):
        return self._pinhole.view(points_world)

    def project(self, points_world):
        return self._pinhole.project(points_world) * jnp.array([1.0, 0.5, 1.0, 1.0])

    def to_viewer(self, points_world):
        return self._pinhole.to_viewer(points_world)

    @property
    def _pinhole(self) -> PerspectiveCamera:
        return PerspectiveCamera(self.rotation, self.translation, self.focal, jnp.zeros_like(self.focal))
