"""Triangle meshes: the batched container, icospheres, normals, edges."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from render.arrays import Array, StaticArray, check_faces, check_floats, check_mask, is_integer, to_float

# The gradient of a normal is as large as 1 / the height of the face; below this height it would not fit into a float32.
_LEAST_HEIGHT = 1e-30


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Mesh:
    """A batch of triangle meshes.

    Faces are int32, counter-clockwise seen from outside. `[f, 3]` numpy faces are shared by the batch and
    static: a jitted function is compiled once for each topology. `[b, f, 3]` faces are data like the
    vertices; meshes of different sizes share a batch by padding, with `face_mask` telling which faces
    exist.

    Args:
        vertices: `[b, v, 3]` world coordinates.
        faces: numpy `[f, 3]`, or `[b, f, 3]`.
        face_mask: `[b, f]`, only with `[b, f, 3]` faces; a padded face may name any vertex.

    Raises:
        ValueError: wrong shapes or types, shared faces that are not numpy, a face index out of range.
    """

    vertices: Float[Array, "b v 3"]
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"]
    face_mask: Bool[Array, "b f"] | None = None

    def __post_init__(self):
        check_vertices(self.vertices)
        if np.ndim(self.faces) == 2 and not isinstance(self.faces, np.ndarray):
            raise ValueError("faces [f, 3] are static: pass a numpy array, or broadcast them to [b, f, 3]")
        check_faces(self.faces, self.vertices.shape[1], self.vertices.shape[0])
        if self.face_mask is not None and self.faces.ndim == 2:
            raise ValueError("face_mask needs faces of shape [b, f, 3]: broadcast them, or leave faces away")
        check_mask("face_mask", self.face_mask, self.faces.shape[:-1])

    def tree_flatten(self):
        """Children and static part; called by jax."""
        if isinstance(self.faces, np.ndarray) and self.faces.ndim == 2:
            return (self.vertices, None, self.face_mask), StaticArray(self.faces)
        return (self.vertices, self.faces, self.face_mask), None

    @classmethod
    def tree_unflatten(cls, static, children):
        """Rebuilds without checks, since jax also puts placeholders into pytrees."""
        mesh = object.__new__(cls)
        vertices, faces, face_mask = children
        object.__setattr__(mesh, "vertices", vertices)
        object.__setattr__(mesh, "faces", faces if static is None else static.array)
        object.__setattr__(mesh, "face_mask", face_mask)
        return mesh


def icosphere(level: int) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Unit sphere from a subdivided icosahedron.

    Every level splits each face into four, so there are `10 4^level + 2` vertices and `20 4^level` faces. The
    vertices of a level are the first vertices of the next.

    Args:
        level: 0 (icosahedron) or more.

    Returns:
        Vertices (float64, unit length) and faces (int32, counter-clockwise from outside).

    Raises:
        ValueError: level is no integer >= 0.
    """
    if not is_integer(level) or level < 0:
        raise ValueError(f"level must be an integer >= 0, got {level!r}")
    vertices, faces = _icosahedron()
    for _ in range(level):
        vertices, faces = _subdivide(vertices, faces)
    return vertices, faces.astype(np.int32)


