"""What the readers of polygon files share: text of any encoding, checked polygons, one mesh."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ast_jax.shapes.mesh_files.triangulate import triangulate
from ast_jax.shapes.source_mesh import Material, SourceMesh

MAX_FACES = 20_000_000
# Squares and products of what is larger no longer fit the numbers that we render with.
MAX_COORDINATE = 1e12


@dataclass(frozen=True)
class Polygons:
    """Polygons as a file lists them, corner by corner.

    Args:
      vertices: their places.
      corners: the vertex at each corner, one polygon after the other.
      sizes: corners of each polygon.
      material: of each polygon, an index; None: the first.
      uv: of each corner, u right and v up, or None.
      colours: of each corner, RGB or RGBA in [0, 1], sRGB, or None.
    """

    vertices: Float[np.ndarray, "v 3"]
    corners: Int[np.ndarray, " c"]
    sizes: Int[np.ndarray, " p"]
    material: Int[np.ndarray, " p"] | None = None
    uv: Float[np.ndarray, "c 2"] | None = None
    colours: Float[np.ndarray, "c k"] | None = None


def polygon_mesh(
    name: str, polygons: Polygons, materials: Sequence[Material] = (Material(),), notices: Sequence[str] = ()
) -> SourceMesh:
    """Polygons cut into triangles.

    Args:
      name: of the file, for messages.
      polygons: as the file has them.
      materials: that they name; the mesh keeps those that are used.
      notices: what the reader has to say.

    Raises:
      ValueError: no faces, more than ``MAX_FACES``, a vertex that is not there, a coordinate that is not finite or
        beyond ``MAX_COORDINATE``, more polygons than can be cut into triangles; the message names the file.
    """
    check_vertices(name, polygons.vertices)
    corners = polygons.corners
    check_corners(name, corners, len(polygons.vertices))
    if len(corners) - 2 * len(polygons.sizes) > MAX_FACES:
        raise ValueError(f"{name}: more than {MAX_FACES:,} triangles; reduce the mesh first.")
    try:
        triangle, owner = triangulate(polygons.vertices[corners], polygons.sizes, corners)
    except ValueError as error:
        raise ValueError(f"{name}: {error}.") from error
    if not len(triangle):
        raise ValueError("; ".join([f"{name}: no faces in it", *notices]) + ".")
    flat = len(polygons.sizes) - len(np.unique(owner))
    if flat:
        notices = [*notices, f"{flat} polygons without area are left out"]
    material = np.zeros(len(polygons.sizes), np.int32) if polygons.material is None else polygons.material
    used, face_material = np.unique(material[owner], return_inverse=True)
    has_image = any(materials[k].image is not None for k in used)
    return SourceMesh(
        object_id=name,
        vertices=polygons.vertices,
        faces=corners[triangle].astype(np.int32),
        materials=tuple(materials[k] for k in used),
        face_material=face_material.reshape(-1).astype(np.int32),
        corner_uv=polygons.uv[triangle].astype(np.float32) if has_image and polygons.uv is not None else None,
        corner_colours=polygons.colours[triangle].astype(np.float32) if polygons.colours is not None else None,
        notices=tuple(notices),
    )


def check_corners(name: str, corners: Int[np.ndarray, "*c"], count: int) -> None:
    """Raises a ValueError that names the file where a corner is none of ``count`` vertices."""
    if corners.size and not 0 <= corners.min() <= corners.max() < count:
        wrong = corners.max() if corners.max() >= count else corners.min()
        raise ValueError(f"{name}: a face names vertex {wrong} (the first is 0), but there are {count}.")


def check_vertices(name: str, vertices: Float[np.ndarray, "v 3"]) -> None:
    """Raises a ValueError that names the file where a coordinate is not finite or beyond ``MAX_COORDINATE``."""
    if not np.isfinite(vertices).all():
        raise ValueError(f"{name}: a vertex has a coordinate that is not finite (NaN or infinity).")
    if len(vertices) and np.abs(vertices).max() > MAX_COORDINATE:
        raise ValueError(f"{name}: a vertex has the coordinate {np.abs(vertices).max():.3g}; scale the mesh down.")


def decode_text(content: bytes, name: str) -> str:
    """Text of a file: UTF-8, UTF-16 with its mark, else Latin-1; lines end with a line feed.

    Raises:
      ValueError: it is no text; the message names the file.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", errors="replace")
    elif b"\x00" in content:
        raise ValueError(f"{name}: is binary, a text was expected; is the suffix right?")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unit_colours(colours: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Colours in [0, 1], whether they were written from 0 to 1 or from 0 to 255."""
    largest = colours.max(initial=0.0)
    return np.clip(colours / 255.0 if largest > 2 else colours, 0.0, 1.0)
