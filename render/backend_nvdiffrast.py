"""The optional CUDA backend: nvdiffrast finds the faces, inside `jax.jit` and without a copy.

nvdiffrast and PyTorch are the user's to install; nothing here imports them before it is called. Two callbacks
run on XLA's own buffers and stream: one for the face of each pixel, one for antialiasing (and one more for its
gradient). All batches go to nvdiffrast in range mode, each image with its own list of faces, so that shared
faces, padded faces and batches of different meshes are the same thing.

nvdiffrast has row 0 at the bottom. Instead of turning images over, y of the vertices changes its sign.

Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, ACM TOG 2020; the
documentation of nvdiffrast 0.4.0.
"""

import contextlib
import functools
import importlib
from collections.abc import Generator
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from render.arrays import Array
from render.fragments import Fragments, attach, global_index, pixel_grid
from render.scene import Scene
from render.screen import ScreenFaces, check_scene, depth_of_clip, to_screen
from render.zbuffer import EdgeRule

INSTALL = (
    "pip install torch setuptools wheel ninja && "
    "pip install git+https://github.com/NVlabs/nvdiffrast.git --no-build-isolation"
)
LICENCE = "nvdiffrast comes under the Nvidia Source Code License: research and evaluation only, no commercial use"
# Up to here a float32 counts faces one by one; beyond, nvdiffrast packs bits.
_MOST_FACES = 2**24
# The nearest depth that is drawn, relative to the farthest, where faces pass through the plane of the camera.
_NEAREST = 1e-3
_DLPACK_CUDA = 2


def missing() -> str | None:
    """What keeps this backend from running here, None when nothing does.

    Returns:
        One sentence for each missing piece: a CUDA device in JAX, PyTorch, CUDA in PyTorch, nvdiffrast; then
        the command that installs nvdiffrast, and its licence.
    """
    lacks = []
    try:
        jax.devices("cuda")
    except RuntimeError:
        lacks.append(f"JAX has no CUDA device (its default is {jax.default_backend()}): pip install 'jax[cuda12]'")
    torch, error = _try_import("torch")
    if torch is None:
        lacks.append(f"PyTorch cannot be imported ({error})")
    elif not torch.cuda.is_available():
        lacks.append(f"PyTorch {torch.__version__} has no CUDA device: install a CUDA build of it")
    nvdiffrast, error = _try_import("nvdiffrast.torch")
    if nvdiffrast is None:
        lacks.append(f"nvdiffrast cannot be imported ({error})")
    if not lacks:
        return None
    return f'backend="nvdiffrast" cannot run: {"; ".join(lacks)}. To install: {INSTALL}. {LICENCE}.'