def _icosahedron() -> tuple[np.ndarray, np.ndarray]:
    golden = (1.0 + 5.0**0.5) / 2.0
    rectangle = np.array([[-1.0, golden], [1.0, golden], [-1.0, -golden], [1.0, -golden]])
    flat = np.concatenate([rectangle, np.zeros((4, 1))], axis=1)
    # Three golden rectangles at right angles: the axes turn cyclically.
    vertices = np.concatenate([np.roll(flat, shift, axis=1) for shift in range(3)])
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    closest = np.sort(vertices @ vertices.T, axis=1)[0, -2]
    touching = vertices @ vertices.T > closest - 1e-6
    corners = [
        (a, b, c)
        for a in range(12)
        for b in range(a + 1, 12)
        for c in range(b + 1, 12)
        if touching[a, b] and touching[b, c] and touching[a, c]
    ]
    faces = np.array(corners)
    inward = np.linalg.det(vertices[faces]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return vertices, faces


def _subdivide(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges, edge_of_corner = _edges_of_faces(faces)
    middle = vertices[edges].sum(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    # Corner i of a face starts the edge (i, i + 1).
    a, b, c = faces.T
    ab, bc, ca = (edge_of_corner + len(vertices)).T
    children = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    split = np.stack([np.stack(child, axis=1) for child in children], axis=1)
    return np.concatenate([vertices, middle]), split.reshape(-1, 3)


def _edges_of_faces(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_faces(faces)
    if faces.ndim != 2:
        raise ValueError(f"faces must have shape [f, 3] here, one mesh at a time, got {faces.shape}")
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1)
    edges, inverse = np.unique(np.sort(directed.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    return edges, inverse.reshape(-1, 3)


def unique_edges(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "e 2"]:
    """Every edge once, as (lower, higher) vertex index, sorted.

    Args:
        faces: triangle indices.

    Returns:
        Edges, int32.

    Raises:
        ValueError: wrong shape or type.
    """
    return _edges_of_faces(faces)[0].astype(np.int32)


def edge_face_pairs(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "e 2"]:
    """The two faces on either side of each inner edge.

    Edges of one face only (a boundary) have no pair; an edge of k > 2 faces gives its k - 1 neighbours in
    face order.

    Args:
        faces: triangle indices.

    Returns:
        Pairs of face indices, lower first, int32.

    Raises:
        ValueError: wrong shape or type.
    """
    edge_of_corner = _edges_of_faces(faces)[1].reshape(-1)
    order = np.argsort(edge_of_corner, kind="stable")
    same = edge_of_corner[order][1:] == edge_of_corner[order][:-1]
    face = order // 3
    return np.stack([face[:-1][same], face[1:][same]], axis=1).astype(np.int32)


def face_normals(
    vertices: Float[Array, "b v 3"], faces: Int[Array, "f 3"] | Int[Array, "b f 3"]
) -> Float[Array, "b f 3"]:
    """Unit normals of faces, outward for counter-clockwise faces; zero for faces without area.

    Args:
        vertices: world coordinates.
        faces: triangle indices.

    Returns:
        Normals, finite with finite gradients for every input.

    Raises:
        ValueError: wrong shape or type, a face index out of range.
    """
    check_vertices(vertices)
    vertices = to_float("vertices", vertices)
    first, second = _edges_at_corner(vertices, faces)
    size = _largest(jnp.maximum(jnp.abs(first), jnp.abs(second)), -1)
    return safe_unit(_scaled_cross(first, second, size), size)


def vertex_normals(
    vertices: Float[Array, "b v 3"], faces: Int[Array, "f 3"] | Int[Array, "b f 3"]
) -> Float[Array, "b v 3"]:
    """Unit normals of vertices: the area-weighted mean of the faces around; zero where they cancel or are
    missing.

    Args:
        vertices: world coordinates.
        faces: triangle indices; padded faces must have no area (repeat one index).

    Returns:
        Normals, finite with finite gradients for every input.

    Raises:
        ValueError: wrong shape or type, a face index out of range.
    """
    check_vertices(vertices)
    vertices = to_float("vertices", vertices)
    first, second = _edges_at_corner(vertices, faces)
    # One size for all faces of a mesh: areas are weights.
    size = _largest(jnp.maximum(jnp.abs(first), jnp.abs(second)), (1, 2))
    area = jnp.repeat(_scaled_cross(first, second, size), 3, axis=1)
    index = jnp.broadcast_to(jnp.asarray(faces), (vertices.shape[0], *faces.shape[-2:])).reshape(vertices.shape[0], -1)
    total = jax.vmap(lambda values, rows: jnp.zeros_like(values, shape=(vertices.shape[1], 3)).at[rows].add(values))(
        area, index
    )
    return safe_unit(total, size)


def gather_corners(values: Array, faces: Array) -> jax.Array:
    """Vertex values at the corners of faces.

    Args:
        values: `[b, v, ...]`.
        faces: `[f, 3]` or `[b, f, 3]`.

    Returns:
        `[b, f, 3, ...]`.

    Raises:
        ValueError: wrong shape or type, a face index out of range.
    """
    if np.ndim(values) < 2:
        raise ValueError(f"values must have shape [b, v, ...], got {np.shape(values)}")
    check_faces(faces, values.shape[1], values.shape[0])
    values, faces = jnp.asarray(values), jnp.asarray(faces)
    if faces.ndim == 2:
        return jnp.take(values, faces, axis=1)
    return jax.vmap(lambda rows, index: rows[index])(values, faces)


def check_vertices(vertices: Array) -> None:
    """Raises a ValueError when vertices are not floats `[b, v, 3]`."""
    check_floats("vertices", vertices)
    if vertices.ndim != 3 or vertices.shape[-1] != 3:
        raise ValueError(f"vertices must have shape [b, v, 3], got {vertices.shape}")


def _edges_at_corner(vertices: Array, faces: Array) -> tuple[jax.Array, jax.Array]:
    """Edges 0-1 and 0-2 of all faces, `[b, f, 3]`."""
    # Cut off, so that differences are finite.
    corners = gather_corners(jnp.clip(vertices, -1e36, 1e36), faces)
    return corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]


def _largest(values: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """Largest of the values, without gradient: what is divided by it is rescaled afterwards."""
    return jnp.max(jax.lax.stop_gradient(values), axis=axis, keepdims=True, initial=0.0)


def _scaled_cross(first: jax.Array, second: jax.Array, size: jax.Array) -> jax.Array:
    """Cross product of edges divided by `size`, the largest of them: products of tiny edges would underflow."""
    exists = size > jnp.finfo(size.dtype).tiny
    inverse = jnp.where(exists, 1.0 / jnp.where(exists, size, 1.0), 0.0)
    return jnp.cross(first * inverse, second * inverse)


def safe_unit(vectors: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    """Vectors `[..., 3]` at unit length, zero for zero; `size` is what they were divided by already.

    Values are right for vectors of every length; gradients are zero where they would not fit into a float32.
    """
    # The scale cancels, so it needs no gradient; that would overflow.
    largest = _largest(jnp.abs(vectors), -1)
    steep = (largest <= _LEAST_HEIGHT) | (largest * size <= _LEAST_HEIGHT)
    vectors = jnp.where(steep, jax.lax.stop_gradient(vectors), vectors)
    exists = largest > jnp.finfo(vectors.dtype).tiny
    # Scaled first: squares of tiny vectors would underflow.
    scaled = vectors * jnp.where(exists, 1.0 / jnp.where(exists, largest, 1.0), 0.0)
    squared = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    return jnp.where(exists, scaled * jax.lax.rsqrt(jnp.where(exists, squared, 1.0)), 0.0)
