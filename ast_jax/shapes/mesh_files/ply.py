"""Reader of PLY files, ASCII and binary.

Source: Turk, The PLY polygon file format, 1994; ``tristrips`` as in the scans of Stanford, texture coordinates and
``TextureFile`` as MeshLab and Blender write them. Colours are sRGB as stored.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ast_jax.data.images import read_image
from ast_jax.shapes.mesh_files.beside import find_beside
from ast_jax.shapes.mesh_files.ply_elements import Element, List, read_elements, read_header
from ast_jax.shapes.mesh_files.polygon_mesh import Polygons, check_corners, polygon_mesh, unit_colours
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_UV = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"), ("tex_u", "tex_v"))
_CORNERS = ("vertex_indices", "vertex_index", "vertex_indexes", "indices")
_FULL = {np.dtype("u1"): 255.0, np.dtype("u2"): 65535.0}


def load_ply(path: Path, root: Path | None = None) -> SourceMesh:
    """Read one PLY file.

    Args:
      path: the file.
      root: folder in which the textures that it names must lie; None: its own.

    Raises:
      ValueError: malformed, cut short, or no faces; the message names the file.
    """
    name = str(path)
    header, body = read_header(path.read_bytes(), name)
    elements = read_elements(header, body, name)
    vertex, face = elements.get("vertex"), elements.get("face")
    if vertex is None or not {"x", "y", "z"} <= set(vertex.columns):
        raise ValueError(f"{name}: no vertices with x, y and z in it.")
    vertices = np.stack([vertex.columns[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    known = ("vertex", "face", "tristrips")
    notices = [
        f"{len(e)} of the element {key!r} are left out" for key, e in elements.items() if key not in known and len(e)
    ]
    polygon = _corner_list(face, f"{name}: 'face'")
    strips = _strip_faces(_corner_list(elements.get("tristrips"), f"{name}: 'tristrips'"))
    corners = np.concatenate([polygon.values.astype(np.int64), strips.ravel()])
    sizes = np.concatenate([polygon.sizes, np.full(len(strips), 3, np.int64)])
    check_corners(name, corners, len(vertices))
    if not len(sizes):
        raise ValueError(f"{name}: no faces in it, {len(vertices)} points only.")
    materials, notices = _textures(path, root, header.textures, notices)
    uv, texture = _texture_coordinates(vertex, face, polygon, corners, len(strips), len(materials))
    if uv is None and any(material.image is not None for material in materials):
        notices.append("no texture coordinates: the texture is left out")
        materials = [Material()]
        texture[:] = 0
    notices += [
        f"colours of the element {key!r} lack a channel: they are left out"
        for key in ("vertex", "face")
        if key in elements and _colours(elements[key]) is None and _has_part_of_a_colour(elements[key])
    ]
    colours, extra = _corner_colours(vertex, face, polygon, corners, len(strips))
    if colours is not None:
        materials = [m if m.image is not None else Material(WHITE) for m in materials]
    return polygon_mesh(name, Polygons(vertices, corners, sizes, texture, uv, colours), materials, notices + extra)


def _corner_list(element: Element | None, name: str) -> List:
    """The list of corners of an element that is there; an empty one of any other."""
    for key in () if element is None else (*_CORNERS, *element.lists):
        if key in element.lists and key != "texcoord":
            return element.lists[key]
    if element is not None and len(element):
        raise ValueError(f"{name} has no list of vertices, such as vertex_indices.")
    return List(np.zeros(0, np.int64), np.zeros(0, np.int64))


def _strip_faces(strips: List) -> Int[np.ndarray, "t 3"]:
    """The triangles of strips; -1 begins a new one, the first triangle of which is wound as it stands."""
    ends = np.cumsum(strips.sizes)
    values = np.insert(strips.values.astype(np.int64), ends, -1)
    if len(values) < 3:
        return np.zeros((0, 3), np.int64)
    place = np.arange(len(values))
    begin = np.maximum.accumulate(np.where(values < 0, place + 1, 0))
    triangles = np.stack([values[:-2], values[1:-1], values[2:]], axis=-1)
    odd = (place - begin)[:-2] % 2 == 1
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    return triangles[(triangles >= 0).all(axis=1)]


def _textures(path: Path, root: Path | None, names: list[str], notices: list[str]) -> tuple[list[Material], list[str]]:
    materials = []
    for name in names:
        found, image = find_beside(path, name, root), None
        if found is None:
            notices = [*notices, f"texture {name!r} is missing"]
        else:
            try:
                image = read_image(found, as_stored=True)[..., :3]
            except ValueError as error:
                notices = [*notices, f"texture {name!r} cannot be read ({error})"]
        materials.append(Material(WHITE, image) if image is not None else Material())
    return materials or [Material()], list(notices)


def _texture_coordinates(
    vertex: Element, face: Element | None, polygon: List, corners: np.ndarray, num_strips: int, num_materials: int
) -> tuple[Float[np.ndarray, "c 2"] | None, Int[np.ndarray, " p"]]:
    """Of each corner, from the face or else from the vertex; and the texture of each polygon."""
    num_polygons = len(polygon.sizes)
    texture = np.zeros(num_polygons + num_strips, np.int64)
    if face is not None and "texnumber" in face.columns:
        number = face.columns["texnumber"].astype(np.int64)
        texture[:num_polygons] = np.where((number >= 0) & (number < num_materials), number, 0)
    if face is not None and "texcoord" in face.lists:
        places = face.lists["texcoord"]
        uv = np.zeros((len(corners), 2))
        whole = places.sizes == 2 * polygon.sizes
        of_value, of_corner = np.repeat(whole, places.sizes), np.repeat(whole, polygon.sizes)
        uv[: len(of_corner)][of_corner] = places.values[of_value].reshape(-1, 2)
        return (uv if whole.any() else None), texture
    for names in _UV:
        if set(names) <= set(vertex.columns):
            table = np.stack([vertex.columns[key] for key in names], axis=-1).astype(np.float64)
            return table[corners], texture
    return None, texture


def _corner_colours(
    vertex: Element, face: Element | None, polygon: List, corners: np.ndarray, num_strips: int
) -> tuple[Float[np.ndarray, "c 3"] | None, list[str]]:
    """Of each corner, from the vertex or else from the face; and what is left out."""
    of_vertex, of_face = _colours(vertex), _colours(face)
    if of_vertex is not None:
        lost = ["colours of faces are left out beside those of vertices"] if of_face is not None else []
        return of_vertex[corners], lost
    if of_face is None:
        return None, []
    of_strips = np.ones((3 * num_strips, 3))
    return np.concatenate([np.repeat(of_face, polygon.sizes, axis=0), of_strips]), []


def _colours(element: Element | None) -> Float[np.ndarray, "n 3"] | None:
    for names in _COLOURS if element is not None else ():
        if set(names) <= set(element.columns):
            columns = [element.columns[key] for key in names]
            table = np.nan_to_num(np.stack(columns, axis=-1).astype(np.float64))
            full = _FULL.get(element.types[names[0]])
            return np.clip(table / full, 0, 1) if full else unit_colours(table)
    return None


def _has_part_of_a_colour(element: Element) -> bool:
    """A lone ``r`` is a radius."""
    return any(len(set(names) & set(element.columns)) > (names[0] == "r") for names in _COLOURS)
