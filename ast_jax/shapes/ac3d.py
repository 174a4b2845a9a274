"""Reader of AC3D files (``.ac``; ``.acc`` with triangle strips), the format of FlightGear and TORCS.

The format: https://www.inivis.com/ac3d/man/ac3dfileformat.html; ``subdiv`` and ``hidden`` came later:
https://sites.google.com/view/ac3dfileformat
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from ast_jax.data.images import read_image
from ast_jax.shapes.mesh_files.beside import find_beside
from ast_jax.shapes.mesh_files.polygon_mesh import check_vertices, decode_text
from ast_jax.shapes.mesh_files.triangulate import strip_triangles, triangulate
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

# Low four bits of the SURF flags.
POLYGON = 0
TRIANGLE_STRIP = 4  # TORCS only
MAX_DEPTH = 100
# TORCS writes this where a layer has no texture.
NO_TEXTURE = ("", "empty_texture_no_mapping")


@dataclass(frozen=True)
class Part:
    """One OBJECT of the file, its vertices in world space and its polygons cut into triangles.

    Lines, and polygons without area (``flat``), are counted, and children (``absent``) that the file does not have.
    ``smoothed``: AC3D shows the surface subdivided (``subdiv``); ``hidden``: it does not show the object.
    """

    name: str
    texture: str
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    corner_uv: Float[np.ndarray, "f 3 2"]
    face_material: Int[np.ndarray, " f"]
    lines: int = 0
    flat: int = 0
    smoothed: bool = False
    hidden: bool = False
    absent: int = 0


def load_ac3d(
    path: str | Path,
    *,
    texture_folders: Sequence[Path] = (),
    keep_part: Callable[[Part], bool] = lambda part: True,
) -> SourceMesh:
    """Read one AC3D file as one mesh.

    Args:
      path: the file.
      texture_folders: where textures are looked up by their base name, first hit wins; the file's own folder
        comes last.
      keep_part: tells whether an OBJECT of the file belongs to the mesh.

    Returns:
      The mesh in the axes and the unit of the file; ``object_id`` is the stem of the file name. A face with
      a texture takes its colour from the image alone.

    Raises:
      ValueError: not an AC3D file, a count that does not fit, or no faces; the message names the file.
    """
    path = Path(path)
    colours, parts = read_parts(path)
    parts = [part for part in parts if keep_part(part)]
    notices = _left_out(parts)
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{path}: no faces in it.")
    keys = [(part.texture, int(m)) for part in parts for m in part.face_material]
    table = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    if any(not 0 <= m < len(colours) for _, m in table):
        raise ValueError(f"{path}: a surface names a MATERIAL that the file does not have.")
    images = {}
    for texture in dict.fromkeys(t for t, _ in table):
        images[texture] = _find_texture(texture, path, texture_folders, notices)
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    has_image = any(image is not None for image in images.values())
    return SourceMesh(
        object_id=path.stem,
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([p.faces + s for p, s in zip(parts, starts)]).astype(np.int32),
        materials=tuple(
            Material(colours[m][0] if images[t] is None else WHITE, images[t], colours[m][1]) for t, m in table
        ),
        face_material=np.array([table[key] for key in keys], np.int32),
        corner_uv=np.concatenate([p.corner_uv for p in parts]).astype(np.float32) if has_image else None,
        notices=tuple(notices),
    )


def _left_out(parts: list[Part]) -> list[str]:
    counts = {"lines": sum(part.lines for part in parts), "polygons without area": sum(part.flat for part in parts)}
    notices = [f"{count} {kind} are left out" for kind, count in counts.items() if count]
    shown = [part for part in parts if len(part.faces)]
    smoothed, hidden = sum(part.smoothed for part in shown), sum(part.hidden for part in shown)
    if smoothed:
        notices.append(f"{smoothed} objects are to be subdivided (subdiv): their coarse polygons are shown")
    if hidden:
        notices.append(f"{hidden} objects are marked as hidden, and are shown")
    if absent := sum(part.absent for part in parts):
        notices.append(f"{absent} objects are declared (kids), and the file ends before them")
    return notices


def read_parts(path: Path) -> tuple[list[tuple[tuple[float, float, float], float]], list[Part]]:
    """The materials of a file as (RGB, opacity), and its objects in file order.

    Raises:
      ValueError: not an AC3D file, or a count that does not fit; the message names the file.
    """
    try:
        lines = decode_text(Path(path).read_bytes(), str(path)).split("\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    if not lines[0].startswith("AC3D"):
        raise ValueError(f"{path}: not an AC3D file, the first line must begin with AC3D.")
    stream = iter(lines[1:])
    colours: list = []
    parts: list[Part] = []
    try:
        for line in stream:
            if line.startswith("MATERIAL"):
                colours.append(_parse_material(line))
            elif line.startswith("MAT "):  # since AC3Dc a block
                colours.append(_parse_material(" ".join([line, *iter(lambda: next(stream).strip(), "ENDMAT")])))
            elif line.startswith("OBJECT"):
                _read_object(stream, np.zeros(3), np.eye(3), parts)
    except (ValueError, IndexError, OverflowError, StopIteration, RuntimeError) as error:
        raise ValueError(f"{path}: malformed AC3D ({str(error) or 'it ends too early'}).") from error
    return colours, parts


def _parse_material(line: str) -> tuple[tuple[float, float, float], float]:
    words = line.rpartition('"')[2].split()  # some files have no space between the quoted name and "rgb"
    k = words.index("rgb")
    transparency = float(words[words.index("trans") + 1]) if "trans" in words else 0.0
    red, green, blue = (min(max(float(word), 0.0), 1.0) for word in words[k + 1 : k + 4])
    if not np.isfinite([red, green, blue, transparency]).all():
        raise ValueError("a MATERIAL with a number that is not finite")
    return (red, green, blue), min(max(1.0 - transparency, 0.0), 1.0)


def _read_object(
    stream: Iterator[str], origin: np.ndarray, rotation: np.ndarray, parts: list[Part], depth: int = 0
) -> None:
    """Everything after an OBJECT line, children included; frames accumulate down the tree.

    The file stores ``rot`` row by row for row vectors: x_parent = x @ rot + loc.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"objects within objects, {MAX_DEPTH} deep")
    name, texture = "", None
    location, local_rotation = np.zeros(3), np.eye(3)
    uv_scale, uv_offset = np.ones(2), np.zeros(2)
    smoothed = hidden = False
    vertices, polygons = np.zeros((0, 3)), []
    for line in stream:
        key, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if key == "name":
            name = rest.strip('"')
        elif key == "data":
            next(stream)
        elif key == "texture" and texture is None:  # .acc files list further layers (shadow, wear): not wanted
            texture = rest.split('"')[1] if rest.startswith('"') else rest.split()[0]
        elif key == "texrep":
            uv_scale = np.array(rest.split()[:2], float)
        elif key == "texoff":
            uv_offset = np.array(rest.split()[:2], float)
        elif key == "subdiv":
            smoothed = rest not in ("", "0")
        elif key == "hidden":
            hidden = True
        elif key == "loc":
            location = np.array(rest.split()[:3], float)
        elif key == "rot":
            local_rotation = np.array(rest.split()[:9], float).reshape(3, 3)
        elif key == "numvert":
            rows = [words[:3] for words in _rows(stream, int(rest))]
            vertices = np.array(rows, float).reshape(-1, 3)
        elif key == "numsurf":
            for _ in range(int(rest)):
                polygons += _read_surface(stream)
        elif key == "kids":
            origin, rotation = location @ rotation + origin, local_rotation @ rotation
            world = vertices @ rotation + origin
            part = _make_part(name, texture, world, polygons, uv_scale, uv_offset)
            parts.append(replace(part, smoothed=smoothed, hidden=hidden))
            place = len(parts) - 1
            for k in range(int(rest)):
                child = next((line for line in stream if line.strip()), None)
                if child is None:  # some published files count one child too many
                    parts[place] = replace(parts[place], absent=int(rest) - k)
                    return
                if not child.startswith("OBJECT"):
                    raise ValueError(f"a child of {name!r} does not begin with OBJECT")
                _read_object(stream, origin, rotation, parts, depth + 1)
            return
    raise ValueError(f"object {name!r} has no kids line")


