"""A texture for the unwrapped template: the photograph where it shows the surface, the model's colours elsewhere.

What a pixel of the texture shows is a point of the surface, the same one for every mesh of a level. Its colour is

    w photo(point) + (1 - w) (w' photo(mirrored point) + (1 - w') (model(point) + offset(point)))

with w and w' in [0, 1]: how well the photograph shows the point and its mirror image. Both are continuous over the
surface and zero where the view ends, so no edge shows there. The offset is smooth and makes the model's colours agree
with the photograph where both are known.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Bool, Float, Int, UInt8

from ast_jax.arrays import Array
from ast_jax.export.photo_view import look, photo_view
from ast_jax.export.unwrap import Unwrapped, unwrap
from ast_jax.model.template import carry_points, sphere
from render import Fragments, PerspectiveCamera, sample_texture, unique_edges
from render.texture import Texture

_SMALLEST = 16  # px; below it faces of level 2 have no pixel of their own
# Of the graph Laplacian against one well seen vertex. Offsets are to be smoother than what the model gets right;
# colours that stand in for a missing model may follow the photograph closely.
_OFFSET_SMOOTHNESS, _COLOUR_SMOOTHNESS = 4.0, 1.0
_PRIOR = 1e-3  # weight of "no offset" or of the mean colour: decides only where nothing near is seen
_LARGEST_OFFSET = 0.25  # a difference beyond this is another pattern, not another light


@dataclass(frozen=True, eq=False)
class BakedTexture:
    """A texture and what of it is the photograph's.

    Args:
      image: sRGB, row 0 at the top (v = 1), for the layout of ``unwrap``.
      seen_share: of the area of the surface that the photograph shows itself, in [0, 1].
      seen_faces: whether most of the face is the photograph's own, not mirrored and not the model's.
    """

    image: UInt8[np.ndarray, "h w 3"]
    seen_share: float
    seen_faces: Bool[np.ndarray, " f"]


class _Layout(NamedTuple):
    """The points of the surface that the pixels within the charts show, along rows; ``nearest`` gives every pixel of
    the texture the position in them of the nearest one."""

    nearest: Int[np.ndarray, "h w"]
    face: Int[np.ndarray, " m"]
    barycentric: Float[np.ndarray, "m 3"]
    mirrored_face: Int[np.ndarray, " m"]
    mirrored_barycentric: Float[np.ndarray, "m 3"]


def bake_texture(
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    texture: Texture | None,
    *,
    camera: PerspectiveCamera,
    picture: Float[Array, "p p 3"],
    mask: Float[Array, "p p"],
    level: int,
    size: int = 1024,
    symmetric: bool = True,
    layout_level: int | None = None,
) -> BakedTexture:
    """Paint the texture of one reconstruction; see the top of the module.

    Args:
      vertices: world space, of the template deformed.
      faces: of the template.
      texture: the model's colours in [0, 1], leading axis 1; None puts what is seen, spread over the surface, in
        their place.
      camera: of the picture, leading axis 1.
      picture: square crop in [0, 1], of any resolution.
      mask: coverage in [0, 1]; colours outside of it and at its border are not used.
      level: of the template.
      size: of the texture's sides, px.
      symmetric: what is seen of one side colours the other, where that is not seen.
      layout_level: of the template in whose layout it is painted, for the surface with more or fewer faces; None: the
        mesh's own.

    Returns:
      the texture; every pixel is painted, those outside of the charts like the nearest one inside.

    Raises:
      ValueError: the faces are not the template's, picture and mask differ in size, or the texture is too small.
    """
    _check(faces, level, picture, mask, size)
    vertices, faces = np.asarray(vertices, np.float32), sphere(level).faces
    layout = _layout(level, size, level if layout_level is None else layout_level)
    view = photo_view(vertices, faces, camera, np.asarray(picture, np.float32), np.asarray(mask, np.float32), size)
    photo, own = look(view, faces, layout.face, layout.barycentric)
    weight = own
    if symmetric:
        other, mirrored = look(view, faces, layout.mirrored_face, layout.mirrored_barycentric)
        mirrored *= 1 - own
        weight = own + mirrored
        photo += (mirrored / np.maximum(weight, 1e-6))[:, None] * (other - photo)
    base = _base(layout, faces, texture, photo, weight, view.mean_colour)
    colour = base + weight[:, None] * (photo - base)
    painted = np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8)
    share = _mean_on_faces(layout, own > 0.5, len(faces))
    area = _areas(vertices, faces)
    return BakedTexture(painted[layout.nearest], float(share @ area / max(area.sum(), 1e-12)), share > 0.5)


def _check(faces, level: int, picture, mask, size: int) -> None:
    if not np.array_equal(faces, sphere(level).faces):
        raise ValueError(f"faces: {len(faces)} faces that are not those of the template of level {level}.")
    if picture.shape[:2] != mask.shape or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"picture and mask: must be one square, got {picture.shape[:2]} and {mask.shape}.")
    if size < _SMALLEST:
        raise ValueError(f"size: a texture needs at least {_SMALLEST} px, got {size}.")


@functools.lru_cache(maxsize=2)  # 48 MB each at 1024 px
def _layout(level: int, size: int, layout_level: int) -> _Layout:
    """What the pixels of one level's layout show of the faces of a level."""
    face_id, barycentric = _draw(unwrap(layout_level), size)
    outside = face_id < 0
    row, column = scipy.ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
    position = np.cumsum(~outside).reshape(outside.shape) - 1
    face, barycentric = carry_points(face_id[~outside], barycentric[~outside], layout_level, level)
    barycentric = barycentric.astype(np.float32)
    # A mirror image has its second and third corner exchanged, and so has a face that is its own (see `Sphere`).
    mirrored = sphere(level).mirror_face[face]
    return _Layout(position[row, column], face, barycentric, mirrored, barycentric[:, [0, 2, 1]])


