"""Reader of Wavefront OBJ files.

Source: Wavefront, Object Files (.obj), http://paulbourke.net/dataformats/obj/; colours behind the coordinates of a
vertex are an extension that MeshLab writes.
"""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from ast_jax.shapes.mesh_files.mtl import Appearance, MaterialReader
from ast_jax.shapes.mesh_files.polygon_mesh import Polygons, decode_text, polygon_mesh, unit_colours
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

# Say nothing about what a surface looks like.
_SILENT = set(
    "vn vp g s o mg end lod bevel c_interp d_interp shadow_obj trace_obj scmp csh vd step parm deg bmat"
    " trim hole scrv sp con ctech stech res".split()
)
_LEFT_OUT = {
    "l": "lines",
    "p": "points",
    "curv": "curves",
    "curv2": "curves",
    "surf": "free-form surfaces",
    "bsp": "free-form surfaces",
    "bzp": "free-form surfaces",
    "cdc": "curves",
    "cdp": "free-form surfaces",
    "cstype": "free-form types",
    "usemap": "texture statements (usemap)",
    "maplib": "texture statements (maplib)",
}
_CONTINUED = re.compile(r"^((?![ \t]*#).*)\\[ \t]*\n", re.MULTILINE)
_ABSENT = np.iinfo(np.int64).min


@dataclass
class _Statements:
    """What stands in the file; a face remembers how many points and places there were before it."""

    points: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    faces: list[str] = field(default_factory=list)
    before: list[tuple[int, int]] = field(default_factory=list)
    face_material: list[int] = field(default_factory=list)
    materials: list[str] = field(default_factory=lambda: [""])
    libraries: list[str] = field(default_factory=list)
    left_out: Counter = field(default_factory=Counter)


def load_obj(path: Path, root: Path | None = None) -> SourceMesh:
    """Read one OBJ file with its materials.

    A face shows the image of its material, times the colours of its vertices; without an image these colours, or Kd.

    Args:
      path: the file.
      root: folder in which the files that it names must lie; None: its own.

    Raises:
      ValueError: malformed, a face that names what is not there, or no faces; the message names the file.
    """
    name = str(path)
    found = _read_statements(name, decode_text(path.read_bytes(), name))
    vertices, colours, coloured = _read_points(name, found.points)
    uv = _read_table(name, "vt", found.places, 2)
    corners, uv_index, sizes = _read_faces(name, found, len(vertices), len(uv))
    material = np.array(found.face_material, np.int64)
    looks, notices = _read_materials(path, root, found)
    notices += [f"{count} {kind} are left out" for kind, count in found.left_out.items()]
    short = sum(len(line.split("#")[0].split()) == 5 for line in found.points)
    notices += [f"{short} vertices have two numbers of a colour only: they are left out"] if short else []
    kind, counts, lost = _paint(looks, material, sizes, uv_index >= 0, coloured[corners])
    corner_uv = np.zeros((len(corners), 2))
    corner_uv[uv_index >= 0] = uv[uv_index[uv_index >= 0]]
    scale, offset = (np.array([getattr(look, side) for look in looks]) for side in ("scale", "offset"))
    of_corner = np.repeat(material, sizes)
    corner_uv = corner_uv * scale[of_corner] + offset[of_corner]
    polygons = Polygons(
        vertices,
        corners,
        sizes,
        3 * material + kind,
        corner_uv,
        np.where(counts[:, None], colours[corners], 1.0) if counts.any() else None,
    )
    materials = [m for look in looks for m in (look.shown, look.flat, replace(look.flat, colour=WHITE))]
    return polygon_mesh(name, polygons, materials, notices + lost)


def _read_statements(name: str, text: str) -> _Statements:
    found = _Statements()
    while "\\" in text and (joined := _CONTINUED.sub(r"\1 ", text)) != text:
        text = joined
    numbers, current = {"": 0}, 0
    for line in text.split("\n"):
        key, _, rest = line.replace("\t", " ").strip().partition(" ")
        if key == "v":
            found.points.append(rest)
        elif key == "f" or key == "fo":
            found.faces.append(rest)
            found.before.append((len(found.points), len(found.places)))
            found.face_material.append(current)
        elif key == "vt":
            found.places.append(rest)
        elif not key or key[0] == "#" or key in _SILENT:
            continue
        elif key == "usemtl":
            wanted = "" if rest.strip() in ("(null)", "off") else rest.strip()
            current = numbers.setdefault(wanted, len(numbers))
        elif key == "mtllib":
            found.libraries.append(rest.strip())
        elif key == "call":
            raise ValueError(f"{name}: 'call {rest}' reads another file into this one; merge the two first.")
        else:
            found.left_out[_LEFT_OUT.get(key, "lines that are none of OBJ's statements")] += 1
    found.materials = list(numbers)
    return found


def _numbers(name: str, key: str, lines: list[str], words: list[list[str]]) -> Float[np.ndarray, " n"]:
    try:
        return np.array(list(chain.from_iterable(words)), np.float64)
    except ValueError:
        for line, row in zip(lines, words):
            try:
                np.array(row, np.float64)
            except ValueError as error:
                raise ValueError(f"{name}: '{key} {line}' is not made of numbers.") from error
        raise


