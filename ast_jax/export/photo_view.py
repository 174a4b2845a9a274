"""How well a photograph shows each point of a mesh, and in which colour."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from PIL import Image

from ast_jax.compile_options import quick_options
from ast_jax.data.crop import Box, crop_camera, object_box
from render import PerspectiveCamera, rasterize

_GRID = 512  # px, side of the map of depths and distances: one size for all pictures, so one compilation
_MARGIN = 0.05  # about the object, of its longer side: the rest of the picture would waste the map
# Cosine between the normal and the direction to the camera: colours count from the first on, fully from the second on.
_FACING = (0.05, 0.3)
# Distance to the outline and to where one part hides another, of the object's longer side, likewise; pixels at the
# border of the mask itself are mixed with the background.
_CLEAR = (0.003, 0.015)
_BORDER_PX = 2.0  # of the picture, the same for coarse pictures
# Depth behind the nearest surface, of the object's extent: up to the first a point still is that surface, from the
# second on it is hidden. Parts that run into each other have no edge of depth there, so this has to be gradual, too.
_BEHIND = (0.006, 0.015)
_STEP = 0.06  # of the object's extent: neighbouring pixels whose depths differ by more show two parts


class PhotoView(NamedTuple):
    """A picture prepared for looking up points of one mesh.

    Args:
      picture: RGB in [0, 1].
      clear: weight in [0, 1], zero outside of mask and mesh, at their borders and where one part hides another.
      depth: of the nearest surface of either side, and of the nearest one that is turned to the camera, world units
        along the axis; infinite where there is none. A mesh that runs through itself shows its inside; programs draw
        that, or leave it out, so both surfaces get the picture.
      projected: x and y in NDC times depth, depth, and how far the surface faces the camera, in [0, 1].
      front: whether each face is turned to the camera.
      extent: longest side of the mesh, world units.
      mean_colour: of what is under the mask.
    """

    picture: Float[np.ndarray, "p p 3"]
    clear: Float[np.ndarray, "g g"]
    depth: Float[np.ndarray, "2 g g"]
    projected: Float[np.ndarray, "v 4"]
    front: Bool[np.ndarray, " f"]
    extent: float
    mean_colour: Float[np.ndarray, " 3"]


def photo_view(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: PerspectiveCamera,
    picture: Float[np.ndarray, "p p 3"],
    mask: Float[np.ndarray, "p p"],
    size: int,
) -> PhotoView:
    """Prepare a picture: cut it to the object, and see what it shows of the mesh.

    Args:
      vertices: world space.
      faces: counter-clockwise from outside.
      camera: of the picture, leading axis 1.
      picture: in [0, 1].
      mask: coverage in [0, 1].
      size: of the texture that is going to be painted, px; a picture of more pixels than that is made smaller first,
        since points between pixels are looked up bilinearly.
    """
    weight = mask / max(mask.sum(), 1e-6)
    mean_colour = np.einsum("hw,hwc->c", weight, picture)
    rows, columns, camera = _about_object(mask, camera)
    picture, mask = picture[rows, columns], mask[rows, columns]
    facing = _facing(vertices, faces, np.asarray(camera.position_world, np.float32)[0])
    clip, depth = map(np.asarray, _compiled()(vertices, faces, facing > 0, camera))
    projected = np.concatenate([clip[:, [0, 1, 3]], _at_vertices(vertices, faces, np.abs(facing))[:, None]], -1)
    extent = float(np.ptp(vertices, axis=0).max())
    clear = _clear(depth[1], _resized(mask, _GRID), _STEP * extent, _BORDER_PX / len(mask))
    if len(picture) > size:
        picture = np.stack([_resized(picture[..., k], size) for k in range(3)], -1)
    return PhotoView(picture, clear, depth, projected, facing > 0, extent, mean_colour)


def _about_object(mask: np.ndarray, camera: PerspectiveCamera) -> tuple[slice, slice, PerspectiveCamera]:
    """The square of whole pixels about the object, within the picture, and its camera."""
    size = len(mask)
    if not (mask > 0.5).any():
        return slice(size), slice(size), camera
    box = object_box(mask, padding=_MARGIN)
    side = min(int(np.ceil(box.side)), size)
    left, top = (min(max(int(start), 0), size - side) for start in (box.left, box.top))
    camera = crop_camera(camera, [Box(float(left), float(top), float(side))], mask.shape)
    return slice(top, top + side), slice(left, left + side), camera


@functools.cache
def _compiled() -> Callable:
    return jax.jit(_seen, compiler_options=quick_options())


def _seen(vertices, faces, front, camera: PerspectiveCamera) -> tuple[jax.Array, jax.Array]:
    """Vertices in clip space, and ``depth`` of the view, as one program."""
    clip = camera.project(vertices[None])
    wanted = jnp.stack([jnp.ones_like(front), front])
    seen = rasterize(jnp.repeat(clip, 2, axis=0), faces, (_GRID, _GRID), face_mask=wanted)
    return clip[0], jnp.where(seen.face_id >= 0, seen.depth, jnp.inf)


def _facing(vertices: np.ndarray, faces: np.ndarray, eye: np.ndarray) -> Float[np.ndarray, " f"]:
    """Cosine between the normal of each face and the direction to the eye; 0 where a face has no area."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    to_eye = eye - corners.mean(1)
    length = np.linalg.norm(normal, axis=-1) * np.linalg.norm(to_eye, axis=-1)
    return (normal * to_eye).sum(-1) / np.maximum(length, 1e-12)


