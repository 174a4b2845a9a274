"""The sphere that every shape starts from: its symmetry, its levels, and how coarse queries move fine meshes.

All of it is fixed topology: float64 and int32 numpy, computed once per level.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from render import icosphere

_TOLERANCE = 1e-9  # of coordinates on the unit sphere; vertices of level 5 are 0.03 apart
MAX_LEVEL = 5  # 10,242 vertices; the dense interpolation matrix would not fit much further


def check_levels(query_level: int, level: int, name: str) -> None:
    """Raises ValueError unless 0 <= query_level <= level <= MAX_LEVEL."""
    if not 0 <= query_level <= level <= MAX_LEVEL:
        raise ValueError(
            f"{name}: query_level={query_level}, level={level}; need 0 <= query_level <= level <= {MAX_LEVEL}"
        )


@dataclass(frozen=True, eq=False)
class Sphere:
    """One icosphere level, exactly symmetric about the plane x = 0.

    Args:
      vertices: on the unit sphere.
      faces: counter-clockwise from outside; a face (a, b, c) and its mirror image (a', c', b') correspond
        corner by corner, a' being the mirror image of vertex a.
      mirror_vertex: index of each vertex's mirror image.
      mirror_face: index of each face's mirror image.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    mirror_vertex: Int[np.ndarray, " v"]
    mirror_face: Int[np.ndarray, " f"]


@functools.cache
def sphere(level: int) -> Sphere:
    """The icosphere of that level (12, 42, 162, 642, 2562, 10242 vertices), made exactly symmetric.

    Faces keep their order; some start at another corner than ``render.icosphere``'s.
    """
    vertices, faces = icosphere(level)
    order = {tuple(key): i for i, key in enumerate(_rounded(vertices))}
    mirror_vertex = np.array([order[tuple(key)] for key in _rounded(vertices * [-1, 1, 1])], np.int32)
    vertices = vertices.copy()
    vertices[mirror_vertex == np.arange(len(vertices)), 0] = 0.0
    left = vertices[:, 0] < 0
    vertices[left] = vertices[mirror_vertex[left]] * [-1, 1, 1]

    index = {frozenset(face): i for i, face in enumerate(faces.tolist())}
    mirrored = mirror_vertex[faces]
    mirror_face = np.array([index[frozenset(face)] for face in mirrored.tolist()], np.int32)
    faces = faces.copy()
    for i, j in enumerate(mirror_face):
        if i == j:  # astride the plane: start at the corner that lies on it
            faces[i] = np.roll(faces[i], -int(np.argmin(np.abs(vertices[faces[i], 0]))))
        elif i < j:
            a, b, c = mirror_vertex[faces[i]]
            faces[j] = a, c, b
    return Sphere(vertices, faces, mirror_vertex, mirror_face)


def _rounded(points: np.ndarray) -> list:
    # Adding 0.0 turns -0.0 into 0.0.
    return (np.round(points / _TOLERANCE / 100) + 0.0).tolist()


def template_vertices(
    level: int, radius: float, axes: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Float[np.ndarray, "v 3"]:
    """The ellipsoid that shapes start from: ``radius * axes * sphere``, world units.

    Args:
      level: of the icosphere.
      radius: world units.
      axes: lengths of the half axes over the radius, x, y, z.
    """
    return radius * np.asarray(axes) * sphere(level).vertices


@dataclass(frozen=True, eq=False)
class Half:
    """The side x >= 0 of a set of vertices, and how the whole follows from it.

    Args:
      members: indices of the vertices with x >= 0.
      source: for every vertex of the whole, the position in ``members`` of itself or of its mirror image.
      sign: factor of x: 1 on this side, -1 on the other, 0 on the plane.
    """

    members: Int[np.ndarray, " m"]
    source: Int[np.ndarray, " v"]
    sign: Float[np.ndarray, " v"]


@functools.cache
def vertex_half(level: int) -> Half:
    """The half of a level's vertices that a symmetric shape predicts."""
    ball = sphere(level)
    x = ball.vertices[:, 0]
    members = np.flatnonzero(x >= 0)
    position = np.full(len(x), -1)
    position[members] = np.arange(len(members))
    source = np.where(x >= 0, position, position[ball.mirror_vertex])
    return Half(members.astype(np.int32), source.astype(np.int32), np.sign(x))


@functools.cache
def interpolation_matrix(query_level: int, level: int) -> Float[np.ndarray, "v q"]:
    """Weights that carry values from the vertices of a coarse level smoothly to those of a finer one.

    The smooth interpolant s(x) = sum_q w_q |x - x_q|^3 + a + b.x through the coarse values: coarse vertices
    keep their own value, and constants and linear functions of the position are reproduced exactly, so that a
    coarse scaling, shift or stretch of the sphere is the same on the fine mesh, without creases at coarse
    edges.

    Args:
      query_level: level whose vertices carry values.
      level: finer level, whose first vertices are the same points.
    Returns:
      weights; rows sum to 1.
    Raises:
      ValueError: the levels are not ordered.
    Source: Duchon 1977, polyharmonic splines (the triharmonic kernel of three dimensions).
    """
    check_levels(query_level, level, "interpolation_matrix")
    coarse, fine = sphere(query_level).vertices, sphere(level).vertices
    q = len(coarse)
    polynomial = np.concatenate([np.ones((q, 1)), coarse], axis=1)
    system = np.zeros((q + 4, q + 4))
    system[:q, :q] = _cubed_distance(coarse, coarse)
    system[:q, q:], system[q:, :q] = polynomial, polynomial.T
    basis = np.concatenate([_cubed_distance(fine, coarse), np.ones((len(fine), 1)), fine], axis=1)
    weights = np.linalg.solve(system, basis.T)[:q].T
    weights[:q] = np.eye(q)
    return weights


def _cubed_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = np.maximum(2 - 2 * a @ b.T, 0)  # both on the unit sphere
    return squared * np.sqrt(squared)


@functools.cache
def child_faces(query_level: int, level: int) -> Int[np.ndarray, "g k"]:
    """The 4^(level - query_level) faces of a fine level inside each face of a coarse one, in one fixed order.

    Args:
      query_level, level: coarse and fine.
    Returns:
      face indices of the fine level.
    """
    check_levels(query_level, level, "child_faces")
    count = 4 ** (level - query_level)
    # Subdivision puts the four children of face i at 4 i .. 4 i + 3.
    return np.arange(20 * 4**level, dtype=np.int32).reshape(-1, count)


def at_level(values: Float[np.ndarray, "v k"], level: int, to_level: int) -> Float[np.ndarray, "w k"]:
    """Values on the vertices of one level on those of another: smoothly between them, or the ones that are shared.

    Args:
      values: of the vertices of ``level``.
      level: which vertices have them.
      to_level: which are wanted.
    """
    if to_level > level:
        return interpolation_matrix(level, to_level) @ values
    return values[: len(sphere(to_level).vertices)]


def carry_points(
    face: Int[np.ndarray, " n"], barycentric: Float[np.ndarray, "n 3"], level: int, to_level: int
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Points on the faces of one level where they are on the faces of another, each face halved along its edges.

    Args:
      face: of ``level``, for each point.
      barycentric: its place there.
      level: which faces are given.
      to_level: which are wanted, finer or coarser.

    Returns:
      faces of ``to_level`` and the places in them.
    """
    while level > to_level:
        barycentric = np.einsum("ni,nij->nj", barycentric, _corners_in_parent(level)[face])
        face, level = face // 4, level - 1
    while level < to_level:
        level += 1
        children = 4 * face[:, None] + np.arange(4)
        inside = np.einsum("ni,ncij->ncj", barycentric, np.linalg.inv(_corners_in_parent(level))[children])
        best = inside.min(-1).argmax(1)[:, None]
        face = np.take_along_axis(children, best, 1)[:, 0]
        barycentric = np.take_along_axis(inside, best[..., None], 1)[:, 0]
    return face, barycentric


@functools.cache
def _corners_in_parent(level: int) -> Float[np.ndarray, "f 3 3"]:
    """Barycentrics of each face's corners in the face of the level before that it is a quarter of."""
    coarse, fine = sphere(level - 1), sphere(level)
    corners = coarse.vertices[coarse.faces]
    places = np.concatenate([np.eye(3), (1 - np.eye(3)) / 2])  # the corners, and the middles of the edges
    points = np.einsum("pc,fcx->fpx", places, corners)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    parent = np.arange(len(fine.faces)) // 4
    distance = np.linalg.norm(fine.vertices[fine.faces][:, :, None] - points[parent][:, None], axis=-1)
    return places[distance.argmin(-1)]


@dataclass(frozen=True, eq=False)
class FaceHalf:
    """The coarse faces that a symmetric texture predicts, and how all fine faces follow.

    Args:
      members: coarse faces with their centre at x >= 0.
      direct, mirrored: for every fine face, the predicted fine face (counted along ``members`` and their
        children) that it shows, and the one that it shows as a mirror image; off the plane both name the same
        texels.
      direct_flipped, mirrored_flipped: whether the texel axes of that source must be exchanged.
    """

    members: Int[np.ndarray, " m"]
    direct: Int[np.ndarray, " f"]
    mirrored: Int[np.ndarray, " f"]
    direct_flipped: Bool[np.ndarray, " f"]
    mirrored_flipped: Bool[np.ndarray, " f"]


@functools.cache
def face_half(query_level: int, level: int) -> FaceHalf:
    """The half of the faces that a symmetric texture predicts.

    A mirror image exchanges the second and third corner of a face (see ``Sphere``), hence its two texel axes.
    """
    coarse, fine = sphere(query_level), sphere(level)
    centre_x = coarse.vertices[coarse.faces].mean(1)[:, 0]
    members = np.flatnonzero(centre_x > -_TOLERANCE)
    position = np.full(len(fine.faces), -1)
    position[child_faces(query_level, level)[members].reshape(-1)] = np.arange(
        len(members) * 4 ** (level - query_level)
    )
    own, other = position, position[fine.mirror_face]
    return FaceHalf(
        members.astype(np.int32),
        np.where(own >= 0, own, other).astype(np.int32),
        np.where(other >= 0, other, own).astype(np.int32),
        own < 0,
        other >= 0,
    )
