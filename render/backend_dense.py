"""The backend "dense": every pixel against every face, by matrix products, elementwise operations and sums alone.

It answers what "xla" answers, without the loops, scatters and searches of the work list, which programs that run
exported networks do not have, or run slowly. Memory and time grow with pixels times faces: it is for small pictures of
coarse meshes, such as a network draws for itself (64 x 64 pixels of 320 faces are 1.3 million numbers).

What is linear in the place of the pixel comes from a matrix product with rows (x, y, 1). Edges that two faces share
have the same numbers but for the sign, so no pixel is lost between them; whether a pixel centre that is within rounding
of an edge lies on this side or on that may differ from "xla".
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render.arrays import Array
from render.coverage import Falloff, reach_in_sigmas
from render.distance import probability
from render.fragments import Fragments, attach, is_solid, no_fragments, pixel_grid
from render.scene import Scene
from render.screen import ScreenFaces, doubled_area, to_screen
from render.zbuffer import EdgeRule

# Depths are compared rounded to 21 bits, as `render.zbuffer.comparable_depth` does with integers.
_SPLIT = 2.0**3 + 1


# Compiled as a whole, see `render.backend_xla`.
@functools.partial(jax.jit, static_argnames=("image_size", "layers", "edge_rule", "cull_backfaces"))
def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    layers: int | None,
    face_mask: Bool[Array, "b f"] | None,
    vertex_depth: Float[Array, "b v"] | None,
    edge_rule: EdgeRule,
    cull_backfaces: bool,
) -> Fragments:
    """The work of `render.rasterize`, of arguments that it has checked.

    Raises:
        ValueError: layers are asked for.
    """
    if layers is not None:
        raise ValueError('backend="dense" finds the nearest faces only: layers must be None')
    batch = vertices_clip.shape[0]
    if batch * faces.shape[-2] == 0:
        return no_fragments(batch, image_size, vertices_clip.dtype)
    screen = to_screen(vertices_clip, faces, image_size, face_mask, vertex_depth, cull_backfaces)
    pixels = pixel_grid(image_size, screen.corners.dtype, 3)
    return attach(screen, _nearest_faces(screen, image_size, batch, edge_rule), pixels)


def nearest(scene: Scene) -> Fragments:
    """The nearest faces of a scene."""
    face_id = _nearest_faces(scene.screen, scene.image_size, scene.batch, "inclusive")
    return attach(scene.screen, face_id, scene.pixels)


def coverage_of_screen(
    screen: ScreenFaces, image_size: tuple[int, int], batch: int, sigma_px, cutoff: float, falloff: Falloff
) -> Float[Array, "b h w"]:
    """As `render.coverage.coverage_of_screen`, without forward mode and without faces through the plane of the camera.

    Raises:
        ValueError: another falloff than "sigmoid".
    """
    if falloff != "sigmoid":
        raise ValueError(f'backend="dense" has the falloff "sigmoid" only, got {falloff!r}')
    reach = reach_in_sigmas(cutoff, falloff)
    corners, soft = screen.corners.reshape(batch, -1, 3, 2), screen.soft.reshape(batch, -1, 1)
    return 1.0 - _transparency(image_size, reach, corners, soft, sigma_px).reshape(batch, *image_size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _transparency(image_size, reach, corners, soft, sigma) -> Float[Array, "b p"]:
    """Product over faces of 1 - p."""
    return _transparency_forward(image_size, reach, corners, soft, sigma)[0]


def _transparency_forward(image_size, reach, corners, soft, sigma):
    edges = [_edge(corners[:, :, i], corners[:, :, (i + 1) % 3]) for i in range(3)]
    places = _places(image_size, corners.dtype)
    turn = jnp.sign(doubled_area(*_across(corners)))[..., None]
    seen = [_seen_from_edge(edge, places) for edge in edges]
    squared = [off * off + past * past for off, past, _ in seen]
    nearest = functools.reduce(jnp.minimum, squared)
    inside = (functools.reduce(jnp.minimum, [turn * off for off, _, _ in seen]) >= 0) & (turn != 0)
    distance = jnp.where(inside, -nearest, nearest)
    near = soft & (distance < reach * sigma)
    clear = jnp.prod(jnp.where(near, probability(-distance, sigma), 1.0), axis=1)
    return clear, (edges, seen, squared, nearest, distance, near, clear, sigma)


def _transparency_backward(image_size, reach, saved, cotangent):
    """`d(squared distance) / d(corner i) = 2 weight_i (nearest border point - pixel)`, see `render.distance`."""
    edges, seen, squared, nearest, distance, near, clear, sigma = saved
    p = probability(distance, sigma)
    slope = jnp.where(distance <= 0, -p, p) * near
    pull = slope * ((2.0 / sigma) * cotangent * clear)[:, None]
    corners: list = [0.0, 0.0, 0.0]
    for i, (edge, (off, past, along)) in enumerate(zip(edges, seen)):
        own = jnp.where(squared[i] == nearest, pull, 0.0)
        # Of edges that are equally near the first counts alone.
        pull = pull - own
        parts = own * off, own * past
        both = [part.sum(-1, keepdims=True) for part in parts]
        second = [(part * along).sum(-1, keepdims=True) for part in parts]
        whole, end = (-(away * edge.normal + on * edge.direction) for away, on in (both, second))
        corners[i], corners[(i + 1) % 3] = corners[i] + whole - end, corners[(i + 1) % 3] + end
    return jnp.stack(corners, axis=2), None, jnp.zeros_like(sigma)


_transparency.defvjp(_transparency_forward, _transparency_backward)


class _Edge(NamedTuple):
    """An edge of each face on the screen.

    Attributes:
        start: `[b, f, 2]`.
        direction: unit vectors; any for an edge without length.
        normal: the direction, turned.
        length: `[b, f, 1]` px.
    """

    start: jax.Array
    direction: jax.Array
    normal: jax.Array
    length: jax.Array


def _edge(start, end) -> _Edge:
    difference = end - start
    length2 = (difference * difference).sum(-1, keepdims=True)
    exists = length2 > jnp.finfo(length2.dtype).tiny
    inverse = jax.lax.rsqrt(jnp.where(exists, length2, 1.0))
    direction = jnp.where(exists, difference * inverse, jnp.array([1.0, 0.0], length2.dtype))
    normal = jnp.stack([-direction[..., 1], direction[..., 0]], axis=-1)
    return _Edge(start, direction, normal, jnp.where(exists, length2 * inverse, 0.0))


def _seen_from_edge(edge: _Edge, places) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How far each pixel is off the line of the edge, how far past its ends, and where along it the nearest point is
    (0 to 1)."""
    off, along = (_linear(axis, -(axis * edge.start).sum(-1), places) for axis in (edge.normal, edge.direction))
    held = jnp.clip(along, 0.0, edge.length)
    return off, along - held, held / jnp.where(edge.length > 0, edge.length, 1.0)


