"""Bring a mesh as read from a file into the canonical frame: solid parts, +Y up, front +Z, radius 0.5."""

import colorsys
import zlib
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.shapes.source_mesh import Material, SourceMesh, wrap_texels

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
    """Without glass, propeller discs and cut-out texels: what counts as seen is said at ``Material``."""
    owner = mesh.face_material if mesh.face_material is not None else np.zeros(len(mesh.faces), np.int32)
    keep = np.ones(len(mesh.faces), bool)
    for k, material in enumerate(mesh.materials):
        if material.alpha_mode == "opaque":
            continue
        rows = np.flatnonzero(owner == k)
        alpha = _alpha(mesh, material, rows)
        if material.alpha_mode == "mask":
            alpha = alpha >= material.alpha_cutoff - 1e-6  # colours of vertices are float32
        keep[rows] = alpha.mean(axis=-1) >= MIN_OPACITY
    return keep_faces(mesh, keep)


def _alpha(mesh: SourceMesh, material: Material, rows: Int[np.ndarray, " f"]) -> Float[np.ndarray, "f p"]:
    """Of the chosen faces at the points ``ALPHA_PROBES``."""
    weights = ALPHA_PROBES / ALPHA_PROBES.sum(axis=1, keepdims=True)
    alpha = np.full((len(rows), len(weights)), material.opacity)
    if material.image is not None and material.image.shape[-1] == 4 and mesh.corner_uv is not None:
        uv = np.nan_to_num(np.einsum("pc,fcd->fpd", weights, mesh.corner_uv[rows]))
        height, width = material.image.shape[:2]
        column = wrap_texels(np.floor(uv[..., 0] * width), width, material.wrap[0])
        row = wrap_texels(np.floor((1 - uv[..., 1]) * height), height, material.wrap[1])
        alpha *= material.image[row, column, 3] / 255.0
    if mesh.corner_colours is not None and mesh.corner_colours.shape[-1] == 4:
        alpha *= np.einsum("pc,fc->fp", weights, mesh.corner_colours[rows, :, 3])
    return alpha


def colour_grey_materials(mesh: SourceMesh, seed: int) -> SourceMesh:
    """A random hue for every flat grey or white material, the same for the same seed and object id.

    Many furniture models have no colour at all. The lightness of the material is kept, so that dark legs
    stay dark; images and what is coloured by its material or at its corners stay as they are.
    """
    plain = _white_at_corners(mesh)
    rng = np.random.default_rng([seed, zlib.crc32(mesh.object_id.encode())])
    materials = []
    for k, material in enumerate(mesh.materials):
        hue, saturation, gain = rng.uniform(0, 1), rng.uniform(0.25, 0.75), rng.uniform(0.6, 1.0)
        _, old_saturation, value = colorsys.rgb_to_hsv(*material.colour)
        if material.image is None and old_saturation < GREY_SATURATION and plain[k]:
            material = replace(material, colour=colorsys.hsv_to_rgb(hue, saturation, gain * value))
        materials.append(material)
    return mesh.replace(materials=tuple(materials))


def _white_at_corners(mesh: SourceMesh) -> Bool[np.ndarray, " k"]:
    """Materials to which no corner colour adds anything."""
    plain = np.ones(len(mesh.materials), bool)
    if mesh.corner_colours is not None:
        owner = mesh.face_material if mesh.face_material is not None else np.zeros(len(mesh.faces), np.int32)
        plain[owner[(mesh.corner_colours[..., :3] < 1).any(axis=(1, 2))]] = False
    return plain
