"""Reader of COLLADA files (``.dae``), versions 1.4 and 1.5.

Source: Khronos, COLLADA 1.4.1 specification, chapters 3 (transforms, ``up_axis``) and 5 (geometry).
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.shapes.mesh_files.dae_geometry import Piece, read_mesh
from ast_jax.shapes.mesh_files.dae_materials import Effects
from ast_jax.shapes.mesh_files.polygon_mesh import Polygons, polygon_mesh
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

# To +Y up, as rows. X_UP has its right at -y.
_UPRIGHT = {
    "X_UP": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "Y_UP": np.eye(3),
    "Z_UP": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
# Instances of nodes in nodes double with each level.
_MAX_NODES = 100_000
_MAX_DEPTH = 100
# Of all instances together; a small file can name one geometry many times.
_MAX_CORNERS = 15_000_000


@dataclass
class Document:
    """The elements of a file, without name spaces, and by their ids."""

    root: ElementTree.Element
    by_id: dict[str, ElementTree.Element]
    notices: Counter = field(default_factory=Counter)

    def target(self, url: str | None) -> ElementTree.Element | None:
        """What ``#id`` means, or None, with a notice."""
        found = self.by_id.get((url or "").lstrip("#"))
        if found is None:
            self.notices[f"references to {url!r}, which is not in the file"] += 1
        return found


def load_dae(path: Path, root: Path | None = None) -> SourceMesh:
    """Read one COLLADA file: all instances of its scene, upright (+Y) and in metres.

    Args:
      path: the file.
      root: folder in which the textures that it names must lie; None: its own.

    Raises:
      ValueError: malformed, more than is sensible, or no faces; the message names the file.
    """
    name = str(path)
    document = _parse(name, path.read_bytes())
    effects = Effects(document.by_id, path, root)
    pieces, materials, corners = [], [], 0
    try:
        for piece, material in _pieces(document, effects):
            if piece.colours is not None and material.image is None:
                material = Material(WHITE, None, material.opacity)
            materials.append(material)
            pieces.append(piece)
            corners += max(len(piece.corners), len(piece.vertices))
            if corners > _MAX_CORNERS:
                raise ValueError(f"more than {_MAX_CORNERS:,} corners with all instances")
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name}: malformed COLLADA ({error}).") from error
    notices = [f"{count} {what}" for what, count in document.notices.items()] + list(dict.fromkeys(effects.notices))
    if not pieces:
        raise ValueError("; ".join([f"{name}: no faces in it", *notices]) + ".")
    return polygon_mesh(name, _joined(pieces, _upright(document)), materials, notices)


class _Plain(ElementTree.TreeBuilder):
    """Refuses what can make a small file large, in whatever encoding it is written."""

    def doctype(self, *_) -> None:
        raise ValueError("XML with a document type, which may declare entities, is not read")


def _parse(name: str, content: bytes) -> Document:
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Plain()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{name}: not a COLLADA file ({error}).") from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    if root.tag != "COLLADA":
        raise ValueError(f"{name}: not a COLLADA file, its root is <{root.tag}>.")
    return Document(root, {element.get("id"): element for element in root.iter() if element.get("id")})


def _upright(document: Document) -> Float[np.ndarray, "3 3"]:
    axis = (document.root.findtext("asset/up_axis") or "Y_UP").strip()
    unit = document.root.find("asset/unit")
    try:
        metres = float(unit.get("meter", "1")) if unit is not None else 1.0
    except ValueError:
        metres = 1.0
    if axis not in _UPRIGHT:
        document.notices[f"unknown up_axis {axis!r}: read as Y_UP"] += 1
    return _UPRIGHT.get(axis, np.eye(3)) * (metres if np.isfinite(metres) and metres > 0 else 1.0)


def _pieces(document: Document, effects: Effects) -> Iterator[tuple[Piece, Material]]:
    """Every primitive of every instance in the scene, in its place, and what it looks like."""
    for instance, matrix in _instances(document):
        geometry, shape = _geometry_of(document, instance)
        mesh = geometry.find("mesh") if geometry is not None else None
        if mesh is None:
            document.notices["instances without a polygon mesh are left out"] += 1
            continue
        bound = {m.get("symbol"): m for m in instance.iter("instance_material")}
        for primitive in read_mesh(mesh, document.notices):
            binding = bound.get(primitive.symbol)
            material, uv_name = effects.material(binding.get("target") if binding is not None else None)
            yield primitive.placed(matrix @ shape, _uv_set(binding, uv_name)), material


