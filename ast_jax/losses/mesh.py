"""Terms that keep a predicted surface smooth and well shaped, each per mesh; faces are shared and static."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ast_jax.arrays import Array
from ast_jax.losses.term import MEAN, Seen, Term
from render import edge_face_pairs, unique_edges

# Below this length (object units; of a face, twice its area) a vector has no direction: norm and gradient
# are 0, not NaN. The square, 1e-20, is still a normal float32.
_MIN_LENGTH = 1e-10


def laplacian_loss(
    vertices: Float[Array, "b v 3"],
    faces: Int[np.ndarray, "f 3"],
    *,
    reference: Float[Array, "v 3"] | None = None,
    squared: bool = False,
) -> Float[jax.Array, " b"]:
    """Uniform Laplacian smoothing: the mean distance of a vertex from the centre of its neighbours.

    ``mean_i |d_i|`` with ``d_i = mean_{j in N(i)} v_j - v_i``, or ``mean_i |d_i|^2`` if ``squared``.

    Args:
      vertices: object units.
      faces: topology, plain numpy.
      reference: a shape that costs nothing: the term then acts on ``vertices - reference``.
      squared: squares the distances, as SoftRas does (which sums over vertices instead of averaging).

    Returns:
      one value >= 0 per mesh, object units (squared). Vertices of no face count with distance 0.

    Source: Nealen et al., GRAPHITE 2006, uniform weights; PyTorch3D ``mesh_laplacian_smoothing``.
    """
    if reference is not None:
        vertices = vertices - reference[None]
    edges = _edges(faces)
    first, second = edges[:, 0], edges[:, 1]
    degree = np.bincount(edges.ravel(), minlength=vertices.shape[1])[None, :, None].astype(np.float32)
    # Summing differences, not positions, keeps float32 digits when the mesh is far from the origin.
    along = vertices[:, second] - vertices[:, first]
    towards_centre = jnp.zeros_like(vertices).at[:, first].add(along).at[:, second].add(-along)
    offset = towards_centre / np.maximum(degree, 1.0)
    return jnp.square(offset).sum(-1).mean(1) if squared else _norm(offset).mean(1)


def cotangent_laplacian_loss(
    vertices: Float[Array, "b v 3"], faces: Int[np.ndarray, "f 3"], reference: Float[np.ndarray, "v 3"]
) -> Float[jax.Array, " b"]:
    """Smoothing that does not care how even the triangles of a reference are: the mean length of ``L v``.

    ``mean_i |sum_{j in N(i)} w_ij (v_j - v_i)|`` with ``w_ij`` half the sum of the cotangents of the two angles that
    see the edge, in the reference.

    Args:
      vertices: object units.
      faces: topology, plain numpy; closed, without faces of no area in the reference.
      reference: where angles are measured.

    Returns:
      one value >= 0 per mesh, object units.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``LaplacianLoss``, which measures the angles once, too).
    """
    total = jnp.zeros_like(vertices)
    for corner in range(3):
        apex, first, second = faces[:, corner], faces[:, (corner + 1) % 3], faces[:, (corner + 2) % 3]
        to_first, to_second = (reference[end].astype(np.float64) - reference[apex] for end in (first, second))
        sine = np.linalg.norm(np.cross(to_first, to_second), axis=-1)
        weight = (0.5 * (to_first * to_second).sum(-1) / sine).astype(np.float32)
        pull = weight[None, :, None] * (vertices[:, second] - vertices[:, first])
        total = total.at[:, first].add(pull).at[:, second].add(-pull)
    return _norm(total).mean(1)


def flatness_loss(vertices: Float[Array, "b v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[jax.Array, " b"]:
    """Neighbouring faces should look the same way, squared: ``mean over inner edges of (1 - cos(n_left, n_right))^2``.

    Args:
      vertices: object units.
      faces: topology, plain numpy, consistently oriented.

    Returns:
      one value in [0, 4] per mesh; faces without area as in `normal_consistency_loss`.

    Source: DIB-R (Chen et al. 2019), released re-implementation, which sums over the edges; Liu et al., Soft
    Rasterizer, ICCV 2019.
    """
    return jnp.square(1.0 - _edge_cosines(vertices, faces)).sum(axis=1) / max(len(_face_pairs(faces)), 1)


def normal_consistency_loss(vertices: Float[Array, "b v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[jax.Array, " b"]:
    """Neighbouring faces should look the same way: ``mean over inner edges of 1 - cos(n_left, n_right)``.

    Args:
      vertices: object units.
      faces: topology, plain numpy, consistently oriented.

    Returns:
      one value in [0, 2] per mesh. A face without area has no normal: its edges count 1 and give no gradient
      through it.

    Source: PyTorch3D ``mesh_normal_consistency``; released AST code.
    """
    return (1.0 - _edge_cosines(vertices, faces)).sum(axis=1) / max(len(_face_pairs(faces)), 1)


def _edge_cosines(vertices, faces) -> Float[Array, "b e"]:
    """Of the angle between the faces on both sides of each inner edge."""
    pairs = _face_pairs(faces)
    corner = vertices[:, faces]
    normal = jnp.cross(corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0])
    unit = normal / jnp.maximum(_norm(normal), _MIN_LENGTH)[..., None]
    return (unit[:, pairs[:, 0]] * unit[:, pairs[:, 1]]).sum(axis=-1)


def edge_length_loss(
    vertices: Float[Array, "b v 3"], faces: Int[np.ndarray, "f 3"], *, target_length: float = 0.0
) -> Float[jax.Array, " b"]:
    """Edges of even length: ``mean over edges of (|v_i - v_j| - target_length)^2``.

    Args:
      vertices: object units.
      faces: topology, plain numpy.
      target_length: object units; 0 simply shortens long edges.

    Returns:
      one value >= 0 per mesh, object units squared.

    Source: Wang et al., Pixel2Mesh, ECCV 2018; PyTorch3D ``mesh_edge_loss``.
    """
    edges = _edges(faces)
    along = vertices[:, edges[:, 1]] - vertices[:, edges[:, 0]]
    if target_length == 0.0:
        return jnp.square(along).sum(axis=-1).mean(axis=1)
    return jnp.square(_norm(along) - target_length).mean(axis=1)


def deformation_loss(displacement: Float[Array, "b v 3"], *, squared: bool = False) -> Float[jax.Array, " b"]:
    """Stay near the template: ``mean_i |displacement_i|``, or the mean of squares if ``squared``.

    Args:
      displacement: from the template, object units.
      squared: squares the lengths; large displacements then cost more than many small ones.

    Returns:
      one value >= 0 per mesh, object units (squared). Zero displacement has zero gradient.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``deform_l2reg``).
    """
    return jnp.square(displacement).sum(-1).mean(1) if squared else _norm(displacement).mean(1)


def _norm(vectors):
    """Euclidean length over the last axis whose gradient at 0 is 0, where the plain norm gives NaN."""
    square = jnp.square(vectors).sum(axis=-1)
    is_zero = square <= _MIN_LENGTH**2
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def _edges(faces: np.ndarray) -> np.ndarray:
    return _cached_topology(*_key(faces))[0]


def _face_pairs(faces: np.ndarray) -> np.ndarray:
    return _cached_topology(*_key(faces))[1]


def _key(faces: np.ndarray) -> tuple[bytes, int]:
    content = np.ascontiguousarray(faces, dtype=np.int32)
    return content.tobytes(), len(content)


@lru_cache(maxsize=32)
def _cached_topology(content: bytes, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges and pairs of adjacent faces, found once for each topology and not in every trace."""
    faces = np.frombuffer(content, np.int32).reshape(num_faces, 3)
    return np.asarray(unique_edges(faces)), np.asarray(edge_face_pairs(faces))


