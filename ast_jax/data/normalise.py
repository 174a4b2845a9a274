"""Bring a mesh as read from a file into the canonical frame: solid parts, +Y up, front +Z, radius 0.5."""

import colorsys
import zlib

import numpy as np
from jaxtyping import Bool, Float

from ast_jax.data.source_mesh import Material, SourceMesh

RADIUS = 0.5
MIN_OPACITY = 0.5
# Where the opacity of a textured face is looked up: centre, corners drawn in, and between.
ALPHA_PROBES = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [1, 4, 4], [4, 1, 4], [4, 4, 1]], float)
# A triangle whose height is below this share of its longest side is a line: rounding turns it any way.
MIN_ASPECT = 1e-6
# Flat colours with less saturation than this count as grey; sRGB, 0 to 1.
GREY_SATURATION = 0.2


def rotation_y(angle_deg: float) -> Float[np.ndarray, "3 3"]:
    """Rotation about +Y; +90 deg carries -X to +Z. Multiples of 90 deg are exact."""
    angle = np.deg2rad(angle_deg)
    c, s = np.round([np.cos(angle), np.sin(angle)], 15)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def transformed(mesh: SourceMesh, matrix: Float[np.ndarray, "3 3"]) -> SourceMesh:
    """The mesh and its key points under x -> matrix x; a reflection also turns the faces round."""
    corners = mesh.keypoints @ matrix.T if mesh.keypoints is not None else None
    mesh = mesh.replace(vertices=mesh.vertices @ matrix.T, keypoints=corners)
    if np.linalg.det(matrix) > 0:
        return mesh
    return mesh.replace(
        faces=mesh.faces[:, ::-1].copy(),
        corner_uv=mesh.corner_uv[:, ::-1].copy() if mesh.corner_uv is not None else None,
        corner_colours=mesh.corner_colours[:, ::-1].copy() if mesh.corner_colours is not None else None,
    )


def normalise(mesh: SourceMesh, like: SourceMesh | None = None) -> SourceMesh:
    """Bounding-box centre to the origin, bounding sphere about it to radius 0.5, as ShapeNet's.

    Args:
      like: move and scale as this mesh would be.

    Raises:
      ValueError: no faces, or all vertices in one point; the message names the object.
    """
    if not len(mesh.faces):
        raise ValueError(f"{mesh.object_id}: no opaque face is left.")
    mesh = compact(keep_faces(mesh, _has_area(mesh)))
    measured = mesh.vertices if like is None else compact(keep_faces(like, _has_area(like))).vertices
    centre = 0.5 * (measured.min(axis=0) + measured.max(axis=0))
    reach = np.linalg.norm(measured - centre, axis=-1).max()
    if not reach > 0:
        raise ValueError(f"{mesh.object_id}: all vertices lie in one point.")
    scale = RADIUS / reach
    keypoints = (mesh.keypoints - centre) * scale if mesh.keypoints is not None else None
    return mesh.replace(vertices=(mesh.vertices - centre) * scale, keypoints=keypoints)


def _has_area(mesh: SourceMesh) -> Bool[np.ndarray, " f"]:
    """Faces that are more than a line; all of them if none is."""
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    longest = np.square(np.roll(corners, 1, axis=1) - corners).sum(axis=-1).max(axis=-1)
    solid = np.linalg.norm(normal, axis=-1) > MIN_ASPECT * longest
    return solid if solid.any() else np.ones_like(solid)


def keep_faces(mesh: SourceMesh, keep: Bool[np.ndarray, " f"]) -> SourceMesh:
    """The mesh with the chosen faces only; vertices stay."""
    chosen = {name: getattr(mesh, name) for name in ("faces", "face_material", "corner_uv", "corner_colours")}
    return mesh.replace(**{name: rows[keep] for name, rows in chosen.items() if rows is not None})


def compact(mesh: SourceMesh) -> SourceMesh:
    """Without the vertices that no face uses."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return mesh.replace(vertices=mesh.vertices[used], faces=faces.reshape(-1, 3).astype(np.int32))


def drop_transparent(mesh: SourceMesh) -> SourceMesh:
    """Without glass, propeller discs and cut-out texels: faces less than half opaque."""
    if mesh.face_material is None:
        return mesh
    keep = np.array([m.opacity >= MIN_OPACITY for m in mesh.materials])[mesh.face_material]
    for k, material in enumerate(mesh.materials):
        if material.image is None or material.image.shape[-1] < 4 or mesh.corner_uv is None:
            continue
        rows = np.flatnonzero(keep & (mesh.face_material == k))
        keep[rows] = _mean_alpha(material.image, mesh.corner_uv[rows]) >= MIN_OPACITY
    return keep_faces(mesh, keep)


def _mean_alpha(image: np.ndarray, corner_uv: Float[np.ndarray, "f 3 2"]) -> Float[np.ndarray, " f"]:
    weights = ALPHA_PROBES / ALPHA_PROBES.sum(axis=1, keepdims=True)
    uv = np.einsum("pc,fcd->fpd", weights, corner_uv)
    height, width = image.shape[:2]
    column = np.floor(uv[..., 0] * width).astype(np.int64) % width
    row = np.floor((1 - uv[..., 1]) * height).astype(np.int64) % height
    return image[row, column, 3].mean(axis=-1) / 255.0


def colour_grey_materials(mesh: SourceMesh, seed: int) -> SourceMesh:
    """A random hue for every flat grey or white material, the same for the same seed and object id.

    Many furniture models have no colour at all. The lightness of the material is kept, so that dark legs
    stay dark; images and coloured materials stay as they are.
    """
    rng = np.random.default_rng([seed, zlib.crc32(mesh.object_id.encode())])
    materials = []
    for material in mesh.materials:
        hue, saturation, gain = rng.uniform(0, 1), rng.uniform(0.25, 0.75), rng.uniform(0.6, 1.0)
        _, old_saturation, value = colorsys.rgb_to_hsv(*material.colour)
        if material.image is None and old_saturation < GREY_SATURATION:
            material = Material(colorsys.hsv_to_rgb(hue, saturation, gain * value), None, material.opacity)
        materials.append(material)
    return mesh.replace(materials=tuple(materials))