def _uv_set(binding: ElementTree.Element | None, uv_name: str) -> str | None:
    for bind in binding.iter("bind_vertex_input") if binding is not None else ():
        if bind.get("semantic") == uv_name:
            return bind.get("input_set")
    return None


def _geometry_of(document: Document, instance: ElementTree.Element) -> tuple[ElementTree.Element | None, np.ndarray]:
    """The geometry of an instance, and what it is multiplied with first: of a skin, the matrix of its bind shape."""
    target, shape = document.target(instance.get("url")), np.eye(4)
    for _ in range(8):  # a skin of a morph of a geometry
        if target is None or target.tag == "geometry":
            break
        inner = next((child for child in target if child.tag in ("skin", "morph")), None)
        if inner is None:
            return None, shape
        document.notices[f"controllers ({inner.tag}) are left out: the shape without them is shown"] += 1
        text = inner.findtext("bind_shape_matrix")
        shape = shape @ _floats(text, 16).reshape(4, 4) if text else shape
        target = document.target(inner.get("source"))
    return target, shape


def _instances(document: Document) -> Iterator[tuple[ElementTree.Element, np.ndarray]]:
    """Instances of geometries and controllers in the scene, with the matrix of their node."""
    reference = document.root.find("scene/instance_visual_scene")
    scene = document.target(reference.get("url")) if reference is not None else None
    if scene is None:
        scene = document.root.find("library_visual_scenes/visual_scene")
    if scene is None:
        return
    waiting = [(node, np.eye(4), ()) for node in reversed(scene.findall("node"))]
    visited = 0
    while waiting:
        node, above, within = waiting.pop()
        visited += 1
        if visited > _MAX_NODES or len(within) > _MAX_DEPTH or any(node is other for other in within):
            raise ValueError(f"more than {_MAX_NODES:,} nodes, {_MAX_DEPTH} within another, or one within itself")
        matrix = above
        below = []
        for child in node:
            if child.tag in ("instance_geometry", "instance_controller"):
                if np.isnan(matrix).all():
                    raise ValueError("a geometry below a lookat or a skew, which are not read; export it with matrices")
                yield child, matrix
            elif child.tag == "node":
                below.append((child, matrix, (*within, node)))
            elif child.tag == "instance_node":
                target = document.target(child.get("url"))
                below += [(target, matrix, (*within, node))] if target is not None else []
            else:
                matrix = matrix @ _transform(child)
        waiting += reversed(below)


def _transform(element: ElementTree.Element) -> Float[np.ndarray, "4 4"]:
    """The matrix of one step of a node; they stand before its instances and children. NaN where it is not known."""
    matrix = np.eye(4)
    if element.tag == "matrix":
        return _floats(element.text, 16).reshape(4, 4)
    if element.tag == "translate":
        matrix[:3, 3] = _floats(element.text, 3)
    elif element.tag == "scale":
        matrix[[0, 1, 2], [0, 1, 2]] = _floats(element.text, 3)
    elif element.tag == "rotate":
        x, y, z, angle_deg = _floats(element.text, 4)
        length = np.linalg.norm([x, y, z])
        if length > 0:
            x, y, z = x / length, y / length, z / length
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            angle_rad = np.deg2rad(angle_deg)
            matrix[:3, :3] += np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
    elif element.tag in ("lookat", "skew"):
        matrix[:] = np.nan  # of a camera, mostly
    return matrix


def _floats(text: str | None, count: int) -> Float[np.ndarray, " n"]:
    found = np.array((text or "").split(), np.float64)
    if len(found) != count:
        raise ValueError(f"{len(found)} numbers where {count} belong")
    return found


def _joined(pieces: list[Piece], upright: Float[np.ndarray, "3 3"]) -> Polygons:
    """All pieces as one; each has its own material."""
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    coloured = any(piece.colours is not None for piece in pieces)
    white = [np.ones((len(piece.corners), 3)) if piece.colours is None else piece.colours for piece in pieces]
    return Polygons(
        vertices=np.concatenate([piece.vertices for piece in pieces]) @ upright.T,
        corners=np.concatenate([piece.corners + start for piece, start in zip(pieces, starts)]),
        sizes=np.concatenate([piece.sizes for piece in pieces]),
        material=np.repeat(np.arange(len(pieces)), [len(piece.sizes) for piece in pieces]),
        uv=np.concatenate([piece.uv for piece in pieces]),
        colours=np.concatenate(white) if coloured else None,
    )
