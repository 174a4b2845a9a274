"""The renderer by brute force in float64 numpy: the definition of what each function means, and the oracle of tests.

One image at a time, every face against every pixel, no gradient. `render` agrees with it up to rounding.

It lives with the tests, since nobody draws with it, and imports nothing of the renderer. Benchmarks take it from here.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

# As in `render.screen`: farther off the screen than this a face has no soft border.
SOFT_LIMIT = 1e4


def faces_with_area(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "n 3"]:
    """The faces that draw anything: not those whose corners are on a line in space."""
    corners = np.asarray(vertices, np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return faces[np.linalg.norm(normals, axis=1) > 1e-14 * np.abs(corners).max(initial=0) ** 2]


def pixel_centres(image_size: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """NDC x, y of all pixel centres, row 0 at the top."""
    height, width = image_size
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = 1 - (np.arange(height) + 0.5) / height * 2
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def rasterize(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    vertex_depth: Float[np.ndarray, " v"] | None = None,
    *,
    layers: int = 1,
    edge_rule: str = "inclusive",
    cull_backfaces: bool = False,
) -> tuple[Int[np.ndarray, "*k h w"], Float[np.ndarray, "*k h w 3"], Float[np.ndarray, "*k h w"]]:
    """Nearest faces of each pixel: solve `sum_i c_i (x_i, y_i, w_i) = (x, y, 1)`; inside where all c_i >= 0.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        vertex_depth: depth of the vertices, w by default.
        layers: how many faces of a pixel, by depth, then index; 1 gives arrays without that axis.
        edge_rule: "strict" means inside where all c_i > 0.
        cull_backfaces: only faces that are counter-clockwise in the image.

    Returns:
        Face index (-1: none), barycentrics and depth (zero where there is no face).
    """
    if len(faces) == 0:
        shape = image_size if layers == 1 else (layers, *image_size)
        return np.full(shape, -1), np.zeros((*shape, 3)), np.zeros(shape)
    parts = [
        one_face(vertices_clip[face], image_size, None if vertex_depth is None else vertex_depth[face], edge_rule)
        for face in faces
    ]
    weights, depth = (np.stack(part) for part in zip(*parts))
    if cull_backfaces:
        clockwise = [np.linalg.det(vertices_clip[face][:, [0, 1, 3]]) <= 0 for face in faces]
        depth[clockwise] = np.inf
    order = front_to_back(depth)[:layers]
    nearest = np.take_along_axis(depth, order, 0)
    face_id = np.where(np.isfinite(nearest), order, -1)
    barycentric = np.where(np.isfinite(nearest)[..., None], np.take_along_axis(weights, order[..., None], 0), 0)
    found = face_id, barycentric, np.where(np.isfinite(nearest), nearest, 0)
    missing = layers - len(order)
    blank = [np.full((missing, *image_size), -1), np.zeros((missing, *image_size, 3)), np.zeros((missing, *image_size))]
    found = tuple(np.concatenate(pair) for pair in zip(found, blank))
    return tuple(part[0] for part in found) if layers == 1 else found


def one_face(
    corners_clip: Float[np.ndarray, "3 4"],
    image_size: tuple[int, int],
    corner_depth: Float[np.ndarray, "3"] | None = None,
    edge_rule: str = "inclusive",
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Barycentrics and depth (infinite outside) of one face at all pixels, see `rasterize`."""
    corners = np.asarray(corners_clip, np.float64)[:, [0, 1, 3]].T
    if abs(np.linalg.det(corners)) < 1e-14 * np.abs(corners).max() ** 3:
        return np.zeros((*image_size, 3)), np.full(image_size, np.inf)
    points = np.concatenate([pixel_centres(image_size), np.ones((*image_size, 1))], axis=-1)
    c = points @ np.linalg.inv(corners).T
    total = c.sum(-1, keepdims=True)
    weights = c / np.where(total == 0, 1, total)
    depth = weights @ (corners[2] if corner_depth is None else corner_depth)
    # 1e-12: whether a centre exactly on an edge is inside must not depend on the rounding of the inverse.
    slack = 1e-12 * np.abs(c).max(-1, keepdims=True)
    inside = (c > slack).all(-1) if edge_rule == "strict" else (c >= -slack).all(-1)
    return weights, np.where(inside, depth, np.inf)


def front_to_back(depth: Float[np.ndarray, "f h w"]) -> Int[np.ndarray, "f h w"]:
    """The faces of each pixel in the order of depth, then index. Depths are rounded to 2^-40 of themselves before: of
    faces in one plane they are equal but for rounding."""
    rounded = (depth.astype(np.float64).view(np.int64) + 2048) & -4096
    return np.argsort(np.where(np.isfinite(depth), rounded.view(np.float64), depth), axis=0, kind="stable")


