"""Reader of STL files, ASCII and binary.

Source: Burns, Automated Fabrication, section 6.5; colours of faces as Materialise Magics (``COLOR=`` in the header, red
in the lowest bits) or VisCAM and SolidView (blue in the lowest bits) write them, sRGB as stored.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ast_jax.shapes.mesh_files.polygon_mesh import Polygons, decode_text, polygon_mesh
from ast_jax.shapes.source_mesh import GREY, WHITE, Material, SourceMesh

_HEADER_SIZE = 84
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("colour", "<u2")])
_VERTEX = re.compile(r"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)


def load_stl(path: Path) -> SourceMesh:
    """Read one STL file; the facets of several solids become one mesh.

    Raises:
      ValueError: malformed, cut short, or no faces; the message names the file.
    """
    name = str(path)
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    count = int.from_bytes(content[80:_HEADER_SIZE], "little") if len(content) >= _HEADER_SIZE else 0
    size = _HEADER_SIZE + count * _FACET.itemsize
    # Many binary files begin with "solid" too: the size decides.
    is_text = content.lstrip()[:5].lower() == b"solid" and size != len(content)
    if is_text and b"\x00" not in content:
        return _mesh(name, _text_corners(name, decode_text(content, name)), None)
    if len(content) < _HEADER_SIZE:
        raise ValueError(f"{name}: not an STL file.")
    if len(content) < size:
        raise ValueError(f"{name}: not an STL file, or cut short: {len(content)} bytes for {count} facets.")
    facets = np.frombuffer(content, _FACET, count, _HEADER_SIZE)
    return _mesh(name, facets["corners"].astype(np.float64), _facet_colours(content[:80], facets["colour"]))


def _text_corners(name: str, text: str) -> Float[np.ndarray, "f 3 3"]:
    words = _VERTEX.findall(text)
    try:
        return np.array(words, object).astype(np.float64).reshape(-1, 3, 3)
    except ValueError as error:
        raise ValueError(f"{name}: malformed, a facet is not made of three vertices of three numbers.") from error


def _facet_colours(header: bytes, bits: np.ndarray) -> Float[np.ndarray, "f 3"] | None:
    """RGB of each facet; None where the file has no colour."""
    channels = np.stack([bits & 31, (bits >> 5) & 31, (bits >> 10) & 31], axis=-1) / 31.0
    begin = header.find(b"COLOR=")
    if 0 <= begin <= len(header) - 10:
        whole = np.frombuffer(header[begin + 6 : begin + 9], np.uint8) / 255.0
        # 0 is black, unless all are 0: then nothing was written there.
        has_own = (bits >> 15 == 0) & bool((bits & 0x7FFF).any())
        return np.where(has_own[:, None], channels, whole)
    has_own = bits >> 15 == 1
    return np.where(has_own[:, None], channels[:, ::-1], GREY) if has_own.any() else None


def _mesh(name: str, corners: Float[np.ndarray, "f 3 3"], colours: np.ndarray | None) -> SourceMesh:
    sizes = np.full(len(corners), 3, np.int64)
    of_corner = np.repeat(colours, 3, axis=0) if colours is not None else None
    polygons = Polygons(corners.reshape(-1, 3), np.arange(3 * len(corners)), sizes, None, None, of_corner)
    return polygon_mesh(name, polygons, (Material() if colours is None else Material(WHITE),))