def _draw(flat: Unwrapped, size: int) -> tuple[Int[np.ndarray, "h w"], Float[np.ndarray, "h w 3"]]:
    """Face, -1 for none, and barycentrics of each pixel. Faces that do not overlap need no renderer, and this one does
    not have to be compiled."""
    face_id, barycentric = np.full((size, size), -1), np.zeros((size, size, 3), np.float32)
    corners_px = np.stack([flat.uv[:, 0], 1 - flat.uv[:, 1]], -1)[flat.faces] * size - 0.5
    low = np.ceil(corners_px.min(1)).astype(int)
    high = np.floor(corners_px.max(1)).astype(int) + 1
    to_weights = np.linalg.inv(np.concatenate([corners_px, np.ones((len(low), 3, 1))], -1))
    for face, ((left, top), (right, bottom)) in enumerate(zip(low, high)):
        row, column = np.mgrid[top:bottom, left:right]
        weights = np.stack([column, row, np.ones_like(row)], -1) @ to_weights[face]
        inside = (weights >= -1e-9).all(-1)
        face_id[top:bottom, left:right][inside] = face
        barycentric[top:bottom, left:right][inside] = weights[inside]
    return face_id, barycentric


def _base(layout: _Layout, faces, texture: Texture | None, photo, weight, mean_colour) -> Float[np.ndarray, "m 3"]:
    """Colours for what is not seen: the model's with a smooth offset, or what is seen spread over the surface."""
    if texture is None:
        field = _spread(layout, faces, photo, weight, mean_colour, _COLOUR_SMOOTHNESS)
        return _on_surface(layout, faces, field)
    colours = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), texture)
    points = Fragments(layout.face[None, None], layout.barycentric[None, None], np.ones((1, 1, len(layout.face))))
    model = np.asarray(_sample(colours, faces, points))[0, 0]
    offset = _spread(layout, faces, photo - model, weight, np.zeros(3), _OFFSET_SMOOTHNESS)
    return model + _on_surface(layout, faces, np.clip(offset, -_LARGEST_OFFSET, _LARGEST_OFFSET))


# Compiled as a whole: outside of `jax.jit` every operation would be a program of its own.
_sample = jax.jit(sample_texture)


def _spread(layout: _Layout, faces, values, weight, prior, smoothness: float) -> Float[np.ndarray, "v 3"]:
    """The smooth field on the vertices that is near the values where their weight is large.

    ``min sum_v a_v (x_v - d_v)^2 + smoothness sum_edges (x_v - x_u)^2 + prior weight sum_v (x_v - prior)^2`` with a_v
    the mean weight about vertex v and d_v the weighted mean of the values there.
    """
    num_vertices = int(faces.max()) + 1
    corner = faces[layout.face].ravel()
    hat = layout.barycentric * weight[:, None]
    sum_to_vertices = functools.partial(np.bincount, corner, minlength=num_vertices)
    everything = np.maximum(sum_to_vertices(layout.barycentric.ravel()), 1e-6)
    about = sum_to_vertices(hat.ravel()) / everything
    wanted = [sum_to_vertices((hat * values[:, k, None]).ravel()) / everything for k in range(3)]
    first, second = unique_edges(faces).T
    ones = np.ones(len(first))
    links = scipy.sparse.coo_matrix((ones, (first, second)), (num_vertices, num_vertices))
    links = links + links.T
    degree = np.asarray(links.sum(1)).ravel()
    system = scipy.sparse.diags(about + _PRIOR + smoothness * degree) - smoothness * links
    right = np.stack(wanted, -1) + _PRIOR * np.asarray(prior)
    return scipy.sparse.linalg.splu(system.tocsc()).solve(right).astype(np.float32)


def _on_surface(layout: _Layout, faces, field: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "m 3"]:
    return np.einsum("mk,mkc->mc", layout.barycentric, field[faces[layout.face]])


def _mean_on_faces(layout: _Layout, values: np.ndarray, num_faces: int) -> Float[np.ndarray, " f"]:
    count = np.bincount(layout.face, minlength=num_faces)
    return np.bincount(layout.face, values, num_faces) / np.maximum(count, 1)


def _areas(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, " f"]:
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