def _linear(slopes, constant, places) -> Float[Array, "b f p"]:
    """`slopes . (x, y) + constant` at all pixels."""
    rows = jnp.concatenate([slopes, constant[..., None]], axis=-1)
    return jnp.matmul(rows, places, precision=jax.lax.Precision.HIGHEST)


def _places(image_size: tuple[int, int], dtype) -> Float[Array, "3 p"]:
    """x, y and 1 of all pixel centres."""
    parts = (*pixel_grid(image_size, dtype, 2), jnp.ones((), dtype))
    return jnp.stack([jnp.broadcast_to(part, image_size).reshape(-1) for part in parts])


def _across(corners: Float[Array, "b f 3 2"]) -> tuple[jax.Array, ...]:
    """x and y of the edges from the first corner to the second and to the third."""
    first, second = (corners[:, :, i] - corners[:, :, 0] for i in (1, 2))
    return first[..., 0], first[..., 1], second[..., 0], second[..., 1]


def _nearest_faces(
    screen: ScreenFaces, image_size: tuple[int, int], batch: int, edge_rule: EdgeRule
) -> Int[Array, "b h w"]:
    """Nearest face of each pixel, -1 where there is none; no gradients."""
    screen = jax.lax.stop_gradient(screen)
    corners = screen.corners.reshape(batch, -1, 3, 2)
    inverse_w, corner_depth = (part.reshape(batch, -1, 3) for part in (screen.inverse_w, screen.depth))
    turn = jnp.sign(doubled_area(*_across(corners)))
    slopes, constants = [], []
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        (jx, jy), (kx, ky) = (jnp.moveaxis(corners[:, :, corner], -1, 0) for corner in (j, k))
        factor = (turn * inverse_w[..., i])[..., None]
        slopes.append(factor * jnp.stack([jy - ky, kx - jx], axis=-1))
        constants.append(factor[..., 0] * doubled_area(jx, jy, kx, ky))
    places = _places(image_size, corners.dtype)
    edges = [_linear(slope, constant, places) for slope, constant in zip(slopes, constants)]
    total = edges[0] + edges[1] + edges[2]
    depth = sum(edge * corner_depth[..., i, None] for i, edge in enumerate(edges))
    low = jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2])
    visible = (screen.soft | screen.crossing).reshape(batch, -1) & (turn != 0)
    shown = (low > 0 if edge_rule == "strict" else low >= 0) & visible[..., None] & is_solid(total)
    depth = jnp.where(shown, _comparable(depth / jnp.where(shown, total, 1.0)), jnp.inf)
    # Of equal depths the first, which is the lowest index.
    face_id = jnp.argmin(depth, axis=1).astype(jnp.int32)
    return jnp.where(shown.any(1), face_id, -1).reshape(batch, *image_size)


def _comparable(depth: jax.Array) -> jax.Array:
    """Rounded to fewer bits without integers: the difference of two sums is exact (Veltkamp)."""
    scaled = depth * _SPLIT
    return scaled - (scaled - depth)
