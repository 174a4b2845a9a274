"""Blending rules: how the faces near a pixel become its colour and its coverage.

A rule is a function `blend(scene, softness, face_id) -> (rgb, alpha)` in a file of its own, named in `RULES`.
`face_id` is the hard z-buffer, `[b, h, w]`; rgb has the backdrop in it.
"""

from collections.abc import Callable

from render.blending import antialias, hard, layered, softmax

RULES: dict[str, Callable] = {
    "softmax": softmax.blend,
    "layered": layered.blend,
    "hard": hard.blend,
    "antialias": antialias.blend,
}
