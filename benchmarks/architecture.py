"""Draws docs/images/architecture.svg, the picture of the method on the front page.

Run: python -m benchmarks.architecture
"""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from ast_jax.data.images import read_image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1120, 470
FONT = "font-family='Helvetica, Arial, DejaVu Sans, sans-serif'"
INK, FAINT = "#24292f", "#57606a"
# Okabe and Ito's colours, lightened: what learns, what renders, what is compared.
LEARNED, RENDERED, COMPARED, PLAIN = "#d6ebf8", "#fbe5c8", "#cdeee2", "#f3f4f6"


_STEPS = ("draw, compare with the", "picture, feel the gradient", "at each vertex, move;", "K times, shared weights")
_SUPERVISION = ("silhouettes, colours, key points, smoothness", "ast_jax/losses/: one file per term")
# x, y, width and height in px; colour; title and smaller lines.
BOXES = (
    ((170, 170, 130, 110), LEARNED, ("Encoder", "tokens", "maps of features", "summary")),
    ((350, 20, 200, 62), LEARNED, ("Camera", "given, regressed, or", "the best of several candidates")),
    ((350, 106, 200, 56), LEARNED, ("Coarse shape", "sphere + mean + summary")),
    ((350, 186, 200, 78), LEARNED, ("Shape Transformer", "one query per vertex of the", "sphere reads the tokens")),
    ((350, 316, 200, 78), LEARNED, ("Texture Transformer", "one query per face gathers", "colours from the picture")),
    ((604, 140, 170, 124), LEARNED, ("Steps of synthesis", *_STEPS)),
    ((824, 170, 120, 110), RENDERED, ("Renderer", "render/", "soft coverage,", "colours, depth")),
    ((774, 366, 330, 78), COMPARED, ("Losses, from 2D annotations alone", *_SUPERVISION)),
)
# The corners of each, px, in the direction of the arrow.
ARROWS = (
    ((138, 220), (168, 220)),
    ((300, 195), (325, 195), (325, 51), (348, 51)),
    ((325, 134), (348, 134)),
    ((300, 225), (348, 225)),
    ((300, 255), (325, 255), (325, 340), (348, 340)),
    ((550, 134), (577, 134), (577, 170), (602, 170)),
    ((550, 225), (602, 225)),
    ((550, 51), (884, 51), (884, 168)),
    ((78, 310), (78, 375), (348, 375)),
    ((774, 215), (822, 215)),
    ((550, 340), (844, 340), (844, 282)),
    ((944, 220), (982, 220)),
    ((904, 280), (904, 364)),
)
LABELS = (
    (78, 300, "one picture", "middle"),
    (1044, 300, "the textured mesh", "middle"),
    (640, 44, "where the picture was taken from", "start"),
    (90, 367, "colours of the picture", "start"),
    (798, 207, "mesh", "middle"),
    (640, 333, "colours of the faces", "start"),
    (912, 330, "pictures that it should explain", "start"),
    (500, 412, "gradients: everything in blue learns", "middle"),
)


def box(x: int, y: int, width: int, height: int, fill: str, title: str, *lines: str) -> str:
    """A rounded box with a title and smaller lines below it."""
    middle = x + width / 2
    top = y + height / 2 - 8 * len(lines) + 5
    rows = [f"<text x='{middle}' y='{top}' font-size='15' font-weight='bold' fill='{INK}'>{escape(title)}</text>"]
    for number, line in enumerate(lines, start=1):
        rows.append(f"<text x='{middle}' y='{top + 17 * number}' font-size='12' fill='{FAINT}'>{escape(line)}</text>")
    shape = f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='8' fill='{fill}' stroke='#8c959f'/>"
    return shape + f"<g text-anchor='middle' {FONT}>{''.join(rows)}</g>"


def label(x: int, y: int, text: str, anchor: str) -> str:
    """Small words beside an arrow or below a picture."""
    return f"<text x='{x}' y='{y}' font-size='12' text-anchor='{anchor}' fill='{FAINT}' {FONT}>{escape(text)}</text>"


def arrow(*points: tuple[int, int], dashed: bool = False) -> str:
    """A line through these points with a head at the last one; dashed: the way of the gradients."""
    path = " ".join(f"{x},{y}" for x, y in points)
    dash = " stroke-dasharray='6 4' stroke='#d55e00'" if dashed else f" stroke='{INK}'"
    head = "hot" if dashed else "head"
    return f"<polyline points='{path}' fill='none' stroke-width='1.6'{dash} marker-end='url(#{head})'/>"


def picture(x: int, y: int, side: int, corners_px: tuple[int, int, int, int]) -> str:
    """A square out of the picture of all photographs, inside the drawing."""
    buffer = io.BytesIO()
    whole = Image.fromarray(read_image(IMAGES / "photographs.png")[..., :3])
    whole.crop(corners_px).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<image x='{x}' y='{y}' width='{side}' height='{side}' href='data:image/png;base64,{data}'/>"


def heads() -> str:
    """The tips of the two kinds of arrows."""
    tip = "<path d='M0,0 L8,4 L0,8 z' fill='{}'/></marker>"
    marker = "<marker id='{}' markerWidth='8' markerHeight='8' refX='7' refY='4' orient='auto'>"
    return "<defs>" + marker.format("head") + tip.format(INK) + marker.format("hot") + tip.format("#d55e00") + "</defs>"


def drawing() -> str:
    """The whole figure as SVG."""
    parts = [
        picture(18, 160, 120, (905, 1020, 1030, 1145)),
        picture(984, 160, 120, (1050, 1020, 1175, 1145)),
        *(box(*place, fill, *words) for place, fill, words in BOXES),
        *(arrow(*points) for points in ARROWS),
        arrow((774, 420), (235, 420), (235, 284), dashed=True),
        *(label(*each) for each in LABELS),
    ]
    frame = f"<rect width='{WIDTH}' height='{HEIGHT}' rx='12' fill='white'/>"
    size = f"width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{heads()}{frame}{''.join(parts)}</svg>\n"


if __name__ == "__main__":
    (IMAGES / "architecture.svg").write_text(drawing(), encoding="utf-8")
