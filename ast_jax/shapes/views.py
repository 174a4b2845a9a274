"""Pictures of a textured mesh from a ring of cameras, to train on."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from ast_jax.shapes.source_mesh import Material, SourceMesh, Wrap, wrap_texels
from ast_jax.shapes.srgb import linear_from_srgb, multiply_in_light, srgb_from_linear
from render import PerspectiveCamera, orbit, rasterize
from render.camera import NMR_DISTANCE

# Views per call of the rasterizer: bounds the memory, and one compilation serves any number of views.
VIEWS_PER_CALL = 8
# Towards a sun above, in front, a little to the left of the object; it moves with the object, not the
# camera, so that shading is a property of the surface and one texture explains all views.
SUN = np.array([0.35, 0.8, 0.5]) / np.linalg.norm([0.35, 0.8, 0.5])
# A key point this far behind the surface still counts as lying on it, in units of the object's radius of 0.5.
KEYPOINT_DEPTH_TOLERANCE = 0.02


# Of random views: from the horizon to well above.
ELEVATION_RANGE_DEG = (0.0, 60.0)


@dataclass(frozen=True)
class Samples:
    """The surface seen through every covered sample of ``n`` supersampled pictures, in a flat list.

    Args:
      shape: (n, height, width) of the supersampled pictures.
      position: index of each sample into the flattened pictures.
      face: the face that it sees.
      barycentric: where on the face.
      light: brightness of the surface there, 1 is unchanged.
      depth: of all samples, infinite where nothing is seen.
    """

    shape: tuple[int, int, int]
    position: Int[np.ndarray, " m"]
    face: Int[np.ndarray, " m"]
    barycentric: Float[np.ndarray, "m 3"]
    light: Float[np.ndarray, " m"]
    depth: Float[np.ndarray, "n h w"]


def ring_of_cameras(
    num_views: int, elevation_deg: float = 30.0, distance: float = NMR_DISTANCE, fov_deg: float = 30.0
) -> PerspectiveCamera:
    """Cameras that look at the origin at equal steps of azimuth; the first one stands before the front.

    The defaults with 24 views are those of the Neural Mesh Renderer's data set.
    """
    azimuth = np.arange(num_views) * (2 * np.pi / num_views)
    return _orbits(np.full(num_views, np.deg2rad(elevation_deg)), azimuth, distance, fov_deg)


def random_cameras(
    num_views: int, rng: np.random.Generator, distance: float = NMR_DISTANCE, fov_deg: float = 30.0
) -> PerspectiveCamera:
    """Cameras that look at the origin from random sides: azimuth uniform, elevation uniform in 0 to 60 degrees.

    Views that no training ring contains, to test with.
    """
    azimuth = rng.uniform(0.0, 2 * np.pi, num_views)
    return _orbits(np.deg2rad(rng.uniform(*ELEVATION_RANGE_DEG, num_views)), azimuth, distance, fov_deg)


def _orbits(elevation_rad: np.ndarray, azimuth_rad: np.ndarray, distance: float, fov_deg: float) -> PerspectiveCamera:
    count = len(azimuth_rad)
    camera = orbit(
        distance=np.full(count, distance, np.float32),
        elevation_rad=elevation_rad.astype(np.float32),
        azimuth_rad=azimuth_rad.astype(np.float32),
        fov_y_rad=np.full(count, np.deg2rad(fov_deg), np.float32),
    )
    return jax.tree.map(np.asarray, camera)


def sample_views(mesh: SourceMesh, camera: PerspectiveCamera, size: int, shading: float) -> Samples:
    """What each sample of square pictures with ``size`` samples per side sees.

    Faces and vertices are padded to powers of two: meshes of any size share a few compilations.
    """
    num_views = len(camera.rotation)
    vertices = _pad_rows(mesh.vertices.astype(np.float32))
    faces = _pad_rows(mesh.faces.astype(np.int32))
    real = np.arange(len(faces)) < len(mesh.faces)
    pieces, depths = [], []
    for start in range(0, num_views, VIEWS_PER_CALL):
        rows = np.minimum(np.arange(start, start + VIEWS_PER_CALL), num_views - 1)
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], camera)
        fragments = _rasterize(vertices, faces, real, part, (size, size))
        face_id, barycentric, depth = (np.asarray(x) for x in fragments)
        count = min(VIEWS_PER_CALL, num_views - start)
        position = np.flatnonzero(face_id[:count] >= 0)
        pieces.append((position + start * size * size, face_id.ravel()[position], barycentric.reshape(-1, 3)[position]))
        depths.append(np.where(face_id[:count] >= 0, depth[:count], np.inf).astype(np.float32))
    position, face, barycentric = (np.concatenate(x) for x in zip(*pieces))
    light = _sunlight(mesh, camera, shading)[position // (size * size), face]
    return Samples((num_views, size, size), position, face, barycentric, light, np.concatenate(depths))


@partial(jax.jit, static_argnames="image_size")
def _rasterize(vertices, faces, real, camera, image_size):
    points = jnp.broadcast_to(vertices[None], (VIEWS_PER_CALL, *vertices.shape))
    mask = jnp.broadcast_to(real[None], (VIEWS_PER_CALL, len(real)))
    return rasterize(camera.project(points), faces, image_size, face_mask=mask)


def _pad_rows(rows: np.ndarray) -> np.ndarray:
    """Up to a power of two, at least 1024, with copies of the first row."""
    count = max(1024, 1 << (len(rows) - 1).bit_length())
    return np.concatenate([rows, np.repeat(rows[:1], count - len(rows), axis=0)])


def _sunlight(mesh: SourceMesh, camera: PerspectiveCamera, shading: float) -> Float[np.ndarray, "n f"]:
    """1 - shading (1 - n.l) / 2 per view and face, the normal on the side that the camera sees.

    The normal is turned to the camera because the winding of published models cannot be trusted.
    """
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-20)
    eye = -np.einsum("nij,ni->nj", np.asarray(camera.rotation, np.float64), camera.translation)
    facing = np.einsum("nj,fj->nf", eye, normal) - (corners[:, 0] * normal).sum(axis=-1)
    cosine = np.where(facing >= 0, 1.0, -1.0) * (normal @ SUN)
    return (1 - shading * 0.5 * (1 - cosine)).astype(np.float32)


def paint_views(mesh: SourceMesh, samples: Samples, supersample: int) -> UInt8[np.ndarray, "n h w 4"]:
    """RGBA pictures: alpha is the share of covered samples, colour the mean over just these.

    Args:
      samples: of this mesh, or of another with the same vertices and faces.
      supersample: samples per pixel side.
    """
    num_views, height, width = samples.shape
    largest = 2 * max(height, width)
    colour = sample_colours(mesh, samples.face, samples.barycentric, largest) * samples.light[:, None]
    h, w = height // supersample, width // supersample
    view, row, column = np.unravel_index(samples.position, samples.shape)
    pixel = (view * h + row // supersample) * w + column // supersample
    total = num_views * h * w
    count = np.bincount(pixel, minlength=total)
    sums = np.stack([np.bincount(pixel, colour[:, c], minlength=total) for c in range(3)], axis=-1)
    mean = sums / np.maximum(count, 1)[:, None]
    rgba = np.concatenate([mean, count[:, None] / supersample**2], axis=-1)
    return np.round(np.clip(rgba, 0, 1) * 255).astype(np.uint8).reshape(num_views, h, w, 4)


def sample_colours(
    mesh: SourceMesh,
    face: Int[np.ndarray, " m"],
    barycentric: Float[np.ndarray, "m 3"],
    largest: int = 1 << 30,
) -> Float[np.ndarray, "m 3"]:
    """The sRGB colour of the surface at points given by face and barycentrics.

    Args:
      largest: images with a longer side are reduced to it by area first, against aliasing.
    """
    owner = mesh.face_material[face] if mesh.face_material is not None else np.zeros(len(face), np.int32)
    colours = np.array([m.colour for m in mesh.materials], np.float32)[owner]
    for k, material in enumerate(mesh.materials):
        if material.image is None or mesh.corner_uv is None:
            continue
        rows = np.flatnonzero(owner == k)
        if not len(rows):
            continue
        uv = np.nan_to_num(np.einsum("mc,mcd->md", barycentric[rows], mesh.corner_uv[face[rows]]))
        texels = _sample_image(_reduced(material, largest), uv, material.wrap)
        colours[rows] = multiply_in_light(texels, colours[rows])
    if mesh.corner_colours is None:
        return colours
    return multiply_in_light(_mixed_corners(mesh, face, barycentric), colours)


def _mixed_corners(mesh: SourceMesh, face: Int[np.ndarray, " m"], barycentric: Float[np.ndarray, "m 3"]):
    corners = mesh.corner_colours[face][..., :3]
    if not mesh.mix_linear:
        return np.einsum("mc,mcd->md", barycentric, corners)
    return srgb_from_linear(np.einsum("mc,mcd->md", barycentric, linear_from_srgb(corners))).astype(np.float32)


def _reduced(material: Material, largest: int) -> Float[np.ndarray, "h w 3"]:
    image = material.image
    factor = max(image.shape[:2]) / largest
    if factor > 1:
        size = (max(round(image.shape[1] / factor), 1), max(round(image.shape[0] / factor), 1))
        image = np.asarray(Image.fromarray(_what_counts(material)).resize(size, Image.Resampling.BOX))
    return image[..., :3].astype(np.float32) / 255


def _what_counts(material: Material) -> UInt8[np.ndarray, "h w c"]:
    """The image for Pillow, which weights colours by alpha: texels that are not seen must not show."""
    if material.alpha_mode == "opaque" or material.image.shape[-1] < 4:
        return np.ascontiguousarray(material.image[..., :3])
    if material.alpha_mode == "blend":
        return material.image
    seen = material.image[..., 3:] >= 255 * material.alpha_cutoff / max(material.opacity, 1e-6)
    return np.concatenate([material.image[..., :3], np.where(seen, 255, 0).astype(np.uint8)], axis=-1)


def _sample_image(
    image: Float[np.ndarray, "h w 3"], uv: Float[np.ndarray, "m 2"], wrap: tuple[Wrap, Wrap]
) -> Float[np.ndarray, "m 3"]:
    """Bilinear; v = 1 is the upper border."""
    height, width = image.shape[:2]
    x, y = uv[:, 0].astype(np.float64) * width - 0.5, (1 - uv[:, 1].astype(np.float64)) * height - 0.5
    column, row = np.floor(x), np.floor(y)
    a, b = (x - column)[:, None], (y - row)[:, None]
    left, right = (wrap_texels(column + k, width, wrap[0]) for k in (0, 1))
    top, bottom = (wrap_texels(row + k, height, wrap[1]) for k in (0, 1))
    upper = (1 - a) * image[top, left] + a * image[top, right]
    lower = (1 - a) * image[bottom, left] + a * image[bottom, right]
    return ((1 - b) * upper + b * lower).astype(np.float32)


def project_keypoints(
    keypoints: Float[np.ndarray, "p 3"], camera: PerspectiveCamera, samples: Samples
) -> Float[np.ndarray, "n p 3"]:
    """x, y in NDC, and 1 where the point lies in the picture and no surface before it hides it."""
    num_views, height, width = samples.shape
    view = np.einsum("nij,pj->npi", camera.rotation, keypoints) + np.asarray(camera.translation)[:, None]
    depth = -view[..., 2]
    focal, principal = np.asarray(camera.focal)[:, None], np.asarray(camera.principal)[:, None]
    ndc = view[..., :2] * focal / np.maximum(depth, 1e-6)[..., None] + principal
    column = np.floor((ndc[..., 0] + 1) / 2 * width).astype(np.int64)
    row = np.floor((1 - ndc[..., 1]) / 2 * height).astype(np.int64)
    inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    surface = samples.depth[np.arange(num_views)[:, None], row, column]
    visible = inside & (depth <= surface + KEYPOINT_DEPTH_TOLERANCE)
    return np.concatenate([ndc, visible[..., None]], axis=-1).astype(np.float32)