def _deformation(seen: Seen) -> Float[jax.Array, " b"]:
    return deformation_loss(seen.prediction.vertices - seen.inputs.template_vertices[None])


def _mean_deviation(seen: Seen) -> Float[jax.Array, " b"]:
    """How far each shape is from the learned mean, as CMR restrains it; the mean itself may go anywhere."""
    return deformation_loss(jnp.subtract(seen.prediction.vertices, seen.prediction.mean_vertices))


def _displacement_laplacian(seen: Seen) -> Float[jax.Array, " b"]:
    """Of the way from the template, squared: DIB-R's re-implementation, which sums over the vertices."""
    prediction, template = seen.prediction, seen.inputs.template_vertices
    return laplacian_loss(prediction.vertices, prediction.faces, reference=template, squared=True)


def _laplacian_cotangent(seen: Seen) -> Float[jax.Array, " b"]:
    """With the angles of the template."""
    prediction = seen.prediction
    return cotangent_laplacian_loss(prediction.vertices, prediction.faces, seen.inputs.template_vertices)


def _of_surface(name: str, function) -> Term:
    """The shape is held still in the phase ``pose``, and with it what a term says of the surface alone."""
    return Term(name, lambda seen: function(seen.prediction.vertices, seen.prediction.faces), phases=("shape",))


TERMS = (
    _of_surface("laplacian", laplacian_loss),
    _of_surface("normal", normal_consistency_loss),
    _of_surface("edge", edge_length_loss),
    _of_surface("flatness", flatness_loss),
    Term("deformation", _deformation, phases=("shape",)),
    Term("mean_deviation", _mean_deviation, MEAN, phases=("shape",)),
    Term("displacement_laplacian", _displacement_laplacian, phases=("shape",)),
    Term("laplacian_cotangent", _laplacian_cotangent, phases=("shape",)),
)
