"""Line charts as inline SVG: a page that carries its own curves needs no plotting library and no network."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

Numbers = Sequence[float | int] | np.ndarray
Series = Mapping[str, tuple[Numbers, Numbers]]

# Okabe and Ito's palette, distinguishable with every kind of colour vision; its yellow is too pale for lines.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 40
_MAX_POINTS = 600  # more than one point per pixel of the plot only makes the file longer


def nice_ticks(low: float | int, high: float | int, count: int = 5) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) inside [low, high].

    Example:
      >>> nice_ticks(0.0, 1.0)
      [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = max(high - low, 1e-12 * max(abs(low), abs(high), 1e-290))
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]


def line_chart(
    series: Series,
    *,
    x_label: str = "step",
    log_y: bool = False,
) -> str:
    """One SVG element, ``series`` name -> (x, y), with axes, grid and a legend.

    Points that are not finite leave a gap. Text is drawn in ``currentColor``, so that the page decides.

    Args:
      series: equally long sequences of numbers.
      log_y: logarithmic y; numbers that are not positive leave a gap.

    Raises:
      ValueError: a series has different numbers of x and y.
    """
    points = {name: _points(name, x, y, log_y) for name, (x, y) in series.items()}
    finite = np.concatenate([p[np.isfinite(p).all(-1)] for p in points.values()] or [np.zeros((0, 2))])
    if len(finite) == 0:
        return '<p class="empty">No finite values to draw.</p>'
    low, high = finite.min(0), finite.max(0)
    pad = np.array([0.0, 0.04]) * (high - low) + np.where(high > low, 0.0, np.maximum(abs(high), 1.0) * 0.05)
    low, high = low - pad, high + pad

    def to_px(p: np.ndarray) -> np.ndarray:
        unit = (p - low) / (high - low)
        x = _LEFT + unit[..., 0] * (_WIDTH - _LEFT - _RIGHT)
        return np.stack([x, _TOP + (1 - unit[..., 1]) * (_HEIGHT - _TOP - _BOTTOM)], -1)

    parts = _axes(low, high, to_px, x_label, log_y)
    for index, (_, p) in enumerate(points.items()):
        colour = PALETTE[index % len(PALETTE)]
        parts.append(f'<path d="{_path(to_px(p))}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    svg = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
    return svg + _legend(list(points))


def _points(name: str, x: Numbers, y: Numbers, log_y: bool) -> np.ndarray:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"series {name!r}: x and y must be equally long, got {x.shape} and {y.shape}.")
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MAX_POINTS)).round().astype(int))
    x, y = x[keep], y[keep]
    if log_y:
        y = np.log10(np.where(y > 0, y, np.nan))
    return np.stack([x, y], -1)


def _path(p: np.ndarray) -> str:
    """Move to the first point of every unbroken run, draw lines inside it."""
    commands, pen_down = [], False
    for x, y in p:
        if not (np.isfinite(x) and np.isfinite(y)):
            pen_down = False
            continue
        commands.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = True
    return "".join(commands)


def _axes(low, high, to_px, x_label: str, log_y: bool) -> list[str]:
    parts, right, bottom = [], _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for tick in _log_ticks(low[1], high[1]) if log_y else nice_ticks(low[1], high[1]):
        y = to_px(np.array([low[0], tick]))[1]
        label = 10.0**tick if log_y else tick
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label:.3g}</text>')
    for tick in nice_ticks(low[0], high[0], 6):
        x = to_px(np.array([tick, low[1]]))[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_short(tick)}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle_x = (_LEFT + right) / 2
    parts.append(f'<text x="{middle_x}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(x_label)}</text>')
    return parts


def _log_ticks(low: float, high: float) -> list[float]:
    """Exponents of round numbers: powers of ten, with 2 and 5 between them over a short range."""
    factors = (1,) if high - low > 3 else (1, 2, 5)
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [power + math.log10(factor) for power in powers for factor in factors]
    ticks = [tick for tick in ticks if low <= tick <= high]
    # Inside one step of that ladder there may be nothing round at all.
    return ticks[:: max(1, len(ticks) // 8)] if len(ticks) > 1 else nice_ticks(low, high)


def _short(number: float) -> str:
    """12,000 as 12k, to keep long step counts apart."""
    return f"{number / 1000:g}k" if abs(number) >= 10_000 else f"{number:g}"


def _legend(names: list[str]) -> str:
    items = [
        f'<li><i style="background:{PALETTE[i % len(PALETTE)]}"></i>{html.escape(name)}</li>'
        for i, name in enumerate(names)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'
