"""Colours and patterns of the parametric birds: hue, two-tone bodies, stripes, spots, bars, caps, masks."""

import colorsys
from dataclasses import dataclass

import numpy as np

BEAKS = ((0.95, 0.55, 0.1), (0.98, 0.8, 0.2), (0.2, 0.2, 0.22), (0.85, 0.2, 0.12), (0.62, 0.62, 0.66))
BODY_PATTERNS = ("plain", "stripes", "spots", "rings", "bib")
HEAD_PATTERNS = ("back", "own", "cap", "mask", "collar")
WING_PATTERNS = ("plain", "bars", "tip", "panel", "scales")
TAIL_PATTERNS = ("plain", "band", "bars", "own")
Colour = np.ndarray


@dataclass(frozen=True)
class Plumage:
    """Colours are RGB in [0, 1], patterns are names, ``pitch`` is how many stripes or spots there are."""

    back: Colour
    belly: Colour
    wing: Colour
    accent: Colour
    head: Colour
    beak: Colour
    body_pattern: str
    head_pattern: str
    wing_pattern: str
    tail_pattern: str
    pitch: float
    waterline: float


def draw_plumage(rng: np.random.Generator) -> Plumage:
    """One plumage: a hue for the back, and colours that keep their distance from it."""
    hue = rng.uniform()
    bright = rng.uniform(0.3, 0.95)
    back = _hsv(hue, rng.uniform(0.35, 0.95), bright)
    belly = _hsv(hue + rng.choice([0.0, 0.07, 0.42, 0.58]), rng.uniform(0.08, 0.7), rng.uniform(0.8, 1.0))
    accent = _hsv(hue + rng.uniform(0.35, 0.65), rng.uniform(0.6, 1.0), 0.95 if bright < 0.6 else 0.35)
    if rng.uniform() < 0.3:
        accent = np.full(3, 0.97 if bright < 0.6 else 0.08)
    wing = _hsv(hue + rng.normal(0, 0.08), rng.uniform(0.3, 0.9), bright * rng.uniform(0.55, 0.9))
    head = _hsv(hue + rng.uniform(0.2, 0.8), rng.uniform(0.5, 0.95), rng.uniform(0.4, 1.0))
    return Plumage(
        back=back,
        belly=belly,
        wing=wing,
        accent=accent,
        head=head,
        beak=np.array(BEAKS[rng.integers(len(BEAKS))]),
        body_pattern=str(rng.choice(BODY_PATTERNS)),
        head_pattern=str(rng.choice(HEAD_PATTERNS)),
        wing_pattern=str(rng.choice(WING_PATTERNS)),
        tail_pattern=str(rng.choice(TAIL_PATTERNS)),
        pitch=rng.uniform(3.0, 5.0),
        waterline=rng.uniform(-0.35, 0.35),
    )


def paint(name: str, vertices: np.ndarray, along: np.ndarray, around: np.ndarray, plumage: Plumage) -> np.ndarray:
    """The colour of every vertex of one part.

    Args:
      name: of the part: body, neck, head, beak, tail, wing or eye.
      vertices: ``[v, 3]``.
      along: ``[v]`` in [0, 1], along the part.
      around: ``[v]``, rad, 0 on the upper side.
      plumage: colours and patterns.

    Returns:
      RGB in [0, 1], ``[v, 3]``.
    """
    painters = {
        "body": _body,
        "neck": _neck,
        "head": _head,
        "beak": _beak,
        "tail": _tail,
        "wing": _wing,
        "eye": _eye,
    }
    return np.clip(painters[name](vertices, along, np.cos(around), plumage), 0.0, 1.0)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _step(value: np.ndarray, softness: float = 0.08) -> np.ndarray:
    """0 below zero, 1 above, with a short ramp: ``[v, 1]``."""
    return np.clip(0.5 + value / (2 * softness), 0.0, 1.0)[:, None]


def _mix(below: np.ndarray, above: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return below * (1 - amount) + above * amount


def _waves(phase: np.ndarray) -> np.ndarray:
    """Alternating bands, two per turn of the phase (in turns)."""
    return _step(np.sin(2 * np.pi * phase), 0.3)


def _two_tone(upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    return _mix(plumage.belly, plumage.back, _step(upness - plumage.waterline, 0.15))


def _body(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    colour = _two_tone(upness, plumage)
    if plumage.body_pattern == "stripes":
        return _mix(colour, plumage.accent, _waves(plumage.pitch * along) * _step(upness - plumage.waterline))
    if plumage.body_pattern == "rings":
        return _mix(colour, plumage.accent, _waves(0.6 * plumage.pitch * along))
    if plumage.body_pattern == "spots":
        x, y, z = (2 * np.pi * plumage.pitch * vertices * [0.8, 1.0, 1.0]).T
        return _mix(colour, plumage.accent, _step(np.cos(x) * np.cos(y) + np.cos(z) * np.cos(x) - 0.45, 0.3))
    if plumage.body_pattern == "bib":
        return _mix(colour, plumage.accent, _step(along - 0.68 - 0.15 * upness, 0.05))
    return colour


def _neck(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    colour = _two_tone(upness, plumage)
    if plumage.body_pattern == "bib":
        colour = _mix(plumage.accent, plumage.back, _step(upness - 0.3))
    if plumage.head_pattern == "own":
        return _mix(colour, plumage.head, _step(along - 0.45))
    if plumage.head_pattern == "collar":
        return _mix(colour, plumage.head, _step(0.22 - np.abs(along - 0.6)))
    return colour


def _head(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    colour = np.broadcast_to(plumage.back, vertices.shape)
    if plumage.head_pattern == "own":
        return np.broadcast_to(plumage.head, vertices.shape)
    if plumage.head_pattern == "cap":
        return _mix(plumage.belly, plumage.head, _step(upness - 0.35 + 0.3 * along))
    if plumage.head_pattern == "mask":
        return _mix(colour, plumage.accent, _step(0.45 - np.abs(upness - 0.2)) * _step(along - 0.3))
    return colour


def _beak(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    return plumage.beak * (1 - 0.35 * _step(along - 0.8))


def _eye(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    return _mix(np.array([0.97, 0.95, 0.85]), np.array([0.03, 0.03, 0.05]), _step(along - 0.62, 0.02))


def _tail(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    colour = np.broadcast_to(plumage.back, vertices.shape)
    if plumage.tail_pattern == "own":
        return np.broadcast_to(plumage.head, vertices.shape)
    if plumage.tail_pattern == "band":
        return _mix(colour, plumage.accent, _step(along - 0.72))
    if plumage.tail_pattern == "bars":
        return _mix(colour, plumage.accent, _waves(0.8 * plumage.pitch * along))
    return colour


def _wing(vertices: np.ndarray, along: np.ndarray, upness: np.ndarray, plumage: Plumage) -> np.ndarray:
    underneath = 0.5 * (plumage.belly + plumage.wing)
    colour = np.broadcast_to(plumage.wing, vertices.shape)
    if plumage.wing_pattern == "bars":
        colour = _mix(colour, plumage.accent, _waves(0.7 * plumage.pitch * along))
    if plumage.wing_pattern == "tip":
        colour = _mix(colour, plumage.accent, _step(along - 0.62))
    if plumage.wing_pattern == "panel":
        colour = _mix(colour, plumage.accent, _step(0.16 - np.abs(along - 0.42)))
    if plumage.wing_pattern == "scales":
        colour = _mix(colour, plumage.back, _waves(plumage.pitch * along) * 0.9)
    return _mix(underneath, colour, _step(upness + 0.1, 0.2))
