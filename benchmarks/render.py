"""Speed of the renderer: one table, medians of several runs, beside a dense brute force of the same formulas.

Run: python -m benchmarks.render [--quick]
"""

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from render import FaceTexels, Mesh, icosphere, orbit, rasterize, render, soft_coverage

SIGMA, GAMMA = 1e-4, 1e-4


def scene(batch: int, level: int, texels: int) -> tuple[jax.Array, FaceTexels, object, np.ndarray]:
    """Bumpy spheres of radius about 0.5 seen from NMR's distance, with random texels."""
    rng = np.random.default_rng(0)
    vertices, faces = icosphere(level)
    points = 0.5 * vertices[None] + 0.01 * rng.normal(size=(batch, *vertices.shape))
    camera = orbit(np.full(batch, 2.732), np.full(batch, 0.52), np.linspace(0, 6, batch), np.full(batch, 0.52))
    colours = FaceTexels(jnp.asarray(rng.random((batch, len(faces), texels, texels, 3)), jnp.float32))
    return jnp.asarray(points, jnp.float32), colours, camera, faces


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


def measure(name: str, function: Callable, *arguments) -> float:
    """Prints one row; gives the median in seconds."""
    compiled = jax.jit(function)
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    first = time.perf_counter() - start
    wall, cpu = [], []
    for _ in range(7):
        start, start_cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arguments))
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    print(f"| {name} | {np.median(wall):.3f} | {np.median(cpu):.3f} | {first:.1f} |", flush=True)
    return float(np.median(wall))


def silhouettes(
    batch: int, level: int, size: int, coverage: Callable = soft_coverage
) -> tuple[Callable, Callable, tuple]:
    """Forward and gradient of a silhouette loss, and their argument."""
    points, _, camera, faces = scene(batch, level, 1)
    target = jnp.asarray(np.random.default_rng(1).random((batch, size, size)), jnp.float32)

    def forward(points):
        return coverage(camera.project(points), faces, (size, size), SIGMA)

    return forward, jax.grad(lambda points: ((forward(points) - target) ** 2).mean()), (points,)


def colours(batch: int, level: int, size: int, texels: int, blending: str) -> tuple[Callable, Callable, tuple]:
    """Forward and gradient of a loss on colours and coverage, and their arguments."""
    points, texture, camera, faces = scene(batch, level, texels)
    target = jnp.asarray(np.random.default_rng(1).random((batch, size, size, 3)), jnp.float32)

    def forward(points, texture):
        mesh = Mesh(points, faces)
        picture = render(mesh, camera, (size, size), texture=texture, blending=blending, sigma=SIGMA, gamma=GAMMA)
        return picture.rgb, picture.alpha

    def loss(points, texture):
        rgb, alpha = forward(points, texture)
        return ((rgb - target) ** 2).mean() + ((alpha - target[..., 0]) ** 2).mean()

    return forward, jax.grad(loss, argnums=(0, 1)), (points, texture)


def compare(name: str, case: tuple[Callable, Callable, tuple]) -> tuple[float, float]:
    """Rows of one case, forward and forward with backward."""
    forward, gradient, arguments = case
    return measure(f"{name}, forward", forward, *arguments), measure(f"{name}, gradient", gradient, *arguments)


def main(quick: bool) -> None:
    """Prints the table."""
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind} x {jax.device_count()}\n")
    print("| case | wall s | CPU s | first call s |\n|---|---|---|---|")
    batch = 4 if quick else 32
    label = f"{batch} x 64x64, 1,280 faces"
    compare(f"silhouette, {label}", silhouettes(batch, 3, 64))
    compare(f"softmax, 4x4 texels, {label}", colours(batch, 3, 64, 4, "softmax"))
    compare(f"hard, 4x4 texels, {label}", colours(batch, 3, 64, 4, "hard"))
    points, _, camera, faces = scene(batch, 3, 1)
    measure(f"z-buffer, {label}", lambda points: rasterize(camera.project(points), faces, (64, 64)), points)
    if not quick:
        compare("silhouette, 1 x 256x256, 20,480 faces", silhouettes(1, 5, 256))
    small = "2 x 32x32, 320 faces"
    ours = compare(f"silhouette, {small}", silhouettes(2, 2, 32))
    dense = compare(f"dense brute force, {small}", silhouettes(2, 2, 32, dense_coverage))
    ratios = [theirs / mine for theirs, mine in zip(dense, ours)]
    print(f"\nDense brute force takes {ratios[0]:.1f} (forward), {ratios[1]:.1f} (gradient) times as long.")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
