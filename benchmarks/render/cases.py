"""What is timed: scenes, and functions of them."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from render import (
    FaceTexels,
    Mesh,
    PerspectiveCamera,
    UVImage,
    icosphere,
    orbit,
    rasterize,
    render,
    soft_coverage,
)

SIGMA, GAMMA, CUTOFF = 1e-4, 1e-4, 1e-4


class Scene(NamedTuple):
    """Bumpy spheres in front of cameras.

    Attributes:
        points: `[b, v, 3]` world.
        faces: `[f, 3]`.
        camera: of the batch.
        image_size: height and width in pixels.
    """

    points: jax.Array
    faces: np.ndarray
    camera: PerspectiveCamera
    image_size: tuple[int, int]

    @property
    def name(self) -> str:
        """Images, pixels, faces."""
        height, width = self.image_size
        return f"{len(self.points)} x {height}x{width}, {len(self.faces):,} faces"


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        name: what is computed.
        function: of arrays, to be compiled.
        arguments: the arrays.
        scene: that is drawn.
        target: seconds on two CPU cores, None for none.
    """

    name: str
    function: Callable
    arguments: tuple
    scene: Scene
    target: float | None = None


def spheres(batch: int, level: int, size: int) -> Scene:
    """Icospheres of radius 0.5 from NMR's distance, their vertices moved by about a fifth of an edge."""
    return _scene(*icosphere(level), batch, 0.015 * 2.0 ** (3 - level), size)


def globe(batch: int, size: int) -> Scene:
    """A sphere of 140 x 140 squares: 39,200 faces, as many as the mesh that PyTorch3D and Jrender were timed with."""
    rows = columns = 140
    latitude, longitude = np.meshgrid(
        np.linspace(0, np.pi, rows + 1), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij"
    )
    around = np.sin(latitude)
    points = np.stack([around * np.sin(longitude), np.cos(latitude), around * np.cos(longitude)], axis=-1)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1, 1)
    below = corner + columns + 1
    faces = np.concatenate([np.hstack([corner, below, below + 1]), np.hstack([corner, below + 1, corner + 1])])
    return _scene(points.reshape(-1, 3), faces.astype(np.int32), batch, 0.0, size)


def _scene(points: np.ndarray, faces: np.ndarray, batch: int, noise: float, size: int) -> Scene:
    rng = np.random.default_rng(0)
    points = 0.5 * points[None] + noise * rng.normal(size=(batch, *points.shape))
    camera = orbit(np.full(batch, 2.732), np.full(batch, 0.52), np.linspace(0, 6, batch), np.full(batch, 0.52))
    return Scene(jnp.asarray(points, jnp.float32), faces, camera, (size, size))


def texels(scene: Scene, side: int = 4) -> FaceTexels:
    """Random texels on the faces."""
    shape = (len(scene.points), len(scene.faces), side, side, 3)
    return FaceTexels(jnp.asarray(np.random.default_rng(2).random(shape), jnp.float32))


def picture(scene: Scene, side: int = 256, max_level: int | None = 0) -> UVImage:
    """A random picture of that many texels a side for each mesh, seen along z."""
    images = np.random.default_rng(2).random((len(scene.points), side, side, 3))
    uv = 0.5 + 0.6 * np.asarray(scene.points)[:, scene.faces][..., :2]
    return UVImage(jnp.asarray(images, jnp.float32), jnp.asarray(uv, jnp.float32), max_level=max_level)


def wanted(scene: Scene) -> jax.Array:
    """Random pictures, `[b, h, w, 3]`, to compare with in a loss."""
    shape = (len(scene.points), *scene.image_size, 3)
    return jnp.asarray(np.random.default_rng(1).random(shape), jnp.float32)


def silhouettes(scene: Scene, coverage: Callable = soft_coverage, target: float | None = None) -> list[Case]:
    """Soft silhouettes: forward, and with the gradient of a loss."""
    goal = wanted(scene)[..., 0]

    def forward(points):
        return coverage(scene.camera.project(points), scene.faces, scene.image_size, SIGMA)

    def loss(points):
        return ((forward(points) - goal) ** 2).mean()

    return _pair(f"silhouette, {scene.name}", forward, loss, (scene.points,), scene, target)