def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    layers: int | None = None,
    face_mask: Bool[Array, "b f"] | None = None,
    vertex_depth: Float[Array, "b v"] | None = None,
    edge_rule: EdgeRule = "inclusive",
    cull_backfaces: bool = False,
) -> Fragments:
    """`render.rasterize` with nvdiffrast's choice of the face of each pixel.

    nvdiffrast works in float32 and moves vertices to a grid of 1/16 pixel before it decides which pixels a
    face covers, so faces differ from `render.rasterize` at pixel centres that close to an edge. Barycentrics
    and depth are computed here from the exact vertices with the same gradients; a centre that lies just
    outside of its face gets the barycentrics clamped to it. Faces that pass through the plane of the camera
    are cut off nearer than 1/1000 of the farthest vertex.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        layers: None; nvdiffrast finds the nearest faces.
        face_mask: false takes a face away.
        vertex_depth: view depth of the vertices, by default as in `render.rasterize`. Faces are ordered by w,
            and by this only in images whose w is 1 throughout.
        edge_rule: "inclusive"; what nvdiffrast decides.
        cull_backfaces: False.

    Returns:
        The fragments.

    Raises:
        ValueError: wrong shape, empty image, no faces, face index out of range, over 2^24 faces in the batch, or an
            option that nvdiffrast does not have.
        RuntimeError: something to run it with is missing; the message says what.
    """
    if layers is not None or edge_rule != "inclusive" or cull_backfaces:
        raise ValueError('backend="nvdiffrast" has no layers, edge_rule or cull_backfaces; use backend="xla"')
    vertices_clip = jnp.asarray(vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    _check_backend(vertices_clip, faces)
    batch, num_faces = vertices_clip.shape[0], faces.shape[-2]
    screen = to_screen(vertices_clip, faces, image_size, face_mask, vertex_depth)
    triangles = _triangles(faces, (screen.soft | screen.crossing).reshape(batch, num_faces), vertices_clip.shape[1])
    depth = depth_of_clip(vertices_clip) if vertex_depth is None else vertex_depth
    positions = jax.lax.stop_gradient(_positions(vertices_clip, depth))
    found = _call(_find_faces, jax.ShapeDtypeStruct((batch, *image_size), jnp.float32), positions, triangles)
    first_face = num_faces * jnp.arange(batch, dtype=jnp.int32)[:, None, None]
    face_id = jnp.where(found > 0, found.astype(jnp.int32) - 1 - first_face, -1)
    return _attach_clamped(screen, face_id, image_size)


def nearest(scene: Scene) -> Fragments:
    """The nearest faces of a scene; errors as in `rasterize`."""
    return rasterize(
        scene.vertices_clip, scene.mesh.faces, scene.image_size,
        face_mask=scene.face_mask, vertex_depth=scene.vertex_depth, cull_backfaces=scene.cull_backfaces,
    )  # fmt: skip


def antialias(
    image: Float[Array, "b h w c"],
    fragments: Fragments,
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    *,
    face_mask: Bool[Array, "b f"] | None = None,
) -> Float[Array, "b h w c"]:
    """nvdiffrast's antialiasing, which is where its silhouettes get gradients.

    Where neighbouring pixels p, q see different faces and a silhouette edge of the nearer one crosses the
    line between their centres, one of them takes up to half of the other's colour, `out_p = image_p + a
    (image_q - image_p)`, with a linear in where the edge crosses. The gradient is nvdiffrast's own: that of
    this blend, to the colours of p and q and to x, y, w of the two vertices of the edge. Nothing else moves:
    hidden faces, edges between front faces and faces smaller than a pixel get none. It is another estimator
    than that of `soft_coverage`, not an approximation of it; values may leave the range of the image.

    Args:
        image: colours, a mask, any channels.
        fragments: what the pixels see, from either backend.
        vertices_clip: clip space, as for `rasterize`.
        faces: triangle indices; faces that share an edge must name the same vertices, or the edge counts as
            silhouette.
        face_mask: false takes a face away.

    Returns:
        The image, antialiased in float32.

    Raises:
        ValueError: wrong shape, no faces, face index out of range, over 2^24 faces in the batch.
        RuntimeError: something to run it with is missing; the message says what.

    Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, ACM TOG 2020.
    """
    vertices_clip, image = jnp.asarray(vertices_clip), jnp.asarray(image)
    batch, *image_size = fragments.face_id.shape
    check_scene(vertices_clip, faces, tuple(image_size), face_mask)
    if image.ndim != 4 or image.shape[:3] != fragments.face_id.shape or image.shape[3] == 0:
        raise ValueError(f"image must have shape [b, h, w, c] = {fragments.face_id.shape} + (c,), got {image.shape}")
    _check_backend(vertices_clip, faces)
    num_faces = faces.shape[-2]
    exists = jnp.ones((batch, num_faces), bool) if face_mask is None else jnp.asarray(face_mask)
    first_face = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * num_faces
    index = jnp.where(fragments.face_id >= 0, fragments.face_id + first_face + 1, 0).astype(jnp.float32)
    # Of z nvdiffrast asks which of two is less, of u and v nothing.
    depth = jax.lax.stop_gradient(fragments.depth).astype(jnp.float32)
    raster = jnp.stack([jnp.zeros_like(depth), jnp.zeros_like(depth), depth, index], axis=-1)
    positions = _positions(vertices_clip, depth_of_clip(vertices_clip))
    triangles = _triangles(faces, exists, vertices_clip.shape[1])
    return _antialias(image.astype(jnp.float32), raster, positions, triangles).astype(image.dtype)


def _check_backend(vertices_clip: jax.Array, faces: Array) -> None:
    """Raises where nvdiffrast is not there, or would not take the faces."""
    total = vertices_clip.shape[0] * faces.shape[-2]
    if not 0 < total <= _MOST_FACES:
        raise ValueError(f"faces: nvdiffrast takes 1 to 2^24 of them in a batch, got {total}; split the batch")
    lack = missing()
    if lack is not None:
        raise RuntimeError(lack)


def _try_import(name: str) -> tuple[ModuleType | None, Exception | None]:
    """A module, or why there is none: also one that is there but was built for another PyTorch."""
    try:
        return importlib.import_module(name), None
    except (ImportError, OSError) as error:
        return None, error


def _triangles(faces: Array, exists: jax.Array, num_vertices: int) -> jax.Array:
    """Vertex indices `[b, f, 3]` into the vertices of the whole batch.

    A face that does not exist names one vertex three times: nvdiffrast draws nothing and sees no edge.
    """
    first_vertex = jnp.arange(exists.shape[0], dtype=jnp.int32)[:, None, None] * num_vertices
    faces = jnp.asarray(faces, jnp.int32)
    faces = faces[None] if faces.ndim == 2 else faces
    return jnp.where(exists[..., None], faces + first_vertex, first_vertex)


def _positions(vertices_clip: jax.Array, depth: jax.Array) -> jax.Array:
    """Finite float32 vertices `[b, v, 4]` as nvdiffrast wants them: y up the rows, z/w in (-1, 1).

    The renderer has no near and no far plane, nvdiffrast has; so z is made anew, `((n + f) w - 2 n f) / (f - n)`
    between just under the least and just over the greatest w of an image. z carries no gradient.
    """
    finite = jnp.all(jnp.isfinite(vertices_clip), axis=-1, keepdims=True)
    x, y, _, w = jnp.split(jnp.where(finite, vertices_clip, 1.0), 4, axis=-1)
    shift = jax.lax.stop_gradient(jnp.where(finite, w, jnp.nan))
    far = jnp.nan_to_num(1.01 * jnp.nanmax(shift, axis=1, keepdims=True), nan=1.0)
    far = jnp.where(far > 0, far, 1.0)
    near = 0.99 * jnp.maximum(jnp.nan_to_num(jnp.nanmin(shift, axis=1, keepdims=True), nan=0.0), _NEAREST * far)
    perspective = ((near + far) * w - 2 * near * far) / (far - near)
    z = jnp.where(jnp.all(w == 1, axis=1, keepdims=True), _between(depth[..., None], finite), perspective)
    return jnp.concatenate([x, -y, jax.lax.stop_gradient(z), w], axis=-1).astype(jnp.float32)


def _between(depth: jax.Array, finite: jax.Array) -> jax.Array:
    """Depths `[b, v, 1]` mapped linearly into (-1, 1), image by image."""
    low = jnp.min(jnp.where(finite, depth, jnp.inf), axis=1, keepdims=True)
    high = jnp.max(jnp.where(finite, depth, -jnp.inf), axis=1, keepdims=True)
    span = jnp.where(high > low, high - low, 1.0)
    return jnp.where(finite, 0.99 * (2 * depth - low - high) / span, 0.0)


def _attach_clamped(screen: ScreenFaces, face_id: jax.Array, image_size: tuple[int, int]) -> Fragments:
    """`attach`, with barycentrics clamped to the face; a face that has an area on nvdiffrast's grid alone goes away."""
    pixels = pixel_grid(image_size, screen.corners.dtype, face_id.ndim)
    weights = jnp.maximum(attach(screen, face_id, pixels).barycentric, 0.0)
    total = jnp.sum(weights, axis=-1)
    solid = total > 0
    weights = weights * jnp.where(solid, 1.0 / jnp.where(solid, total, 1.0), 0.0)[..., None]
    depth = jnp.sum(weights * screen.depth[global_index(face_id, screen)], axis=-1)
    return Fragments(jnp.where(solid, face_id, -1), weights, depth)


@jax.custom_vjp
def _antialias(image: jax.Array, raster: jax.Array, positions: jax.Array, triangles: jax.Array) -> jax.Array:
    return _call(_smooth, jax.ShapeDtypeStruct(image.shape, image.dtype), image, raster, positions, triangles)


def _antialias_forward(*arguments: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _antialias(*arguments), arguments


def _antialias_backward(arguments: tuple[jax.Array, ...], cotangent: jax.Array):
    image, _, positions, _ = arguments
    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (image, positions)]
    to_image, to_positions = _call(_smooth_gradient, shapes, cotangent, *arguments)
    return to_image, None, to_positions, None


_antialias.defvjp(_antialias_forward, _antialias_backward)


def _call(callback, shapes: Any, *arguments: jax.Array) -> Any:
    """`buffer_callback`, with results that vary over devices as the first argument does.

    Within `shard_map` the results of a callback count as equal on all devices, and the gradients of what is
    equal are summed over them; a zero made from an argument says better.
    """
    # Experimental: a version of JAX that moves it away must not take the other backends along.
    from jax.experimental.buffer_callback import buffer_callback

    results = buffer_callback(callback, shapes, vmap_method="sequential")(*arguments)
    zero = 0 * (arguments[0].reshape(-1)[0] > 0).astype(jnp.float32)
    return jax.tree.map(lambda result: result + zero, results)


# Callbacks: a context and buffers of XLA that are gone when they return. Results are written in place.


def _find_faces(ctx, out, positions, triangles) -> None:
    """Face index + 1 of each pixel as float32 `[b, h, w]`, from positions `[b, v, 4]` and triangles `[b, f, 3]`."""
    with _session(ctx, positions) as (torch, nvdiffrast, context):
        out, positions, triangles = map(torch.from_dlpack, (out, positions, triangles))
        batch, num_faces, _ = triangles.shape
        # First face and number of faces of each image; nvdiffrast reads them on the host.
        ranges = [[image * num_faces, num_faces] for image in range(batch)]
        ranges = torch.tensor(ranges, dtype=torch.int32, device="cpu")
        scene = positions.reshape(-1, 4), triangles.reshape(-1, 3), (out.shape[1], out.shape[2])
        raster, _ = nvdiffrast.rasterize(context, *scene, ranges=ranges, grad_db=False)
        out.copy_(raster[..., 3])


def _smooth(ctx, out, image, raster, positions, triangles) -> None:
    """The antialiased image."""
    with _session(ctx, image) as (torch, nvdiffrast, _):
        out, image, raster, positions, triangles = map(torch.from_dlpack, (out, image, raster, positions, triangles))
        out.copy_(nvdiffrast.antialias(image, raster, positions.reshape(-1, 4), triangles.reshape(-1, 3)))


def _smooth_gradient(ctx, out, cotangent, image, raster, positions, triangles) -> None:
    """The gradients to image and positions, for which PyTorch does the forward pass again."""
    with _session(ctx, image) as (torch, nvdiffrast, _), torch.enable_grad():
        raster, triangles, cotangent = map(torch.from_dlpack, (raster, triangles, cotangent))
        leaves = [torch.from_dlpack(buffer).detach().requires_grad_() for buffer in (image, positions)]
        smooth = nvdiffrast.antialias(leaves[0], raster, leaves[1].reshape(-1, 4), triangles.reshape(-1, 3))
        for buffer, gradient in zip(out, torch.autograd.grad(smooth, leaves, cotangent)):
            torch.from_dlpack(buffer).copy_(gradient)


@contextlib.contextmanager
def _session(ctx, buffer) -> Generator[tuple[ModuleType, ModuleType, Any]]:
    """PyTorch on the device and stream that XLA runs the callback on; with nvdiffrast and its context there."""
    kind, ordinal = buffer.__dlpack_device__()
    if kind != _DLPACK_CUDA:
        raise RuntimeError('backend="nvdiffrast" runs on CUDA devices only; this computation is on another')
    torch, nvdiffrast = importlib.import_module("torch"), importlib.import_module("nvdiffrast.torch")
    with torch.cuda.device(ordinal), torch.cuda.stream(torch.cuda.ExternalStream(ctx.stream, device=ordinal)):
        # nvdiffrast waits for the stream while it holds Python's lock. If the stream itself waited for another
        # device that needs the lock, none would move on; this wait lets go of the lock.
        torch.cuda.current_stream().synchronize()
        yield torch, nvdiffrast, _context(ordinal)


@functools.cache
def _context(ordinal: int) -> Any:
    """nvdiffrast's buffers on a device; they grow and are never given back, so there is one of them."""
    return importlib.import_module("nvdiffrast.torch").RasterizeCudaContext(device=f"cuda:{ordinal}")
