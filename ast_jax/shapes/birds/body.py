"""The shape of a parametric bird: two dozen numbers, and the closed surfaces that they make.

Every part is one closed surface swept along a curve; parts run into one another. Left and right mirror each
other about x = 0; the front is +Z and up is +Y. The unit is roughly the length of the body.
"""

from dataclasses import dataclass

import numpy as np

from ast_jax.shapes.birds.plumage import Plumage, paint
from ast_jax.shapes.source_mesh import WHITE, Material, SourceMesh

KEYPOINT_NAMES = (
    "beak_tip",
    "crown",
    "nape",
    "breast",
    "belly",
    "back",
    "tail_tip",
    "left_wing_tip",
    "right_wing_tip",
    "left_eye",
    "right_eye",
)
MIRROR = np.array([-1.0, 1.0, 1.0])
SIDEWAYS = np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True)
class Part:
    """One closed surface of the bird, ready to be painted.

    Args:
      name: body, neck, head, beak, tail, wing or eye.
      vertices: float64 ``[v, 3]``.
      faces: int32 ``[f, 3]``, counter-clockwise from outside.
      along: ``[v]``, 0 at the start of the curve and 1 at its end.
      around: ``[v]``, angle about the curve, 0 at the ``up`` side, rad.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    along: np.ndarray
    around: np.ndarray


@dataclass(frozen=True)
class BirdShape:
    """What makes one bird differ from another; lengths in body lengths, angles in degrees.

    ``wing_spread`` is 0 for wings folded against the body and 1 for wings held out. ``tail_fork`` > 0 is a
    swallow's tail and < 0 a wedge.
    """

    body_pitch: float
    body_width: float
    body_height: float
    body_skew: float
    neck_length: float
    neck_angle: float
    neck_width: float
    head_size: float
    beak_length: float
    beak_width: float
    beak_droop: float
    tail_length: float
    tail_width: float
    tail_fork: float
    tail_pitch: float
    wing_spread: float
    wing_length: float
    wing_chord: float
    wing_taper: float
    wing_sweep: float
    wing_bend: float
    wing_lift: float


def draw_shape(rng: np.random.Generator) -> BirdShape:
    """One shape; every number is drawn on its own, so that few birds resemble each other."""
    body_height = rng.uniform(0.22, 0.4)
    return BirdShape(
        body_pitch=rng.uniform(-10, 70),
        body_width=body_height * rng.uniform(0.8, 1.1),
        body_height=body_height,
        body_skew=rng.uniform(0.75, 1.3),
        neck_length=rng.choice([rng.uniform(0.2, 0.34), rng.uniform(0.4, 0.85)], p=[0.6, 0.4]),
        neck_angle=rng.uniform(25, 85),
        neck_width=rng.uniform(0.5, 0.85),
        head_size=rng.uniform(0.17, 0.28),
        beak_length=rng.uniform(0.12, 0.4),
        beak_width=rng.uniform(0.4, 0.65),
        beak_droop=rng.uniform(-5, 50),
        tail_length=rng.uniform(0.15, 0.8),
        tail_width=rng.uniform(0.13, 0.45),
        tail_fork=rng.uniform(-0.6, 0.6),
        tail_pitch=rng.uniform(-30, 45),
        wing_spread=rng.choice([rng.uniform(0.0, 0.12), rng.uniform(0.5, 1.0)], p=[0.3, 0.7]),
        wing_length=rng.uniform(0.7, 1.25),
        wing_chord=rng.uniform(0.4, 0.65),
        wing_taper=rng.uniform(0.3, 0.85),
        wing_sweep=rng.uniform(-15, 30),
        wing_bend=rng.uniform(0, 50),
        wing_lift=rng.uniform(-35, 65),
    )


def sweep_surface(
    name: str,
    centres: np.ndarray,
    side: np.ndarray,
    up: np.ndarray,
    half_width: np.ndarray,
    half_height: np.ndarray,
    *,
    segments: int,
    squareness: float = 1.0,
) -> Part:
    """A tube of elliptic sections about a curve, closed by a point at either end.

    Args:
      name: of the part.
      centres: ``[r, 3]`` centres of the sections; the first and last are the closing points.
      side: unit directions of the width, ``[r, 3]`` or ``[3]``.
      up: unit directions of the height, ``[r, 3]`` or ``[3]``.
      half_width: ``[r]``.
      half_height: ``[r]``.
      segments: corners of a section, > 2.
      squareness: 1 is an ellipse; below 1 the section tends to a rectangle.

    Returns:
      The part, facing outwards.
    """
    rings = len(centres) - 2
    angle = 2 * np.pi * np.arange(segments) / segments
    lateral, vertical = (np.sign(c) * np.abs(c) ** squareness for c in (np.sin(angle), np.cos(angle)))
    side, up = (np.broadcast_to(d, centres.shape)[1:-1, None] for d in (side, up))
    offset = side * half_width[1:-1, None, None] * lateral[None, :, None]
    offset = offset + up * half_height[1:-1, None, None] * vertical[None, :, None]
    ring = (centres[1:-1, None] + offset).reshape(-1, 3)
    vertices = np.concatenate([ring, centres[:1], centres[-1:]])
    along = np.concatenate([np.repeat(np.arange(1, rings + 1) / (rings + 1), segments), [0.0, 1.0]])
    around = np.concatenate([np.tile(angle, rings), [0.0, 0.0]])
    faces = _tube_faces(rings, segments)
    return Part(name, vertices, _facing_outwards(vertices, faces), along, around)


def _tube_faces(rings: int, segments: int) -> np.ndarray:
    corner = np.arange(rings * segments).reshape(rings, segments)
    after = np.roll(corner, -1, axis=1)
    quads = np.stack([corner[:-1], corner[1:], after[1:], after[:-1]], -1).reshape(-1, 4)
    start, end = np.full(segments, rings * segments), np.full(segments, rings * segments + 1)
    caps = [np.stack([start, corner[0], after[0]], -1), np.stack([end, after[-1], corner[-1]], -1)]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], *caps]).astype(np.int32)


def _facing_outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    signed_volume = np.einsum("fi,fi->", a, np.cross(b, c)) / 6
    return faces if signed_volume > 0 else faces[:, ::-1]


def _mirrored(part: Part) -> Part:
    return Part(part.name, part.vertices * MIRROR, part.faces[:, ::-1], part.along, part.around)


def _ends(count: int) -> np.ndarray:
    """Positions from 0 to 1, denser towards the ends where surfaces close."""
    return 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, count))


def _in_profile(angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The forward and the upward direction of something pitched nose-up by this angle."""
    angle_rad = np.deg2rad(angle_deg)
    sine, cosine = np.sin(angle_rad), np.cos(angle_rad)
    return np.array([0.0, sine, cosine]), np.array([0.0, cosine, -sine])


