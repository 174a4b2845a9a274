"""Blending rules: how the faces near a pixel become its colour and its coverage.

A rule is a function `blend(scene, softness, face_id) -> (rgb, alpha)` (`render.scene.Rule`) in a file of its own.
`face_id` is the hard z-buffer, `[b, h, w]`; rgb has the backdrop in it. Those in `RULES` are plain JAX: the
rules of the backend "xla". Which rules another backend has, these or its own, stands in `render.backends`.
"""

from render.blending import antialias, hard, layered, softmax
from render.scene import Rule

RULES: dict[str, Rule] = {
    "softmax": softmax.blend,
    "layered": layered.blend,
    "hard": hard.blend,
    "antialias": antialias.blend,
}
