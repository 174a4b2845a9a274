"""What tests of glTF look at: the colour and the normal of a face."""

import numpy as np

from ast_jax.shapes.source_mesh import SourceMesh
from ast_jax.shapes.views import sample_colours

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]
# Texture coordinates of all three corners at once, u to the right and v down, so the whole face has one colour.
LEFT, RIGHT = np.tile(np.array([[0.25, 0.5], [0.75, 0.5]], np.float32)[:, None], (1, 3, 1))
PICTURE = [[RED, BLUE]]
HALF = 0.2140411  # sRGB .5 in light, IEC 61966-2-1


def colour(mesh: SourceMesh, face: int = 0, barycentric=(1 / 3, 1 / 3, 1 / 3)) -> np.ndarray:
    """sRGB, 0 to 255."""
    return 255 * sample_colours(mesh, np.array([face]), np.array([barycentric], np.float32))[0]


def normal(mesh: SourceMesh, face: int = 0) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces[face]]
    return np.cross(b - a, c - a)