def _across(curve: np.ndarray) -> np.ndarray:
    """Unit directions at right angles to a curve in the plane x = 0, towards the upper side."""
    tangent = np.gradient(curve, axis=0)
    tangent = tangent / np.linalg.norm(tangent, axis=-1, keepdims=True)
    return np.stack([np.zeros(len(curve)), tangent[:, 2], -tangent[:, 1]], -1)


def _bezier(points: list[np.ndarray], count: int) -> np.ndarray:
    """A quadratic curve from the first to the third point."""
    s = _ends(count)[:, None]
    return (1 - s) ** 2 * points[0] + 2 * s * (1 - s) * points[1] + s**2 * points[2]


def _body(shape: BirdShape) -> Part:
    forward, up = _in_profile(shape.body_pitch)
    s = _ends(30)
    # A half circle in s, with its fullest place moved towards the breast (skew > 1) or the rump.
    full = np.sqrt(np.clip(1 - (2 * s**shape.body_skew - 1) ** 2, 0, None)) ** 0.9
    # The belly sags a little, so that the back is flatter than the belly.
    centres = (s - 0.5)[:, None] * forward - 0.12 * shape.body_height * np.sin(np.pi * s)[:, None] * up
    return sweep_surface("body", centres, SIDEWAYS, up, shape.body_width * full, shape.body_height * full, segments=24)


