"""Results as one HTML file that needs no network: numbers, curves, pictures and meshes to turn by hand."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ast_jax.export.curves import Series, line_chart
from ast_jax.files.writing import write_text

Value = float | int | str | np.floating | np.integer | None
# A uint8 array, or the bytes of a PNG, GIF or JPEG file.
Picture = UInt8[np.ndarray, "_ _ _"] | bytes
_SIGNATURES = {b"\x89PNG": "image/png", b"GIF8": "image/gif", b"\xff\xd8\xff": "image/jpeg"}
_FORMATS = ("PNG", "GIF", "JPEG")
_SMALL = 160  # pictures up to this width show their pixels instead of being blurred up
# The page may run its own scripts and read its own data; the browser refuses it everything else.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src data: blob:; worker-src blob:"
)


@dataclass(frozen=True)
class Headline:
    """A few large numbers. ``items``: (label, value, small print)."""

    items: Sequence[tuple[str, Value, str]]


@dataclass(frozen=True)
class Text:
    """A heading and paragraphs."""

    title: str
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words; the first column is the name of the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""


@dataclass(frozen=True)
class Curves:
    """Charts side by side. ``charts``: caption -> series name -> (x, y)."""

    title: str
    charts: Mapping[str, Series]
    x_label: str = "step"
    log_y: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures (or animated GIFs) with captions. ``items``: (caption, picture)."""

    title: str
    items: Sequence[tuple[str, Picture]]


@dataclass(frozen=True)
class ObjectRow:
    """One reconstructed object.

    Args:
      name: heading of the row.
      picture: what the model saw.
      glb: the reconstruction, bytes of a GLB file (``encode_glb``).
      truth_glb: the true mesh, which then turns together with the reconstruction.
      views: (label, predicted picture, true picture or None) from viewpoints that the model did not see.
      metrics: name -> number.
    """

    name: str
    picture: Picture
    glb: bytes | None = None
    truth_glb: bytes | None = None
    views: Sequence[tuple[str, Picture, Picture | None]] = ()
    metrics: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    """Objects below each other: input picture, interactive mesh, unseen views."""

    title: str
    objects: Sequence[ObjectRow]
    note: str = ""


Section = Headline | Text | Table | Curves | Pictures | Gallery


def write_report(path: str | Path, title: str, *sections: Section, subtitle: str = "") -> None:
    """Write :func:`report_page` to a file, whose name ends in ``.html``."""
    write_text(path, report_page(title, *sections, subtitle=subtitle))


