"""Fit by rendering: find the camera of one picture, then sharpen mesh, texture and camera together."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from ast_jax.arrays import Array
from ast_jax.compile_options import quick_jit
from ast_jax.data.crop import area_downsample
from ast_jax.losses import iou_loss, l1_loss, normal_consistency_loss
from render import Mesh, PerspectiveCamera, UVImage, orbit, rasterize, render, soft_coverage, unique_edges
from render.camera import NMR_DISTANCE, quaternion_to_rotation
from render.texture import Texture

# Where the search for a camera starts: all around the object, from below the horizon to steeply above. The
# distance and the field of view are those of the training views; a crop of a photograph fixes neither.
_AZIMUTHS_RAD = np.arange(24) * (2 * np.pi / 24)
_ELEVATIONS_RAD = np.radians([-30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0])
_FOV_Y_RAD = np.pi / 6
# The best start of each sector is refined: silhouettes from opposite sides are mirror images, so that one
# best start overall can be the back of the object. Only the colours tell.
_SECTORS = 8
_SEARCH_SIZE = 32  # px; enough to rank silhouettes, 1/4 of the cost of 64
# A wide band at first, which reaches far, then one so narrow that the soft outline lies on the true one.
# Known cameras are found again with an overlap of 0.98 to 0.99; it was 0.92 to 0.94 with 1e-4 at the end.
_CAMERA_SIGMAS = (1e-3, 3e-6)
_CAMERA_RATE = 0.03  # of Adam, in radians, NDC and log scale
# The same idea for the refinement, which starts nearer. Smoothness: from a ball to a body with beak and fin, 200
# steps reach an overlap of 0.985; it was 0.973 with 10 and 0.964 with 20.
_REFINE_SIGMAS = (1e-4, 1e-5)
_SMOOTHNESS = 3.0
_RATES = {"offset": 5e-3, "colours": 2e-2, "camera": 4e-3}
_WEIGHTS = {"iou": 1.0, "l1": 0.3, "normal": 0.05}


@dataclass(frozen=True)
class CameraFit:
    """A camera (leading axis 1) and the intersection over union of the hard silhouette with the mask."""

    camera: PerspectiveCamera
    iou: float


@dataclass(frozen=True)
class Refinement:
    """Result of :func:`refine`: the mesh, its colours, the camera, and the loss terms before and after."""

    vertices: Float[np.ndarray, "v 3"]
    texture: Texture | None
    camera: PerspectiveCamera
    before: dict[str, float]
    after: dict[str, float]


@quick_jit
def camera_grid() -> PerspectiveCamera:
    """The starts of the search, ``[k]`` cameras, elevations within azimuths."""
    azimuth, elevation = np.meshgrid(_AZIMUTHS_RAD, _ELEVATIONS_RAD, indexing="ij")
    return orbit(NMR_DISTANCE, elevation.ravel(), azimuth.ravel(), _FOV_Y_RAD)


def align_to_mask(
    camera: PerspectiveCamera, vertices: Float[Array, "v 3"], mask: Float[Array, "h w"]
) -> PerspectiveCamera:
    """Scale and shift the picture of each camera until the object fills the bounding box of the mask.

    ``focal' = s focal``, ``principal' = s (principal - c_object) + c_mask``, with s the geometric mean of the
    ratios of width and height, and c the centres of the boxes in NDC.

    Args:
      camera: leading axis ``[k]``.
      vertices: world space, in front of all cameras.
      mask: in [0, 1]; some pixel is above one half.

    Returns:
      the cameras of the aligned pictures.
    """
    mask_low, mask_high = _mask_box_ndc(np.asarray(mask))
    return _aligned(camera, jnp.asarray(vertices, jnp.float32), mask_low[None], mask_high[None])


@quick_jit
def _aligned(camera: PerspectiveCamera, vertices, mask_low, mask_high) -> PerspectiveCamera:
    points = jnp.broadcast_to(vertices[None], (camera.translation.shape[0], *vertices.shape))
    clip = camera.project(points)
    ndc = clip[..., :2] / clip[..., 3:]
    low, high = ndc.min(1), ndc.max(1)
    ratio = (mask_high - mask_low) / jnp.maximum(high - low, 1e-6)
    scale = jnp.sqrt(ratio[:, :1] * ratio[:, 1:])
    principal = scale * (camera.principal - (low + high) / 2) + (mask_low + mask_high) / 2
    return replace(camera, focal=camera.focal * scale, principal=principal)


def _mask_box_ndc(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = mask > 0.5
    if not inside.any():
        raise ValueError("mask: no pixel above one half, so there is no object to fit a camera to.")
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    height, width = mask.shape
    low = [2 * columns[0] / width - 1, 1 - 2 * (rows[-1] + 1) / height]
    high = [2 * (columns[-1] + 1) / width - 1, 1 - 2 * rows[0] / height]
    return np.array(low, np.float32), np.array(high, np.float32)


def estimate_camera(
    vertices: Float[Array, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    mask: Float[Array, "h w"],
    *,
    texture: Texture | None = None,
    picture: Float[Array, "h w 3"] | None = None,
    start: PerspectiveCamera | None = None,
    steps: int = 100,
) -> CameraFit:
    """The camera from which the mesh looks like the mask, and the texture like the picture.

    Silhouettes from a grid of directions, each aligned by its bounding box, are ranked by their overlap with
    the mask; the best of every sector is improved by gradient descent on the soft overlap; colours choose.

    Args:
      vertices: world space, about the origin.
      faces: counter-clockwise from outside.
      mask: square, coverage in [0, 1].
      texture: colours in [0, 1], leading axis 1.
      picture: RGB in [0, 1]; only used with ``texture``.
      start: ``[k]`` cameras to try beside those of the grid, for example the model's.
      steps: of gradient descent.

    Returns:
      the best camera.

    Raises:
      ValueError: the mask is empty or not square.
    """
    mask = np.asarray(mask, np.float32)
    if mask.shape[0] != mask.shape[1]:
        raise ValueError(f"mask: must be square, got {mask.shape}; crop the picture first.")
    cameras = align_to_mask(camera_grid(), vertices, mask)
    mesh = Mesh(jnp.asarray(vertices, jnp.float32)[None], np.asarray(faces, np.int32))
    small = area_downsample(mask[None, ..., None], min(_SEARCH_SIZE, len(mask)))[0, ..., 0]
    overlap = np.asarray(_hard_iou(mesh, cameras, small))
    sectors = overlap.reshape(_SECTORS, -1)
    best = sectors.argmax(1) + np.arange(_SECTORS) * sectors.shape[1]
    cameras = jax.tree.map(lambda leaf: leaf[best], cameras)
    if start is not None:
        cameras = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), cameras, start)
    improved = improve_camera(vertices, faces, mask, cameras, steps=steps)
    before, after = (np.asarray(_hard_iou(mesh, each, mask)) for each in (cameras, improved))
    cameras = _choose(after >= before, improved, cameras)  # few steps can end beside a start that fits
    overlap = np.maximum(before, after)
    score = overlap
    if texture is not None and picture is not None:
        score = overlap - _colour_error(mesh, texture, cameras, jnp.asarray(picture), mask)
    winner = int(np.argmax(np.nan_to_num(np.asarray(score), nan=-np.inf)))
    return CameraFit(jax.tree.map(lambda leaf: leaf[winner : winner + 1], cameras), float(overlap[winner]))


def _choose(condition: np.ndarray, first: PerspectiveCamera, second: PerspectiveCamera) -> PerspectiveCamera:
    """For each camera the first where the condition holds, else the second."""
    pick = lambda a, b: np.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
    return jax.tree.map(pick, first, second)


def improve_camera(
    vertices: Float[Array, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    mask: Float[Array, "h w"],
    camera: PerspectiveCamera,
    *,
    steps: int = 100,
) -> PerspectiveCamera:
    """Cameras from which the silhouette of the mesh fits the mask better: aligned, then by gradient descent.

    Args:
      vertices: world space, about the origin.
      faces: counter-clockwise from outside.
      mask: square, coverage in [0, 1]; some pixel is above one half.
      camera: ``[k]`` starts, each improved by itself.
      steps: of gradient descent.
    """
    mesh = Mesh(jnp.asarray(vertices, jnp.float32)[None], np.asarray(faces, np.int32))
    return _descend(mesh, align_to_mask(camera, vertices, mask), jnp.asarray(mask, jnp.float32), steps)


@quick_jit
def _hard_iou(mesh: Mesh, cameras: PerspectiveCamera, mask: Array) -> jax.Array:
    """``[k]`` intersection over union, pixel by pixel."""
    count = cameras.translation.shape[0]
    clip = cameras.project(jnp.repeat(mesh.vertices, count, axis=0))
    drawn = rasterize(clip, mesh.faces, mask.shape).face_id >= 0
    wanted = (mask > 0.5)[None]
    union = (drawn | wanted).sum((1, 2))
    return (drawn & wanted).sum((1, 2)) / jnp.maximum(union, 1)


@quick_jit
def _colour_error(mesh: Mesh, texture: Texture, cameras: PerspectiveCamera, picture, mask) -> jax.Array:
    """``[k]`` mean absolute difference of colour inside the mask."""

    def error(camera):
        camera = jax.tree.map(lambda leaf: leaf[None], camera)
        drawn = render(mesh, camera, mask.shape, blending="hard", texture=texture)
        return l1_loss(drawn.rgb, picture[None], mask[None])[0]

    return jax.lax.map(error, cameras)


@quick_jit
def _descend(mesh: Mesh, cameras: PerspectiveCamera, mask: Array, steps: int | Array) -> PerspectiveCamera:
    """Adam on the soft overlap, all cameras at once and independent of each other."""
    count = cameras.translation.shape[0]
    vertices = jnp.repeat(mesh.vertices, count, axis=0)
    target = jnp.broadcast_to(mask[None], (count, *mask.shape))
    optimizer = optax.scale_by_adam()

    def loss(change, sigma):
        clip = _moved(cameras, change).project(vertices)
        return iou_loss(soft_coverage(clip, mesh.faces, mask.shape, sigma), target).sum()

    def step(index, carry):
        change, state = carry
        done = index / steps
        updates, state = optimizer.update(jax.grad(loss)(change, _annealed(_CAMERA_SIGMAS, done)), state)
        rate = _CAMERA_RATE * (0.05 + 0.95 * jnp.cos(done * np.pi / 2) ** 2)
        return optax.apply_updates(change, optax.tree.scale(-rate, updates)), state

    change = _no_change(count)
    change, _ = jax.lax.fori_loop(0, steps, step, (change, optimizer.init(change)))
    return _moved(cameras, change)


def _annealed(ends: tuple[float, float], done: jax.Array) -> jax.Array:
    """From the first to the second as ``done`` goes from 0 to 1, evenly on a logarithmic scale."""
    return ends[0] * (ends[1] / ends[0]) ** done


def _no_change(count: int) -> dict[str, jax.Array]:
    sizes = {"turn": 3, "log_distance": 1, "log_focal": 1, "principal": 2}
    return {name: jnp.zeros((count, size)) for name, size in sizes.items()}


def _moved(camera: PerspectiveCamera, change: dict[str, jax.Array]) -> PerspectiveCamera:
    """Turn by about ``|turn|`` radians about ``turn``, dolly at constant size, zoom, shift."""
    # (1, turn / 2), normalised, is the rotation by 2 atan(|turn| / 2): no sine, no singular point at zero.
    quaternion = jnp.concatenate([jnp.ones_like(change["turn"][:, :1]), change["turn"] / 2], -1)
    rotation = jnp.einsum("bij,bjk->bik", quaternion_to_rotation(quaternion), camera.rotation)
    dolly = jnp.exp(change["log_distance"])
    return replace(
        camera,
        rotation=rotation,
        translation=camera.translation * dolly,
        focal=camera.focal * dolly * jnp.exp(change["log_focal"]),
        principal=camera.principal + change["principal"],
    )


def refine(
    vertices: Float[Array, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: PerspectiveCamera,
    picture: Float[Array, "h w 3"],
    mask: Float[Array, "h w"],
    *,
    texture: Texture | None = None,
    steps: int = 100,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Refinement:
    """Analysis by synthesis on one picture: move vertices, colours and camera until the rendering agrees.

    ``iou + 0.3 |rgb - picture| + 0.05 normal consistency``, by Adam; colours count within the mask. The displacement
    is smooth, which keeps the mesh whole and carries what the picture shows over to what it does not show.

    Args:
      vertices: world space, as predicted.
      faces: counter-clockwise from outside.
      camera: leading axis 1.
      picture: RGB in [0, 1] over ``background``.
      mask: coverage in [0, 1].
      texture: colours in [0, 1], leading axis 1, or None to fit the silhouette alone.
      steps: of Adam, >= 1.
      background: RGB in [0, 1].

    Returns:
      the refined mesh, texture and camera, and the losses.

    Raises:
      ValueError: ``steps`` is not positive.
    """
    if steps < 1:
        raise ValueError(f"steps: must be at least 1, got {steps}.")
    scene = _Scene(
        mesh=Mesh(jnp.asarray(vertices, jnp.float32)[None], np.asarray(faces, np.int32)),
        smoothing=jnp.asarray(_smoothing(np.asarray(faces), len(vertices)), jnp.float32),
        texture=texture,
        camera=camera,
        picture=jnp.asarray(picture, jnp.float32)[None],
        mask=jnp.asarray(mask, jnp.float32)[None],
        background=jnp.asarray(background, jnp.float32),
    )
    initial = {"offset": jnp.zeros_like(scene.mesh.vertices[0]), "camera": _no_change(1)}
    if texture is not None:
        initial["colours"] = jnp.asarray(getattr(texture, _field_of_colours(texture)), jnp.float32)
    params = _refine(scene, initial, steps)
    before, after = (_measure(scene, p, _REFINE_SIGMAS[1]) for p in (initial, params))
    return Refinement(
        vertices=np.asarray(scene.mesh.vertices[0] + scene.smoothing @ params["offset"]),
        texture=None if texture is None else jax.tree.map(np.asarray, _coloured(texture, params["colours"])),
        camera=_moved(camera, params["camera"]),
        before={name: float(value) for name, value in before.items()},
        after={name: float(value) for name, value in after.items()},
    )


def _field_of_colours(texture: Texture) -> str:
    """What of a texture is refined; where the colours of a picture lie on the surface, its uv, stays as it is."""
    return "image" if isinstance(texture, UVImage) else "values"


def _coloured(texture: Texture, colours: Array) -> Texture:
    """The texture with other colours, kept in [0, 1]."""
    return replace(texture, **{_field_of_colours(texture): jnp.clip(colours, 0, 1)})


def _smoothing(faces: np.ndarray, num_vertices: int) -> np.ndarray:
    """``(I + lambda L)^-1`` with the graph Laplacian L: makes a displacement smooth, keeps a shift.

    Optimising what it is applied to gives large steps without crumpling the mesh.

    Source: Nicolet, Jacobson and Jakob, Large Steps in Inverse Rendering of Geometry, SIGGRAPH Asia 2021.
    """
    matrix = np.eye(num_vertices)
    first, second = unique_edges(faces).T
    np.add.at(matrix, (first, first), _SMOOTHNESS)
    np.add.at(matrix, (second, second), _SMOOTHNESS)
    matrix[first, second] = matrix[second, first] = -_SMOOTHNESS
    return np.linalg.inv(matrix)


class _Scene(NamedTuple):
    """What stays as it is during the refinement: the prediction, and the picture to agree with."""

    mesh: Mesh
    smoothing: jax.Array
    texture: Texture | None
    camera: PerspectiveCamera
    picture: jax.Array
    mask: jax.Array
    background: jax.Array


def _terms(scene: _Scene, params: dict, sigma) -> dict[str, jax.Array]:
    """Each term of the loss, and their weighted sum as ``total``."""
    vertices = scene.mesh.vertices + (scene.smoothing @ params["offset"])[None]
    mesh, camera = replace(scene.mesh, vertices=vertices), _moved(scene.camera, params["camera"])
    size = scene.mask.shape[1:]
    if scene.texture is not None:
        texture = _coloured(scene.texture, params["colours"])
        # The softmax weighs colours that belong to faces, which those of a picture do not.
        blending = "hard" if isinstance(texture, UVImage) else "softmax"
        drawn = render(mesh, camera, size, texture=texture, blending=blending, background=scene.background, sigma=sigma)
        terms = {"iou": iou_loss(drawn.alpha, scene.mask), "l1": l1_loss(drawn.rgb, scene.picture, scene.mask)}
    else:
        terms = {"iou": iou_loss(soft_coverage(camera.project(vertices), mesh.faces, size, sigma), scene.mask)}
    terms["normal"] = normal_consistency_loss(vertices, mesh.faces)
    terms = {name: value[0] for name, value in terms.items()}
    return {**terms, "total": sum(_WEIGHTS[name] * value for name, value in terms.items())}


_measure = quick_jit(_terms)


# Without the quick options: it is run for seconds, and is a third slower with them.
@jax.jit
def _refine(scene: _Scene, params: dict, steps: int | Array) -> dict:
    """The parameters after ``steps`` steps of Adam, each kind with its own rate."""
    optimizer = optax.scale_by_adam()
    loss = lambda params, sigma: _terms(scene, params, sigma)["total"]  # noqa: E731

    def step(index, carry):
        params, state = carry
        done = index / steps
        gradient = jax.grad(loss)(params, _annealed(_REFINE_SIGMAS, done))
        updates, state = optimizer.update(gradient, state)
        rates = {name: -rate * (1.0 - 0.9 * done) for name, rate in _RATES.items()}
        updates = {name: optax.tree.scale(rates[name], tree) for name, tree in updates.items()}
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]
