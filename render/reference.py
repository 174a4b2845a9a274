"""The renderer by brute force in float64 numpy: the definition of what each function means, and the oracle of tests.

One image at a time, every face against every pixel, no gradient. `render` agrees with it up to rounding.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

# As in `render.screen`: farther off the screen than this a face has no soft border.
SOFT_LIMIT = 1e4


def pixel_centres(image_size: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """NDC x, y of all pixel centres, row 0 at the top.

    Args:
        image_size: height and width.

    Returns:
        NDC coordinates.
    """
    height, width = image_size
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = 1 - (np.arange(height) + 0.5) / height * 2
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def rasterize(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    vertex_depth: Float[np.ndarray, "v"] | None = None,
) -> tuple[Int[np.ndarray, "h w"], Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Nearest face of each pixel: solve `sum_i c_i (x_i, y_i, w_i) = (x, y, 1)`; inside where all c_i >= 0.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        vertex_depth: depth of the vertices, w by default.

    Returns:
        Face index (-1: none), barycentrics and depth (zero where there is no face).
    """
    vertices_clip = np.asarray(vertices_clip, np.float64)
    depth_of = vertices_clip[:, 3] if vertex_depth is None else vertex_depth
    points = np.concatenate([pixel_centres(image_size), np.ones((*image_size, 1))], axis=-1)
    face_id = np.full(image_size, -1)
    barycentric, nearest = np.zeros((*image_size, 3)), np.full(image_size, np.inf)
    for index, face in enumerate(faces):
        corners = vertices_clip[face][:, [0, 1, 3]].T
        if abs(np.linalg.det(corners)) < 1e-14 * np.abs(corners).max() ** 3:
            continue
        c = points @ np.linalg.inv(corners).T
        weights = c / np.where(c.sum(-1, keepdims=True) == 0, 1, c.sum(-1, keepdims=True))
        depth = weights @ depth_of[face]
        # 1e-12: a centre exactly on an edge is inside, whatever the rounding of the inverse.
        closer = (c >= -1e-12 * np.abs(c).max(-1, keepdims=True)).all(-1) & (depth < nearest)
        face_id[closer], barycentric[closer], nearest[closer] = index, weights[closer], depth[closer]
    return face_id, barycentric, np.where(face_id >= 0, nearest, 0)


def coverage(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    sigma: float,
    cutoff: float = 1e-4,
) -> Float[np.ndarray, "h w"]:
    """Soft coverage `1 - prod_f (1 - p_f)`.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        sigma: squared NDC units in which the shorter side spans [-1, 1].
        cutoff: smallest probability outside of a face.

    Returns:
        Coverage.
    """
    clear = np.ones(image_size)
    for face in faces:
        clear *= 1 - probability(vertices_clip[face], image_size, sigma, cutoff)
    return 1 - clear


def softmax(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    colour: Callable[[int, np.ndarray], np.ndarray],
    *,
    near: float,
    far: float,
    sigma: float,
    gamma: float,
    background: np.ndarray,
    vertex_depth: Float[np.ndarray, "v"] | None = None,
    cutoff: float = 1e-4,
) -> Float[np.ndarray, "h w 3"]:
    """SoftRas's colour: mean over faces with weights `p exp(n / gamma)`, n = (far - z) / (far - near).

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        colour: face index and barycentrics `[h, w, 3]` to colours `[h, w, 3]`.
        near: depth where n = 1.
        far: depth where n = 0.
        sigma: see `coverage`.
        gamma: sharpness in n.
        background: colour of n = 1e-3.
        vertex_depth: depth of the vertices, w by default.
        cutoff: see `coverage`.

    Returns:
        Colours with background.
    """
    vertices_clip = np.asarray(vertices_clip, np.float64)
    depth_of = vertices_clip[:, 3] if vertex_depth is None else vertex_depth
    weights, exponents, colours = [np.ones(image_size)], [np.full(image_size, 1e-3)], []
    colours = [np.broadcast_to(background, (*image_size, 3))]
    for index, face in enumerate(faces):
        place = clamped_barycentrics(vertices_clip[face], image_size)
        weights.append(probability(vertices_clip[face], image_size, sigma, cutoff))
        exponents.append((far - place @ depth_of[face]) / (far - near))
        colours.append(colour(index, place))
    weights, exponents = np.stack(weights), np.stack(exponents)
    exponents -= np.where(weights > 0, exponents, -np.inf).max(0)
    weights = weights * np.exp(np.minimum(exponents, 0) / gamma)
    return (weights[..., None] * np.stack(colours)).sum(0) / weights.sum(0)[..., None]