def _read_table(name: str, key: str, lines: list[str], width: int) -> Float[np.ndarray, "n k"]:
    """The first numbers of each line; what a line lacks is 0."""
    words = [line.split("#")[0].split()[:width] for line in lines]
    if any(len(row) < width for row in words):
        words = [row + ["0"] * (width - len(row)) for row in words]
    return _numbers(name, key, lines, words).reshape(-1, width)


def _read_points(name: str, lines: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places [v, 3], colours [v, 3], and which points have one: those with six numbers or more.

    The fourth of four numbers is a weight for curves.
    """
    words = [line.split("#")[0].split() for line in lines]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    if len(words) and lengths.min() < 3:
        raise ValueError(f"{name}: 'v {lines[int(lengths.argmin())]}' has fewer than three coordinates.")
    vertices = _numbers(name, "v", lines, [row[:3] for row in words]).reshape(-1, 3)
    coloured = lengths >= 6
    colours = np.ones((len(words), 3))
    if coloured.any():
        chosen = [row[3:6] for row in words if len(row) >= 6]
        colours[coloured] = unit_colours(np.nan_to_num(_numbers(name, "v", lines, chosen).reshape(-1, 3)))
    return vertices, colours, coloured


def _read_faces(
    name: str, found: _Statements, num_points: int, num_places: int
) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " c"], Int[np.ndarray, " p"]]:
    """Vertex and texture coordinate of each corner, from 0, the latter -1 where there is none; corners of each face."""
    words = [line.split("#")[0].split() for line in found.faces]
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    table = _corner_numbers(name, list(chain.from_iterable(words)))
    before = np.repeat(np.array(found.before, np.int64).reshape(-1, 2), sizes, axis=0)
    columns = []
    for k, (kind, count) in enumerate((("vertex", num_points), ("texture coordinate", num_places))):
        index = table[:, k]
        absent = index == _ABSENT
        if (index == 0).any():
            raise ValueError(f"{name}: a face names {kind} 0; the first one is 1.")
        place = np.where(index > 0, index - 1, before[:, k] + index)
        wrong = ~absent & ((place < 0) | (place >= count))
        if wrong.any():
            raise ValueError(f"{name}: a face names {kind} {index[wrong][0]}, but there are {count}.")
        columns.append(np.where(absent, -1, place))
    return columns[0], columns[1], sizes


def _corner_numbers(name: str, words: list[str]) -> Int[np.ndarray, "c 2"]:
    """``v``, ``v/vt``, ``v//vn`` and ``v/vt/vn`` as written: vertex and texture coordinate."""
    slashes = {word.count("/") for word in words}
    try:
        if len(slashes) <= 1 and not any(word.endswith("/") or "//" in word for word in words):
            width = max(slashes, default=0) + 1
            table = np.array(" ".join(words).replace("/", " ").split(), np.int64).reshape(-1, width)
        else:
            rows = [(word + "/").split("/")[:2] for word in words]
            table = np.array([[int(v), int(t) if t else _ABSENT] for v, t in rows], np.int64).reshape(-1, 2)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: a face has a corner that is not made of vertex numbers ({error}).") from error
    if table.shape[1] == 1:
        table = np.concatenate([table, np.full_like(table, _ABSENT)], axis=1)
    return table[:, :2]


def _read_materials(path: Path, root: Path | None, found: _Statements) -> tuple[list[Appearance], list[str]]:
    """What the file names, in the order of its numbers, and notices."""
    reader = MaterialReader(path, root)
    for names in found.libraries:
        reader.add_libraries(names)
    names = list(found.materials)
    if names == [""] and len(reader.entries) == 1:  # no usemtl at all, and nothing to choose
        names = list(reader.entries)
    elif reader.entries and 0 in found.face_material:
        reader.notices.append(f"{found.face_material.count(0)} faces have no usemtl: grey")
    used = set(found.face_material)
    return [
        reader.material(name) if name and k in used else Appearance(Material(), Material())
        for k, name in enumerate(names)
    ], reader.notices


def _paint(
    looks: list[Appearance],
    material: Int[np.ndarray, " p"],
    sizes: Int[np.ndarray, " p"],
    has_uv: Bool[np.ndarray, " c"],
    coloured: Bool[np.ndarray, " c"],
) -> tuple[Int[np.ndarray, " p"], Bool[np.ndarray, " c"], list[str]]:
    """Which of three materials each face has: image, flat colour, or white below the colours of its corners.

    Returns:
      Per face 0, 1 or 2; the corners whose colours count; notices.
    """
    owner = np.repeat(np.arange(len(sizes)), sizes)
    has_image = np.array([look.shown.image is not None for look in looks])[material]
    placed = np.bincount(owner, ~has_uv, len(sizes)) == 0
    num_coloured = np.bincount(owner, coloured, len(sizes))
    kind = np.where(has_image & placed, 0, np.where(num_coloured == sizes, 2, 1))
    lost = int((has_image & ~placed).sum())
    notices = [f"{lost} faces have no texture coordinates: the flat colour stands for the image"] if lost else []
    partly = int(((num_coloured > 0) & (kind == 1)).sum())
    notices += (
        [f"{partly} faces have colours at some of their corners only: the flat colour is shown"] if partly else []
    )
    return kind, coloured & (kind != 1)[owner], notices