def _head_centre(shape: BirdShape) -> tuple[np.ndarray, np.ndarray]:
    """Where the neck leaves the body, and where the head is."""
    forward, up = _in_profile(shape.body_pitch)
    base = 0.28 * forward + 0.3 * shape.body_height * up
    towards, _ = _in_profile(max(shape.neck_angle, shape.body_pitch))
    return base, base + (shape.neck_length + shape.head_size * 0.5) * towards


def _neck(shape: BirdShape) -> Part:
    forward, _ = _in_profile(shape.body_pitch)
    base, head = _head_centre(shape)
    curve = _bezier([base - 0.1 * forward, base + 0.5 * shape.neck_length * forward, head], 14)
    width = np.linspace(shape.neck_width * shape.body_height, 0.72 * shape.head_size, 14)
    width[[0, -1]] = 0.0
    return sweep_surface("neck", curve, SIDEWAYS, _across(curve), 0.95 * width, width, segments=18)


def _head(shape: BirdShape) -> list[Part]:
    _, centre = _head_centre(shape)
    s = _ends(16)
    round_ = shape.head_size * np.sqrt(np.clip(1 - (2 * s - 1) ** 2, 0, None))
    _, up = _in_profile(0.0)
    spine = centre + np.outer((2 * s - 1) * shape.head_size * 1.12, [0.0, 0.0, 1.0])
    skull = sweep_surface("head", spine, SIDEWAYS, up, 0.9 * round_, round_, segments=20)
    eye_centre = centre + shape.head_size * np.array([0.74, 0.28, 0.48])
    t = _ends(8)
    ball = 0.24 * shape.head_size * np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0, None))
    outward = np.array([0.86, 0.2, 0.47])
    outward = outward / np.linalg.norm(outward)
    level = np.cross(up, outward)
    level = level / np.linalg.norm(level)
    axis = eye_centre + np.outer((2 * t - 1) * 0.24 * shape.head_size, outward)
    eye = sweep_surface("eye", axis, level, np.cross(outward, level), ball, ball, segments=10)
    return [skull, eye, _mirrored(eye)]


def _beak(shape: BirdShape) -> Part:
    _, head = _head_centre(shape)
    forward, up = _in_profile(-5.0)
    start = head + 0.55 * shape.head_size * forward
    reach = 0.5 * shape.head_size + shape.beak_length
    bent, _ = _in_profile(-5.0 - shape.beak_droop)
    curve = _bezier([start, start + 0.5 * reach * forward, start + 0.5 * reach * (forward + bent)], 12)
    s = _ends(12)
    # Blunt at the tip: a needle would be thinner than a pixel.
    width = shape.beak_width * shape.head_size * (1 - 0.65 * s)
    width[[0, -1]] = 0.0
    return sweep_surface("beak", curve, SIDEWAYS, _across(curve), 0.85 * width, width, segments=12)


def _tail(shape: BirdShape) -> Part:
    backward = -_in_profile(shape.body_pitch)[0]
    away, up = _in_profile(shape.body_pitch - shape.tail_pitch)
    s = _ends(18)
    start = 0.36 * backward
    centres = start + np.outer(s * (0.14 + shape.tail_length), -away)
    width = (0.5 * shape.body_width * (1 - s) + shape.tail_width * s) * (1 - s**12) ** 0.5
    thickness = (0.5 * shape.body_height * (1 - s) ** 3 + 0.06) * (1 - s**12) ** 0.5
    width[0] = thickness[0] = 0.0
    part = sweep_surface("tail", centres, SIDEWAYS, up, width, thickness, segments=20, squareness=0.8)
    aside = np.abs(part.vertices[:, 0]) / shape.tail_width
    shift = shape.tail_fork * shape.tail_length * (aside - 0.5) * part.along**2
    return Part("tail", part.vertices - shift[:, None] * away, part.faces, part.along, part.around)


