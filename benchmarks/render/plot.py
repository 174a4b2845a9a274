"""Charts with logarithmic axes, drawn with Pillow, which the project has anyway."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Drawn larger, then shrunk: smooth lines.
_SCALE = 3
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 400, 66, 66, 44, 56
# Okabe and Ito's palette, distinguishable with every kind of colour vision.
PALETTE = {"blue": (0, 114, 178), "orange": (213, 94, 0), "green": (0, 158, 115), "grey": (120, 120, 120)}
_INK, _GRID = (40, 40, 40), (225, 225, 225)


class Line(NamedTuple):
    """One curve.

    Attributes:
        label: for the legend; curves of one label and colour are named once.
        xs, ys: values, > 0.
        colour: of `PALETTE`.
        right: measured by the axis on the right.
        dashed: the kind of line.
    """

    label: str
    xs: list[float]
    ys: list[float]
    colour: str
    right: bool = False
    dashed: bool = False


class Chart(NamedTuple):
    """One chart.

    Attributes:
        title: above.
        x_label: below.
        lines: curves.
        left: least and greatest power of ten of the axis on the left.
        right: of the axis on the right.
    """

    title: str
    x_label: str
    lines: list[Line]
    left: tuple[int, int]
    right: tuple[int, int]


def save(path: str, charts: list[Chart], left_label: str, right_label: str) -> None:
    """Draws charts side by side, with one legend below."""
    legend = {(line.label, line.colour, line.dashed): None for chart in charts for line in chart.lines}
    height = _HEIGHT + 22 * math.ceil(len(legend) / 2) + 12
    image = Image.new("RGB", (_SCALE * _WIDTH * len(charts), _SCALE * height), "white")
    pen = ImageDraw.Draw(image)
    for number, chart in enumerate(charts):
        _draw_chart(pen, chart, number * _WIDTH, left_label, right_label)
    for number, (label, colour, dashed) in enumerate(legend):
        x = 60 + number % 2 * (_WIDTH * len(charts) // 2)
        y = _HEIGHT + 12 + 22 * (number // 2)
        _polyline(pen, [(x, y), (x + 34, y)], PALETTE[colour], dashed)
        _text(pen, x + 44, y, label, "lm")
    image.resize((_WIDTH * len(charts), height), Image.Resampling.LANCZOS).save(path, optimize=True)


def _draw_chart(pen: ImageDraw.ImageDraw, chart: Chart, origin: int, left_label: str, right_label: str) -> None:
    xs = [x for line in chart.lines for x in line.xs]
    x_range = math.log10(min(xs)) - 0.1, math.log10(max(xs)) + 0.1
    low_px, high_px = _HEIGHT - _BOTTOM, _TOP

    def place(x: float, y: float, powers: tuple[int, int]) -> tuple[float, float]:
        across = (math.log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (math.log10(y) - powers[0]) / (powers[1] - powers[0])
        return origin + _LEFT + across * (_WIDTH - _LEFT - _RIGHT), low_px + up * (high_px - low_px)

    end = origin + _WIDTH - _RIGHT
    for power in range(chart.left[0], chart.left[1] + 1):
        y = place(1, 10.0**power, chart.left)[1]
        _polyline(pen, [(origin + _LEFT, y), (end, y)], _GRID, width=1)
        _text(pen, origin + _LEFT - 6, y, f"{10.0**power:g} s" if power >= 0 else f"{10.0**power * 1e3:g} ms", "rm")
    for power in range(chart.right[0], chart.right[1] + 1):
        _text(pen, end + 6, place(1, 10.0**power, chart.right)[1], _count(10**power), "lm", PALETTE["grey"])
    for x in sorted(set(xs)):
        px = place(x, 1, chart.left)[0]
        _polyline(pen, [(px, low_px), (px, low_px + 4)], _INK, width=1)
        _text(pen, px, low_px + 8, f"{x:,}", "mt")
    _polyline(pen, [(origin + _LEFT, high_px), (origin + _LEFT, low_px), (end, low_px), (end, high_px)], _INK, width=1)
    for line in chart.lines:
        powers = chart.right if line.right else chart.left
        points = [place(x, y, powers) for x, y in zip(line.xs, line.ys)]
        _polyline(pen, points, PALETTE[line.colour], line.dashed)
        for x, y in [] if line.right else points:
            box = [_SCALE * (x - 3), _SCALE * (y - 3), _SCALE * (x + 3), _SCALE * (y + 3)]
            pen.ellipse(box, fill=PALETTE[line.colour])
    _text(pen, origin + _WIDTH / 2, 14, chart.title, "mm", size=14)
    _text(pen, origin + _WIDTH / 2, _HEIGHT - 20, chart.x_label, "mm")
    _text(pen, origin + _LEFT, 32, left_label, "mm")
    _text(pen, end, 32, right_label, "mm", PALETTE["grey"])


def _polyline(pen: ImageDraw.ImageDraw, points: list, colour: tuple, dashed: bool = False, width: int = 2) -> None:
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        pieces = max(round(math.hypot(x1 - x0, y1 - y0) / 5), 1) if dashed else 1
        cuts = np.linspace(0, 1, pieces + 1)
        for start, end in list(zip(cuts, cuts[1:]))[:: 2 if dashed else 1]:
            ends = [(_SCALE * (x0 + t * (x1 - x0)), _SCALE * (y0 + t * (y1 - y0))) for t in (start, end)]
            pen.line(ends, fill=colour, width=_SCALE * width)


def _text(pen, x: float, y: float, text: str, anchor: str, colour: tuple = _INK, size: int = 11) -> None:
    pen.text((_SCALE * x, _SCALE * y), text, fill=colour, anchor=anchor, font=ImageFont.load_default(_SCALE * size))


def _count(number: int) -> str:
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number // unit} {name}"
    return str(number)
