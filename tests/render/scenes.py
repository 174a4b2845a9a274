"""Cameras written out in numpy, and colours of the float64 reference, for the tests of blending rules."""

import numpy as np

from render import CornerColours, VertexColours, orbit
from tests.render import reference

SKY = (0.2, 0.5, 0.9)


def orbiting(batch=2):
    return orbit(np.full(batch, 2.7), np.linspace(0.2, 0.6, batch), np.linspace(1, 4, batch), np.full(batch, 0.55))


def project(camera, points):
    """Clip space of a perspective camera."""
    rotation, translation, focal = (
        np.asarray(x, np.float64) for x in (camera.rotation, camera.translation, camera.focal)
    )
    view = np.einsum("bij,bvj->bvi", rotation, points) + translation[:, None]
    return np.concatenate([view[..., :2] * focal[:, None], 0 * view[..., 2:], -view[..., 2:]], axis=-1)


def shader(texture, faces, image):
    """Colours of one image as the reference wants them: of a face index and barycentrics."""
    values = np.asarray(texture.values, np.float64)[image]
    if isinstance(texture, VertexColours):
        return lambda index, barycentric: barycentric @ values[faces[index]]
    if isinstance(texture, CornerColours):
        return lambda index, barycentric: barycentric @ values[index]
    return lambda index, barycentric: reference.texel_colour(values[index], barycentric)