def _wing(shape: BirdShape) -> Part:
    """The left wing: its spine is the leading edge, bent at the wrist; the chord trails from it."""
    forward, up = _in_profile(shape.body_pitch * (1 - 0.6 * shape.wing_spread))
    held = shape.wing_spread
    # Folded, the leading edge lies low on the flank and the upper side of the wing looks outwards.
    lift_rad = np.deg2rad(held * shape.wing_lift - (1 - held) * 78.0)
    outward = np.cos(lift_rad) * SIDEWAYS + np.sin(lift_rad) * up
    s = _ends(26)
    outer = 1 / (1 + np.exp(-(s - 0.45) / 0.1))
    sweep_rad = np.deg2rad(held * shape.wing_sweep + (1 - held) * 82.0 + held * shape.wing_bend * outer)[:, None]
    along = np.cos(sweep_rad) * outward - np.sin(sweep_rad) * forward
    chordwise = -np.sin(sweep_rad) * outward - np.cos(sweep_rad) * forward
    length = shape.wing_length * (0.8 + 0.2 * held)
    steps = np.diff(s, prepend=0.0)[:, None] * length * along
    body_forward, body_up = _in_profile(shape.body_pitch)
    root = 0.24 * body_forward + (0.45 * held - 0.25 * (1 - held)) * shape.body_height * body_up
    root = root + SIDEWAYS * shape.body_width * (0.45 * held + 0.88 * (1 - held))
    tip = (1 - s**6) ** 0.5
    # Folded feathers lie over one another, so the wing is narrower then.
    chord = shape.wing_chord * (0.62 + 0.38 * held) * (1 - (1 - shape.wing_taper) * s**1.5) * tip
    thickness = (0.065 + 0.02 * (1 - s)) * tip
    chord[0] = thickness[0] = 0.0
    centres = root + np.cumsum(steps, 0) + 0.5 * chord[:, None] * chordwise
    normal = np.cross(along, chordwise)
    return sweep_surface("wing", centres, chordwise, normal, 0.5 * chord, thickness, segments=20, squareness=0.85)


def build_parts(shape: BirdShape) -> list[Part]:
    """All surfaces of one bird."""
    wing = _wing(shape)
    return [_body(shape), _neck(shape), *_head(shape), _beak(shape), _tail(shape), wing, _mirrored(wing)]


def _keypoints(shape: BirdShape, parts: list[Part]) -> np.ndarray:
    """``[p, 3]`` in the order of ``KEYPOINT_NAMES``; all lie on or next to the surface."""
    body, head, left_eye, beak, tail, left_wing = (parts[i] for i in (0, 2, 3, 5, 6, 7))
    forward, up = _in_profile(shape.body_pitch)
    _, centre = _head_centre(shape)

    def farthest(part: Part, direction: np.ndarray) -> np.ndarray:
        return part.vertices[np.argmax(part.vertices @ direction)]

    middle = np.abs(tail.vertices[:, 0]) < 1e-9
    tail_tip = tail.vertices[middle][np.argmin(tail.vertices[middle] @ forward)]
    left_tip, eye = left_wing.vertices[-1], farthest(left_eye, np.array([1.0, 0.2, 0.5]))
    points = {
        "beak_tip": beak.vertices[-1],
        "crown": farthest(head, np.array([0.0, 1.0, 0.0])),
        "nape": centre + shape.head_size * np.array([0.0, 0.25, -1.0]),
        "breast": farthest(body, forward),
        "belly": farthest(body, -up),
        "back": farthest(body, up),
        "tail_tip": tail_tip,
        "left_wing_tip": left_tip,
        "right_wing_tip": left_tip * MIRROR,
        "left_eye": eye,
        "right_eye": eye * MIRROR,
    }
    return np.stack([points[name] for name in KEYPOINT_NAMES])


def make_bird(object_id: str, shape: BirdShape, plumage: Plumage) -> SourceMesh:
    """One textured bird of this shape in this plumage."""
    parts = build_parts(shape)
    first = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, first)]).astype(np.int32)
    colours = np.concatenate([paint(part.name, part.vertices, part.along, part.around, plumage) for part in parts])
    return SourceMesh(
        object_id=object_id,
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=faces,
        materials=(Material(WHITE),),
        face_material=np.zeros(len(faces), np.int32),
        corner_colours=colours[faces].astype(np.float32),
        keypoints=_keypoints(shape, parts),
        provenance={"source": "ast_jax.shapes.birds.synthetic", "licence": "CC0-1.0"},
    )