def report_page(title: str, *sections: Section, subtitle: str = "") -> str:
    """One self-contained HTML page.

    All text is escaped; meshes are decoded when their viewer scrolls into sight. The page carries a content
    security policy that forbids every network access.

    Args:
      title: heading and window title.
      sections: in the order in which they appear.
      subtitle: one line under the heading.

    Raises:
      ValueError: a picture or a mesh is not what it should be.
    """
    meshes: list[bytes] = []
    body = [_SECTIONS[type(section)](section, meshes) for section in sections]
    scripts = []
    if meshes:
        for index, glb in enumerate(meshes):
            scripts.append(f'<script type="text/plain" id="glb-{index}">{_base64(glb)}</script>')
        scripts += [f'<script type="module">{_asset(name)}</script>' for name in ("model-viewer.min.js", "report.js")]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_asset("report.css")}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="subtitle">{html.escape(subtitle)}</p>
{"".join(body)}
<footer>Made with AST-JAX. Drag a mesh to turn it; click it and use the wheel to zoom.</footer>
</main>
{"".join(scripts)}
</body>
</html>
"""


def _headline(section: Headline, meshes: list[bytes]) -> str:
    items = [
        f"<div><dt>{html.escape(label)}</dt><dd>{_cell(value)}<small>{html.escape(note)}</small></dd></div>"
        for label, value, note in section.items
    ]
    return f'<dl class="headline">{"".join(items)}</dl>'


def _text(section: Text, meshes: list[bytes]) -> str:
    return _heading(section.title) + "".join(f"<p>{html.escape(p)}</p>" for p in section.paragraphs)


def _table(section: Table, meshes: list[bytes]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in section.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return _heading(section.title) + table + _note(section.note)


def _curves(section: Curves, meshes: list[bytes]) -> str:
    figures = []
    for caption, series in section.charts.items():
        chart = line_chart(series, x_label=section.x_label, log_y=section.log_y)
        figures.append(f"<figure><h3>{html.escape(caption)}</h3>{chart}</figure>")
    return f'{_heading(section.title)}<div class="charts">{"".join(figures)}</div>'


def _pictures(section: Pictures, meshes: list[bytes]) -> str:
    figures = [
        f"<figure>{_image(picture, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, picture in section.items
    ]
    return f'{_heading(section.title)}<div class="pictures">{"".join(figures)}</div>'


def _gallery(section: Gallery, meshes: list[bytes]) -> str:
    return _heading(section.title) + _note(section.note) + "".join(_object(o, meshes) for o in section.objects)


def _object(item: ObjectRow, meshes: list[bytes]) -> str:
    metrics = "".join(f"<li>{html.escape(k)} <b>{_cell(v)}</b></li>" for k, v in item.metrics.items())
    viewers = [
        _viewer(glb, f"{label} of {item.name}", label, meshes)
        for label, glb in (("reconstruction", item.glb), ("truth", item.truth_glb))
        if glb is not None
    ]
    views = "".join(_view(*view) for view in item.views)
    if any(truth is not None for _, _, truth in item.views):
        caption = "<figcaption>unseen views: prediction above, truth below</figcaption>"
        views = f'<div class="views">{views}</div>{caption}'
    elif views:
        views = f'<div class="views large">{views}</div>'
    views = f'<figure class="views-block">{views}</figure>' if views else ""
    picture = f'<figure class="input">{_image(item.picture, "input")}<figcaption>input</figcaption></figure>'
    return (
        f'<article class="object"><header><h3>{html.escape(item.name)}</h3><ul>{metrics}</ul></header>'
        f'<div class="body">{picture}{"".join(viewers)}</div>{views}</article>'
    )


def _viewer(glb: bytes, alt: str, label: str, meshes: list[bytes]) -> str:
    if glb[:4] != b"glTF":
        raise ValueError(f"{alt}: not the bytes of a GLB file.")
    meshes.append(glb)
    return (
        f'<figure class="mesh"><model-viewer data-glb="glb-{len(meshes) - 1}" alt="{html.escape(alt)}" '
        'camera-controls disable-zoom touch-action="pan-y" interaction-prompt="none" loading="eager" '
        'camera-orbit="30deg 65deg 105%" shadow-intensity="0.4">'
        '<div slot="progress-bar"></div></model-viewer>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _view(label: str, predicted: Picture, truth: Picture | None) -> str:
    pair = _image(predicted, f"predicted, {label}")
    if truth is not None:
        pair += _image(truth, f"truth, {label}")
    return f"<figure>{pair}<figcaption>{html.escape(label)}</figcaption></figure>"


def _image(picture: Picture, alt: str) -> str:
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (3, 4):
            raise ValueError(f"{alt}: a picture must be uint8 [h, w, 3 or 4], got {picture.dtype} {picture.shape}.")
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        picture = buffer.getvalue()
    kind = next((kind for signature, kind in _SIGNATURES.items() if picture.startswith(signature)), None)
    if kind is None:
        raise ValueError(f"{alt}: not the bytes of a PNG, GIF or JPEG picture.")
    with Image.open(io.BytesIO(picture), formats=_FORMATS) as opened:
        width, height = opened.size
    style = ' class="small"' if width <= _SMALL else ""
    return (
        f'<img{style} loading="lazy" width="{width}" height="{height}" alt="{html.escape(alt)}" '
        f'src="data:{kind};base64,{_base64(picture)}">'
    )


def _cell(value: Value) -> str:
    """Numbers with three decimals, or three digits where that would hide them; nothing as a dash."""
    if isinstance(value, (float, np.floating)) and not math.isnan(value):
        return f"{value:.3f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"
    if value is None or value != value:
        return "–"
    return html.escape(str(value))


def _heading(title: str) -> str:
    return f"<h2>{html.escape(title)}</h2>" if title else ""


def _note(note: str) -> str:
    return f'<p class="note">{html.escape(note)}</p>' if note else ""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _asset(name: str) -> str:
    return (resources.files("ast_jax.export") / "assets" / name).read_text(encoding="utf-8")


_SECTIONS = {
    Headline: _headline,
    Text: _text,
    Table: _table,
    Curves: _curves,
    Pictures: _pictures,
    Gallery: _gallery,
}