def colours(
    scene: Scene, blending: str, texture: FaceTexels | UVImage, target: float | None = None, backend: str = "xla"
) -> list[Case]:
    """Colours and coverage of a blending rule: forward, and with the gradient by vertices and texture of a loss."""
    goal = wanted(scene)

    def forward(points, texture):
        rendering = render(
            Mesh(points, scene.faces), scene.camera, scene.image_size,
            texture=texture, blending=blending, sigma=SIGMA, gamma=GAMMA, cutoff=CUTOFF, backend=backend,
        )  # fmt: skip
        return rendering.rgb, rendering.alpha

    def loss(points, texture):
        rgb, alpha = forward(points, texture)
        return ((rgb - goal) ** 2).mean() + ((alpha - goal[..., 0]) ** 2).mean()

    name = f"{blending}, {_describe(texture)}, {scene.name}"
    return _pair(name, forward, loss, (scene.points, texture), scene, target)


def z_buffer(scene: Scene, target: float | None = None, backend: str = "xla") -> Case:
    """Hard rasterization, without gradient: faces, barycentrics and depths."""

    def forward(points):
        return rasterize(scene.camera.project(points), scene.faces, scene.image_size, backend=backend)

    return Case(f"z-buffer, {scene.name}", forward, (scene.points,), scene, target)


def dense_coverage(clip: jax.Array, faces: np.ndarray, image_size: tuple[int, int], sigma: float) -> jax.Array:
    """`soft_coverage` as most would write it: every face against every pixel, differentiated by jax."""
    height, width = image_size
    corners = (clip[..., :2] / clip[..., 3:])[:, faces][:, :, :, None, None]
    x = (jnp.arange(width) + 0.5) / width * 2 - 1
    y = 1 - (jnp.arange(height) + 0.5) / height * 2
    points = jnp.stack(jnp.meshgrid(x, y), axis=-1)[None, None]

    def edge(start, end):
        along, offset = end - start, points - start
        fraction = (offset * along).sum(-1) / jnp.maximum((along * along).sum(-1), 1e-12)
        residual = offset - jnp.clip(fraction, 0, 1)[..., None] * along
        return (residual * residual).sum(-1), along[..., 0] * offset[..., 1] - along[..., 1] * offset[..., 0]

    squared, sides = zip(*(edge(corners[:, :, i], corners[:, :, (i + 1) % 3]) for i in range(3)))
    low, high = jnp.minimum(jnp.minimum(*sides[:2]), sides[2]), jnp.maximum(jnp.maximum(*sides[:2]), sides[2])
    nearest = jnp.minimum(jnp.minimum(*squared[:2]), squared[2])
    signed = jnp.where((low >= 0) | (high <= 0), -nearest, nearest)
    return 1 - jnp.exp(-jax.nn.softplus(-signed / sigma).sum(1))


def all_cases(quick: bool) -> list[Case]:
    """Rows of the table; the quick ones are smaller, without targets."""
    training = spheres(4 if quick else 32, 3, 64)
    goals = [None] * 3 if quick else [0.07, 0.25, 0.1]
    cases = [
        *silhouettes(training, target=goals[0]),
        *colours(training, "softmax", texels(training), goals[1]),
        *colours(training, "hard", picture(training), goals[2]),
        *colours(training, "hard", picture(training, max_level=None)),
        *colours(training, "hard", texels(training)),
        *colours(training, "layered", texels(training)),
        *colours(training, "antialias", texels(training)),
        z_buffer(training),
    ]
    if quick:
        return cases
    return cases + [
        *silhouettes(spheres(1, 5, 256), target=0.1),
        *silhouettes(spheres(1, 6, 256), target=0.35),
        z_buffer(spheres(1, 6, 256), target=0.1),
        *silhouettes(globe(1, 1024)),
        *colours(globe(1, 1024), "softmax", texels(globe(1, 1024), 1)),
        *silhouettes(spheres(192, 3, 64)),
        *colours(spheres(192, 3, 64), "hard", texels(spheres(192, 3, 64))),
        z_buffer(spheres(192, 3, 64)),
    ]


def _pair(
    name: str, forward: Callable, loss: Callable, arguments: tuple, scene: Scene, target: float | None
) -> list[Case]:
    both = jax.value_and_grad(loss, argnums=tuple(range(len(arguments))))
    return [
        Case(f"{name}, forward", forward, arguments, scene),
        Case(f"{name}, forward + backward", both, arguments, scene, target),
    ]


def _describe(texture: FaceTexels | UVImage) -> str:
    if isinstance(texture, FaceTexels):
        side = texture.values.shape[2]
        return f"{side}x{side} texels"
    height, width = texture.image.shape[1:3]
    return f"{height}x{width} UV image" + (", mip maps" if texture.max_level != 0 else "")
