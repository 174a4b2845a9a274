"""The template sphere laid out flat, once: where every point of every reconstruction is in its texture.

Two charts, the sides x > 0 and x < 0, cut along the plane of symmetry. Each is a hemisphere made flat without changing
areas (Lambert), then a disc made a square without changing areas (concentric squares), then stretched to half of the
texture, front and back along u, up along v. The charts fill 0.90 of the texture (level 3); two discs side by side fill
0.37 of it, and stretched to ellipses 0.74. The angles of squares are less true (singular values 2.0 to 1 in the mean
before the stretch, 1.4 for discs), yet on a reconstructed bird they are as sharp as ellipses of 10 % more texels.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.model.template import sphere

# Around each chart, of the side of the texture: 4 px of 1024, so that two mip levels keep the charts apart.
_MARGIN = 1 / 256


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """Texture coordinates of the template of one level.

    Args:
      source: the vertex of the mesh that each texture vertex is a copy of; only those on the seam have two.
      faces: corners among the texture vertices, in the template's order of faces and corners.
      uv: u right, v up, in [0, 1].
    """

    source: Int[np.ndarray, " n"]
    faces: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "n 2"]


@functools.cache
def unwrap(level: int) -> Unwrapped:
    """Lay the template out in the unit square, bijectively.

    The side x > 0 is the upper half, x < 0 the lower one; both are seen from outside with +Y up, so a mirror image is
    at ``(1 - u, v - 1/2)``. Faces astride the plane cannot be mirrored within two charts: the upper ones of the sphere
    belong to x > 0, the lower ones to x < 0.

    Args:
      level: of the template, see ``ast_jax.model.template.sphere``.

    Returns:
      the layout; level 3 has 690 texture vertices for 642 vertices.
    """
    ball = sphere(level)
    right = _on_the_right(level)
    faces = np.empty_like(ball.faces)
    sources, places = [], []
    for side, chosen in ((1, right), (-1, ~right)):
        source, corners = np.unique(ball.faces[chosen], return_inverse=True)
        faces[chosen] = corners.reshape(-1, 3) + sum(map(len, sources))
        sources.append(source)
        places.append(_square(ball.vertices[source], side))
    reach = max(np.abs(place).max() for place in places)  # teeth of faces astride the plane reach beyond it
    half = np.array([0.5, 0.25]) - _MARGIN
    uv = np.concatenate(
        [np.array([0.5, middle]) + half * place / reach for middle, place in zip((0.75, 0.25), places)],
    )
    return Unwrapped(np.concatenate(sources).astype(np.int32), faces, uv)


def _on_the_right(level: int) -> Bool[np.ndarray, " f"]:
    """The faces of the chart x > 0."""
    ball = sphere(level)
    centre = ball.vertices[ball.faces].mean(1)
    astride = ball.mirror_face == np.arange(len(ball.faces))
    return np.where(astride, centre[:, 1], centre[:, 0]) > 0


def _square(points: Float[np.ndarray, "n 3"], side: int) -> Float[np.ndarray, "n 2"]:
    """Points of the unit sphere about (side, 0, 0) in the square [-1, 1]^2, seen from outside with +Y up.

    The hemisphere becomes the disc of radius ``sqrt(2) sin(angle / 2)``, the disc the square, a quarter at a time:
    ``(r, phi) -> (r, r phi 4 / pi)`` for ``|phi| <= pi / 4``. Both keep areas up to one factor.

    Source: Shirley and Chiu, A Low Distortion Map Between Disk and Square, Journal of Graphics Tools 1997.
    """
    flat = np.stack([-side * points[:, 2], points[:, 1]], -1)
    angle_rad = np.arctan2(np.linalg.norm(flat, axis=-1), side * points[:, 0])
    radius = np.sqrt(2) * np.sin(angle_rad / 2)
    phi_rad = np.arctan2(flat[:, 1], flat[:, 0])
    quarter_rad = np.round(phi_rad / (np.pi / 2)) * (np.pi / 2)
    along, across = radius, radius * (phi_rad - quarter_rad) * 4 / np.pi
    cos, sin = np.cos(quarter_rad), np.sin(quarter_rad)
    return np.stack([along * cos - across * sin, along * sin + across * cos], -1)
