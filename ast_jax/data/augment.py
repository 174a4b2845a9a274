"""Random changes of a sample that keep its camera and its shape true.

``flip``: half of the samples are mirrored; the object and its cameras are mirrored too.
``crop``: the input's crop moves by up to this fraction of its side, and is up to ``1 + crop`` times larger.
``box``: each side of the annotated box moves by up to this fraction of the box's width or height, independently of the
others, and the input becomes the square about what comes out, as in CMR and AST.
``colour``: brightness, each channel, and saturation become up to ``1 + colour`` times more or less.
Colours change alike in the input and in all supervising views: the texture stays one texture.
"""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from render import PerspectiveCamera

# Rec. 601 luma.
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Draw:
    """All that chance decides about one sample.

    Args:
      views: sample numbers of the supervising views, the input first.
      jitter: of the input's crop: shift in x and y as fractions of its side, and zoom.
      mirror: whether everything is mirrored.
      colour: 3x3 matrix that multiplies every colour.
      sides: how far left, top, right and lower side of the annotated box move, fractions of its width or height; None
        where they stay.
    """

    views: tuple[int, ...]
    jitter: tuple[float, float, float] = (0.0, 0.0, 1.0)
    mirror: bool = False
    colour: np.ndarray | None = field(default=None)
    sides: tuple[float, float, float, float] | None = None


def draw_augmentation(rng: np.random.Generator, augment: dict, views: tuple[int, ...]) -> Draw:
    """Draw one sample's augmentation; the first numbers are drawn whatever is switched on."""
    shift_x, shift_y, zoom, *amounts = rng.uniform(-1, 1, 8)
    crop = augment["crop"]
    jitter = (crop * shift_x, crop * shift_y, (1 + crop) ** zoom)
    mirror = bool(augment["flip"]) and rng.uniform() < 0.5
    colour = colour_matrix(np.array(amounts), augment["colour"]) if augment["colour"] else None
    sides = tuple((augment["box"] * rng.uniform(-1, 1, 4)).tolist()) if augment["box"] else None
    return Draw(views, jitter, mirror, colour, sides)


def colour_matrix(amounts: Float[np.ndarray, "5"], strength: float) -> Float[np.ndarray, "3 3"]:
    """``diag(gain) (s I + (1 - s) 1 luma^T)``: a gain of each channel after a change of saturation s.

    Args:
      amounts: in [-1, 1], of brightness, saturation, red, green, blue; factors are ``(1 + strength)^amount``.
      strength: > 0.

    Returns:
      float32 matrix that acts on RGB columns.
    """
    brightness, saturation, *channels = (1 + strength) ** amounts
    saturate = saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), LUMA)
    return (brightness * np.diag(channels) @ saturate).astype(np.float32)


def recoloured(premultiplied: Float[np.ndarray, "b *s h w 4"], draws: list[Draw]) -> Float[np.ndarray, "b *s h w 4"]:
    """Colours after each sample's matrix, held within [0, 1]; in and out they are multiplied by alpha."""
    if all(draw.colour is None for draw in draws):
        return premultiplied
    identity = np.eye(3, dtype=np.float32)
    matrices = np.stack([identity if draw.colour is None else draw.colour for draw in draws])
    matrices = matrices.reshape(len(draws), 3, 3, *(1,) * (premultiplied.ndim - 2))
    changed = np.empty_like(premultiplied)
    changed[..., 3] = premultiplied[..., 3]
    for channel in range(3):
        total = sum(matrices[:, channel, j] * premultiplied[..., j] for j in range(3))
        np.clip(total, 0.0, premultiplied[..., 3], out=changed[..., channel])
    return changed


def mirror_order(names: list[str], count: int) -> np.ndarray:
    """For each key point, which one takes its place in the mirror: ``left`` and ``right`` swap in the names.

    Args:
      names: of the key points, or none when they are not known.
      count: how many key points there are.

    Raises:
      ValueError: there are names, but not ``count`` of them.
    """
    if not names:
        return np.arange(count)
    if len(names) != count:
        raise ValueError(f"keypoint_names: {len(names)} names for {count} key points; prepare the data set again.")
    other_side = {"left": "right", "right": "left"}
    swapped = ["_".join(other_side.get(word, word) for word in name.split("_")) for name in names]
    return np.array([names.index(new) if new in names else i for i, new in enumerate(swapped)], np.int64)


def mirrored_pictures(pictures: Float[np.ndarray, "b *s h w c"], draws: list[Draw]) -> np.ndarray:
    """The pictures of the mirrored samples exchanged left and right."""
    chosen = [i for i, draw in enumerate(draws) if draw.mirror]
    if not chosen:
        return pictures
    changed = pictures.copy()
    changed[chosen] = pictures[chosen][..., ::-1, :]
    return changed


def mirrored_views(
    camera: PerspectiveCamera,
    keypoints_ndc: Float[np.ndarray, "b s p 3"],
    draws: list[Draw],
    order: np.ndarray,
) -> tuple[PerspectiveCamera, Float[np.ndarray, "b s p 3"]]:
    """Mirror the object of the drawn samples about x = 0, with its cameras and key points.

    With ``F = diag(-1, 1, 1)``: ``R' = F R F``, ``t' = F t``, and the principal point's x changes sign. The
    camera sees the mirrored object ``F X`` where it saw ``X``, left and right exchanged.

    Args:
      camera: leading axes ``[b, s]``.
      keypoints_ndc: x, y, visible.
      draws: say which samples are mirrored.
      order: from ``mirror_order``.

    Returns:
      Cameras and key points.
    """
    chosen = np.array([draw.mirror for draw in draws])
    if not chosen.any():
        return camera, keypoints_ndc
    flip = np.ones((len(draws), 1, 3), np.float32)
    flip[chosen, :, 0] = -1
    camera = dataclasses.replace(
        camera,
        rotation=flip[..., :, None] * camera.rotation * flip[..., None, :],
        translation=flip * camera.translation,
        principal=flip[..., :2] * camera.principal,
    )
    keypoints_ndc = keypoints_ndc.copy()
    keypoints_ndc[chosen] = keypoints_ndc[chosen][:, :, order] * np.array([-1, 1, 1], np.float32)
    return camera, keypoints_ndc
