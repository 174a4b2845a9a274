"""Reader of OFF files of Geomview, in ASCII.

Source: Geomview, Object File Formats, OFF, http://www.geomview.org/docs/html/OFF.html. Whole-number colours go from 0
to 255, others from 0 to 1; sRGB as stored.
"""

import re
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.shapes.mesh_files.polygon_mesh import Polygons, decode_text, polygon_mesh
from ast_jax.shapes.source_mesh import GREY, WHITE, Material, SourceMesh

# In any order: MeshLab writes NCOFF, against the manual, and then colours before normals.
_HEADER = re.compile(r"\s*((?:ST|C|N|4|n)*)(?i:OFF)(?:\b|(?=\d))")

_WHOLE = re.compile(r"[+-]?[0-9]+")


def load_off(path: Path) -> SourceMesh:
    """Read one OFF file, with the colours of its vertices, or else of its faces.

    Raises:
      ValueError: malformed, cut short, binary, nOFF, or no faces; the message names the file.
    """
    name = str(path)
    content = path.read_bytes()
    if b"BINARY" in content[:32]:
        raise ValueError(f"{name}: binary OFF cannot be read; export it as ASCII, or as PLY.")
    text = decode_text(content, name)
    lines = [line for line in (line.split("#")[0].strip() for line in text.split("\n")) if line]
    prefixes = _prefixes(name, lines)
    if "n" in prefixes:
        raise ValueError(f"{name}: nOFF, of any number of dimensions, cannot be read; export it as OFF.")
    try:
        num_vertices, num_faces = (int(word) for word in lines.pop(0).split()[:2])
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name}: no numbers of vertices and faces in it.") from error
    if min(num_vertices, num_faces) < 0 or num_vertices + num_faces > len(lines):
        raise ValueError(f"{name}: cut short, {len(lines)} lines for {num_vertices} vertices and {num_faces} faces.")
    rows = [line.split() for line in lines[:num_vertices]]
    width = 4 if "4" in prefixes else 3
    vertices = _numbers(name, [row[:width] for row in rows], width)
    if width == 4:
        vertices = vertices[:, :3] / np.where(vertices[:, 3:] == 0, np.nan, vertices[:, 3:])
    columns = slice(width + 3 * ("N" in prefixes), -2 if "ST" in prefixes else None)
    if "NC" in prefixes:
        columns = slice(width, width + 4)
    beside = [row[columns] for row in rows]
    notices = _unused("vertices", beside) if "C" in prefixes else []
    faces = [line.split() for line in lines[num_vertices : num_vertices + num_faces]]
    return _mesh(name, vertices, _colours(name, beside), faces, notices)


def _prefixes(name: str, lines: list[str]) -> str:
    """What stands before OFF in the header; takes that away. The word itself may be missing, says the format."""
    found = _HEADER.match(lines[0]) if lines else None
    if found is None and not (lines and re.match(r"\d+\s+\d+", lines[0])):
        raise ValueError(f"{name}: not an OFF file, it must begin with OFF.")
    if found is None:
        return ""
    lines[0] = lines[0][found.end() :].strip()
    if not lines[0]:
        lines.pop(0)
    return found[1]


def _numbers(name: str, rows: list[list[str]], width: int) -> Float[np.ndarray, "n k"]:
    short = next((row for row in rows if len(row) < width), None)
    if short is not None:
        raise ValueError(f"{name}: malformed, the line '{' '.join(short)}' has fewer than {width} numbers.")
    try:
        return np.array(list(chain.from_iterable(rows)), np.float64).reshape(-1, width)
    except ValueError as error:
        raise ValueError(f"{name}: malformed, {error}.") from error


def _colours(name: str, rows: list[list[str]]) -> Float[np.ndarray, "n 3"] | None:
    """RGB of each row, NaN where it has none; None where no row has one. A lone number is an entry of a colour map."""
    has = np.array([len(row) >= 3 for row in rows], bool)
    if not has.any():
        return None
    chosen = [row[:4] for row in rows if len(row) >= 3]
    found = np.nan_to_num(_numbers(name, [row[:3] for row in chosen], 3))
    # A row of whole numbers goes to 255, unless nothing in the file does: then 1 0 0 is red, as it is for people.
    whole = np.array([all(map(_WHOLE.fullmatch, row)) for row in chosen])
    bytes_ = any(int(word[:9]) > 1 for row, is_whole in zip(chosen, whole) if is_whole for word in row)
    scale = np.where(whole, 255.0 if bytes_ else 1.0, 255.0 if found[~whole].max(initial=0.0) > 2 else 1.0)
    colours = np.full((len(rows), 3), np.nan)
    colours[has] = np.clip(found / scale[:, None], 0, 1)
    return colours


def _unused(kind: str, rows: list[list[str]]) -> list[str]:
    """A notice of rows behind which one number stands, or two: no colour, or not one that the file has."""
    notices = []
    mapped, short = (sum(len(row) == count for row in rows) for count in (1, 2))
    if mapped:
        notices.append(f"{mapped} {kind} name an entry of a colour map, which the file does not have")
    if short:
        notices.append(f"{short} {kind} have two numbers of a colour only: they are left out")
    return notices


def _mesh(
    name: str,
    vertices: Float[np.ndarray, "v 3"],
    of_vertex: Float[np.ndarray, "v 3"] | None,
    rows: list[list[str]],
    notices: list[str],
) -> SourceMesh:
    try:
        sizes = np.array([row[0] for row in rows], np.int64)
        if any(not 0 <= size < len(row) for size, row in zip(sizes, rows)):
            raise ValueError("a face has fewer corners than it says")
        corners = np.array([word for size, row in zip(sizes, rows) for word in row[1 : size + 1]], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: malformed, {error}.") from error
    rest = [row[size + 1 :] for size, row in zip(sizes, rows)]
    of_face = _colours(name, rest)
    notices = [*notices, *_unused("faces", rest)]
    material, colours = np.zeros(len(rows), np.int64), None
    if of_vertex is not None and not np.isnan(of_vertex).any():
        colours, material = of_vertex[np.clip(corners, 0, max(len(vertices) - 1, 0))], material + 1
        if of_face is not None:
            notices.append("colours of faces are left out beside those of vertices")
    elif of_vertex is not None:
        notices.append("some vertices have a colour and others none: those colours are left out")
    if not material.any() and of_face is not None:
        material = (~np.isnan(of_face[:, 0])).astype(np.int64)
        colours = np.nan_to_num(np.repeat(of_face, sizes, axis=0), nan=1.0)
    polygons = Polygons(vertices, corners, sizes, material, None, colours)
    return polygon_mesh(name, polygons, (Material(GREY), Material(WHITE)), notices)