def coverage(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    sigma: float,
    cutoff: float = 1e-4,
    falloff: str = "sigmoid",
) -> Float[np.ndarray, "h w"]:
    """Soft coverage `1 - prod_f (1 - p_f)`.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        sigma: squared NDC units in which the shorter side spans [-1, 1].
        cutoff: smallest probability outside of a face.
        falloff: see `probability`.

    Returns:
        Coverage.
    """
    clear = np.ones(image_size)
    for face in faces:
        clear *= 1 - probability(vertices_clip[face], image_size, sigma, cutoff, falloff)
    return 1 - clear


def painted(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    colour: Callable[[int, np.ndarray], np.ndarray],
    background: np.ndarray,
) -> tuple[Float[np.ndarray, "h w 4"], Int[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Colours of the nearest faces with their mask as fourth channel, and ids and depths; arguments as in `hard`."""
    face_id, barycentric, depth = rasterize(vertices_clip, faces, image_size)
    picture = np.broadcast_to([*background, 0.0], (*image_size, 4)).copy()
    for index in set(face_id[face_id >= 0]):
        here = face_id == index
        picture[here, :3], picture[here, 3] = colour(index, barycentric)[here], 1.0
    return picture, face_id, depth


def hard(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    colour: Callable[[int, np.ndarray], np.ndarray],
    *,
    background: np.ndarray,
    **softness: float | str,
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Colours of the nearest faces, and the soft coverage of all.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        colour: face index and barycentrics `[h, w, 3]` to colours `[h, w, 3]`.
        background: colour.
        softness: sigma, cutoff, falloff: see `coverage`.

    Returns:
        Colours with background, and coverage.
    """
    picture = painted(vertices_clip, faces, image_size, colour, background)[0]
    return picture[..., :3], coverage(vertices_clip, faces, image_size, **softness)


def layered(
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
    image_size: tuple[int, int],
    colour: Callable[[int, np.ndarray], np.ndarray],
    *,
    sigma: float,
    background: np.ndarray,
    vertex_depth: Float[np.ndarray, " v"] | None = None,
    cutoff: float = 1e-4,
    layers: int | None = None,
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Faces front to back with opacities `exp(-max(d, 0) / sigma)`, over the background.

    Args:
        vertices_clip: clip space.
        faces: triangle indices.
        image_size: height and width.
        colour: face index and barycentrics `[h, w, 3]` to colours `[h, w, 3]`.
        sigma: see `coverage`.
        background: colour.
        vertex_depth: depth of the vertices, w by default.
        cutoff: see `coverage`.
        layers: the most to blend, None for all.

    Returns:
        Colours with background, and coverage.
    """
    depth_of = np.asarray(vertices_clip, np.float64)[:, 3] if vertex_depth is None else vertex_depth
    opacity, depth, colours = [], [], []
    for index, face in enumerate(faces):
        place = clamped_barycentrics(vertices_clip[face], image_size)
        opacity.append(probability(vertices_clip[face], image_size, sigma, cutoff, "exponential"))
        depth.append(np.where(opacity[-1] > 0, place @ depth_of[face], np.inf))
        colours.append(colour(index, place))
    order = front_to_back(np.stack(depth))[:layers]
    rgb, clear = np.zeros((*image_size, 3)), np.ones(image_size)
    for layer in order:
        alpha = np.take_along_axis(np.stack(opacity), layer[None], 0)[0]
        rgb += (clear * alpha)[..., None] * np.take_along_axis(np.stack(colours), layer[None, ..., None], 0)[0]
        clear = clear * (1 - alpha)
    return rgb + clear[..., None] * background, 1 - clear


def antialias(
    image: Float[np.ndarray, "h w c"],
    face_id: Int[np.ndarray, "h w"],
    depth: Float[np.ndarray, "h w"],
    vertices_clip: Float[np.ndarray, "v 4"],
    faces: Int[np.ndarray, "f 3"],
) -> Float[np.ndarray, "h w c"]:
    """The hard image with silhouettes moved to where they cross between pixel centres, see
    `render.blending.antialias`; face_id and depth are those of `rasterize`."""
    height, width = face_id.shape
    corners = np.asarray(vertices_clip, np.float64)
    corners = corners[:, :2] / corners[:, 3:] * [width / 2, -height / 2] + [width / 2 - 0.5, height / 2 - 0.5]
    result = np.array(image, np.float64)
    for row, column in np.ndindex(height, width):
        for step in ((0, 1), (1, 0)):
            pixel, other = (row, column), (row + step[0], column + step[1])
            if other[0] >= height or other[1] >= width or face_id[pixel] == face_id[other]:
                continue
            behind = [depth[p] if face_id[p] >= 0 else np.inf for p in (pixel, other)]
            near, far = (pixel, other) if behind[0] <= behind[1] else (other, pixel)
            s = _silhouette_crossing(int(face_id[near]), near[::-1], far[::-1], vertices_clip, corners, faces)
            if s is None:
                continue
            if s < 0.5:
                result[near] += (0.5 - s) * (image[far] - image[near])
            else:
                result[far] += (s - 0.5) * (image[near] - image[far])
    return result


def _silhouette_crossing(face: int, start, end, vertices_clip, corners_px, faces) -> float | None:
    """Fraction of the way from pixel to pixel (x, y) at which a silhouette edge of the face is crossed."""
    start, end = np.array(start, float), np.array(end, float)
    axis = int(start[0] == end[0])
    for i in range(3):
        first, second = int(faces[face][i]), int(faces[face][(i + 1) % 3])
        if _goes_on(face, i, vertices_clip, faces):
            continue
        a, b = corners_px[first], corners_px[second]
        along, across = b[axis] - a[axis], b[1 - axis] - a[1 - axis]
        level = start[1 - axis]
        if abs(across) < abs(along) or (a[1 - axis] > level) == (b[1 - axis] > level):
            continue
        s = (a[axis] + (level - a[1 - axis]) / across * along - start[axis]) / (end[axis] - start[axis])
        if 0 <= s <= 1:
            return float(s)
    return None


def _goes_on(face: int, corner: int, vertices_clip: np.ndarray, faces: np.ndarray) -> bool:
    """Whether a face with the same edge, by where its ends are, is on the other side of it in the image."""
    clip = np.asarray(vertices_clip, np.float64)[:, [0, 1, 3]]
    a, b, c = clip[np.roll(faces[face], -corner)]
    start, end, third = clip[np.concatenate([np.roll(faces, -i, axis=1) for i in range(3)])].swapaxes(0, 1)
    same = ((start == a) & (end == b)).all(-1) | ((start == b) & (end == a)).all(-1)
    normal = np.cross(a, b)
    return bool((same & ((normal @ c) * (third @ normal) < 0)).any())


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
    vertex_depth: Float[np.ndarray, " v"] | None = None,
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
        background: colour behind all faces: of n = 1e-3, or 2 n - 0.02 of the farthest corner if that is less.
        vertex_depth: depth of the vertices, w by default.
        cutoff: see `coverage`.

    Returns:
        Colours with background.
    """
    vertices_clip = np.asarray(vertices_clip, np.float64)
    depth_of = vertices_clip[:, 3] if vertex_depth is None else vertex_depth
    weights, exponents, behind = [np.ones(image_size)], [None], np.full(image_size, 1e-3)
    colours = [np.broadcast_to(background, (*image_size, 3))]
    for index, face in enumerate(faces):
        place = clamped_barycentrics(vertices_clip[face], image_size)
        weights.append(probability(vertices_clip[face], image_size, sigma, cutoff))
        exponents.append((far - place @ depth_of[face]) / (far - near))
        colours.append(colour(index, place))
        if is_soft(vertices_clip[face]):
            behind = np.minimum(behind, 2 * (far - depth_of[face].max()) / (far - near) - 0.02)
        else:
            behind = np.where(weights[-1] > 0, np.minimum(behind, 2 * exponents[-1] - 0.02), behind)
    exponents[0] = behind
    weights, exponents = np.stack(weights), np.stack(exponents)
    exponents -= np.where(weights > 0, exponents, -np.inf).max(0)
    weights = weights * np.exp(np.minimum(exponents, 0) / gamma)
    return (weights[..., None] * np.stack(colours)).sum(0) / weights.sum(0)[..., None]


def probability(
    corners_clip: Float[np.ndarray, "3 4"],
    image_size: tuple[int, int],
    sigma: float,
    cutoff: float,
    falloff: str = "sigmoid",
) -> Float[np.ndarray, "h w"]:
    """`sigmoid(-d / sigma)`, or `exp(-max(d, 0) / sigma)` for falloff "exponential", of one face, zero below the
    cut-off; hard for faces that are not `is_soft`."""
    if not is_soft(corners_clip):
        return (rasterize(corners_clip, np.array([[0, 1, 2]]), image_size)[0] >= 0).astype(np.float64)
    distance = signed_squared_distance(corners_clip, image_size) / sigma
    if falloff == "exponential":
        chance = np.exp(-np.maximum(distance, 0))
    else:
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