def probability(
    corners_clip: Float[np.ndarray, "3 4"], image_size: tuple[int, int], sigma: float, cutoff: float
) -> Float[np.ndarray, "h w"]:
    """`sigmoid(-d / sigma)` of one face, zero below the cut-off; hard for faces that are not `is_soft`."""
    if not is_soft(corners_clip):
        return (rasterize(corners_clip, np.array([[0, 1, 2]]), image_size)[0] >= 0).astype(np.float64)
    distance = signed_squared_distance(corners_clip, image_size) / sigma
    chance = 1 / (1 + np.exp(np.clip(distance, -700, 700)))
    return np.where(chance > cutoff, chance, 0)


def is_soft(corners_clip: Float[np.ndarray, "3 4"]) -> bool:
    """Whether a face lies in front of the camera and not too far off the screen."""
    w = corners_clip[:, 3]
    return bool((w > 0).all() and (np.abs(corners_clip[:, :2]).max(-1) < SOFT_LIMIT * w).all())


def signed_squared_distance(
    corners_clip: Float[np.ndarray, "3 4"], image_size: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Squared distance of pixel centres to the border of a face, negative inside, shorter side [-1, 1]."""
    height, width = image_size
    stretch = np.array([width, height]) / min(image_size)
    corners = corners_clip[:, :2] / corners_clip[:, 3:] * stretch
    points = pixel_centres(image_size) * stretch
    squared, sides = [], []
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        edge, offset = end - start, points - start
        along = np.clip(offset @ edge / max(edge @ edge, 1e-300), 0, 1)
        squared.append(((offset - along[..., None] * edge) ** 2).sum(-1))
        sides.append(edge[0] * offset[..., 1] - edge[1] * offset[..., 0])
    sides, nearest = np.stack(sides), np.min(squared, axis=0)
    boxed = ((points >= corners.min(0)) & (points <= corners.max(0))).all(-1)
    inside = ((sides >= 0).all(0) | (sides <= 0).all(0)) & boxed
    return np.where(inside, -nearest, nearest)


def clamped_barycentrics(
    corners_clip: Float[np.ndarray, "3 4"], image_size: tuple[int, int]
) -> Float[np.ndarray, "h w 3"]:
    """Perspective-correct barycentrics after clamping the screen barycentrics to [0, inf)."""
    if not is_soft(corners_clip):
        return rasterize(corners_clip, np.array([[0, 1, 2]]), image_size)[1]
    w = corners_clip[:, 3]
    corners = np.concatenate([corners_clip[:, :2] / w[:, None], np.ones((3, 1))], axis=1)
    points = np.concatenate([pixel_centres(image_size), np.ones((*image_size, 1))], axis=-1)
    if abs(np.linalg.det(corners)) < 1e-12:
        return np.broadcast_to([1.0, 0.0, 0.0], points.shape)
    weights = np.maximum(points @ np.linalg.inv(corners), 0) / w
    return weights / weights.sum(-1, keepdims=True)


def texel_colour(texels: Float[np.ndarray, "t t c"], barycentric: Float[np.ndarray, "h w 3"]) -> np.ndarray:
    """Bilinear lookup in the texel grid of one face: texel (i, j) at b1 = i / (t - 1), b2 = j / (t - 1)."""
    side = len(texels)
    if side == 1:
        return np.broadcast_to(texels[0, 0], (*barycentric.shape[:-1], texels.shape[-1]))
    u, v = barycentric[..., 1] * (side - 1), barycentric[..., 2] * (side - 1)
    i, j = np.clip(u.astype(int), 0, side - 2), np.clip(v.astype(int), 0, side - 2)
    s, t = (u - i)[..., None], (v - j)[..., None]
    low = (1 - t) * texels[i, j] + t * texels[i, j + 1]
    high = (1 - t) * texels[i + 1, j] + t * texels[i + 1, j + 1]
    return (1 - s) * low + s * high