def _rows(stream: Iterator[str], count: int) -> list[list[str]]:
    """The words of so many lines; published files have blank ones among them."""
    filled = (words for line in stream if (words := line.split()))
    return [next(filled) for _ in range(count)]


def _read_surface(stream: Iterator[str]) -> list[tuple[int, list[tuple]]]:
    """One SURF block as polygons: (material, corners as (vertex, u, v)); a line has none, a strip its triangles."""
    flags, material = 0, 0
    for line in stream:
        key, _, rest = line.strip().partition(" ")
        if key == "SURF":
            flags = int(rest, 16)
        elif key == "mat":
            material = int(rest)
        elif key == "refs":
            words = _rows(stream, int(rest))
            corners = [(int(w[0]), float(w[1]), float(w[2])) for w in words]
            if flags & 15 == POLYGON:
                return [(material, corners)]
            if flags & 15 == TRIANGLE_STRIP:
                triangles = strip_triangles(np.arange(len(corners)))
                return [(material, [corners[k] for k in triangle]) for triangle in triangles]
            return [(material, [])]
    raise ValueError("a SURF without refs")


def _make_part(
    name: str,
    texture: str | None,
    vertices: np.ndarray,
    polygons: list[tuple[int, list[tuple]]],
    scale: np.ndarray,
    offset: np.ndarray,
) -> Part:
    corners = np.array([corner for _, polygon in polygons for corner in polygon], float).reshape(-1, 3)
    named = corners[:, 0].astype(np.int64)
    if named.size and not 0 <= named.min() <= named.max() < len(vertices):
        raise ValueError(f"object {name!r} has {len(vertices)} vertices, a surface names another")
    check_vertices(f"object {name!r}", vertices)
    sizes = np.array([len(polygon) for _, polygon in polygons], np.int64)
    triangle, owner = triangulate(vertices[named], sizes, named)
    return Part(
        name=name,
        texture=texture or "",
        vertices=vertices,
        faces=named[triangle].astype(np.int32),
        corner_uv=corners[triangle, 1:] * scale + offset,
        face_material=np.array([material for material, _ in polygons], np.int64)[owner],
        lines=int((sizes == 0).sum()),
        flat=int((sizes > 0).sum()) - len(np.unique(owner)),
    )


def _find_texture(name: str, path: Path, folders: Sequence[Path], notices: list[str]) -> np.ndarray | None:
    """The image by its base name (any case), or None, with a notice: the flat colour then stands."""
    base = PurePosixPath(name.replace("\\", "/")).name
    if name in NO_TEXTURE or base in NO_TEXTURE:
        return None
    found = next((hit for folder in folders if (hit := find_beside(folder / path.name, base)) is not None), None)
    found = found or find_beside(path, name)
    if found is None:
        notices.append(f"texture {name!r} is missing")
        return None
    try:
        return read_image(found, as_stored=True)
    except ValueError as error:
        notices.append(f"texture {name!r} cannot be read ({error})")
        return None