def _at_vertices(vertices: np.ndarray, faces: np.ndarray, values: np.ndarray) -> Float[np.ndarray, " v"]:
    """Mean over the faces about each vertex, by area.

    Of cosines: those of the normals of vertices would not do. In the folds of a crumpled mesh they point anywhere, and
    what the picture shows there would be left out.
    """
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    total, weighted = (np.bincount(faces.ravel(), np.repeat(x, 3), len(vertices)) for x in (area, area * values))
    return (weighted / np.maximum(total, 1e-12)).astype(np.float32)


def look(
    view: PhotoView, faces: Int[np.ndarray, "f 3"], face: Int[np.ndarray, " m"], barycentric: Float[np.ndarray, "m 3"]
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
    """Colours of points of the mesh in the picture, and how well it shows them, in [0, 1]; black where it does not.

    Args:
      view: of the picture.
      faces: of the mesh.
      face, barycentric: the points.
    """
    facing = np.einsum("mk,mk->m", barycentric, view.projected[:, 3][faces[face]])
    weight = _ramp(facing, *_FACING)
    some = np.flatnonzero(weight)
    point = np.einsum("mk,mkc->mc", barycentric[some], view.projected[:, :3][faces[face[some]]])
    depth = np.maximum(point[:, 2], 1e-6)  # homogeneous coordinates are linear on a face
    x, y = (point[:, 0] / depth + 1) / 2, (1 - point[:, 1] / depth) / 2
    side = len(view.clear)
    column, row = (np.clip((at * side).astype(np.int64), 0, side - 1) for at in (x, y))
    surface = view.depth[view.front[face[some]].astype(np.int64), row, column]
    nearest = 1 - _ramp((depth - surface) / view.extent, *_BEHIND)
    within = (x > 0) & (x < 1) & (y > 0) & (y < 1)
    weight[some] *= _bilinear(view.clear[..., None], x, y)[:, 0] * nearest * within
    colour = np.zeros((len(face), 3), np.float32)
    used = weight[some] > 0
    colour[some[used]] = _bilinear(view.picture, x[used], y[used])
    return colour, weight


def _clear(depth: np.ndarray, mask: np.ndarray, step: float, border: float) -> Float[np.ndarray, "g g"]:
    """Weight by the distance to the outline of mask and mesh, and to edges of the depth."""
    drawn = np.isfinite(depth)
    highest = scipy.ndimage.maximum_filter(np.where(drawn, depth, -np.inf), 3)
    lowest = scipy.ndimage.minimum_filter(depth, 3)
    good = (mask > 0.5) & drawn & ~(highest - lowest > step)
    # One ring of "not the object" about the picture: an object that fills it has a border, too.
    distance = scipy.ndimage.distance_transform_edt(np.pad(good, 1))[1:-1, 1:-1] / len(depth)
    start = max(border, _CLEAR[0])
    return _ramp(distance.astype(np.float32), start, start + _CLEAR[1] - _CLEAR[0])


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between them."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _resized(channel: np.ndarray, size: int) -> np.ndarray:
    """Bilinear when magnifying, antialiased when minifying."""
    return np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR))


def _bilinear(image: Float[np.ndarray, "h w c"], x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "m c"]:
    """Values at x (right) and y (down) in [0, 1]; pixel centres are at +0.5, the border goes on."""
    height, width = image.shape[:2]
    column, row = np.clip(x * width - 0.5, 0, width - 1), np.clip(y * height - 0.5, 0, height - 1)
    left, top = np.minimum(column.astype(np.int64), width - 2), np.minimum(row.astype(np.int64), height - 2)
    p, q = (column - left).astype(np.float32)[:, None], (row - top).astype(np.float32)[:, None]
    flat, index = image.reshape(height * width, -1), top * width + left
    upper = flat[index] + p * (flat[index + 1] - flat[index])
    lower = flat[index + width] + p * (flat[index + width + 1] - flat[index + width])
    return upper + q * (lower - upper)
