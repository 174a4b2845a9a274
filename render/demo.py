"""Deforms a sphere into a mesh from its silhouettes alone, and films it.

    python -m render.demo --output=out [--mesh=model.obj]

Without --mesh the target is a cow made from a formula (`render.cow`). Writes `demo.gif` (the target beside the fit,
turning) and `fit.obj`, and prints what the fit is worth before and after.

The sphere's vertices move by `S u`: S smooths, u is what Adam optimises. The loss is 1 - IoU of soft silhouettes, plus
two terms that keep the surface fair. Borders are wide at first, so that they feel far, and narrow at last.

Source: Liu et al., Soft Rasterizer, ICCV 2019, section 5.1 (loss); Nicolet, Jacobson and Jakob, Large Steps in Inverse
Rendering of Geometry, SIGGRAPH Asia 2021 (S).
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from render.arrays import Array
from render.camera import NMR_DISTANCE, PerspectiveCamera, orbit
from render.cow import cow
from render.interpolate import interpolate
from render.light import DirectionalLight
from render.mesh import Mesh, edge_face_pairs, face_normals, icosphere, unique_edges
from render.rasterize import rasterize
from render.render import render
from render.soft_coverage import soft_coverage
from render.texture import VertexColours

# Strength of the smoothing S: displacements spread over about the square root of it in edges.
_SMOOTHNESS = 30.0
# Squared NDC, first and last: borders of about 3 / 2 and of 1 / 4 pixel at 96 pixels.
_SIGMAS = (1e-3, 3e-5)
# Weight of the mean of 1 - cos between neighbouring faces.
_BENDING = 0.006
# Radius of the sphere: small, so that limbs grow out; those that shrink on the object tend to turn inside out.
_START = 0.15
_FOV_Y_RAD = 0.45


class Fit(NamedTuple):
    """What `fit_silhouettes` found.

    Attributes:
        faces: of the sphere.
        history: vertices on the way, first to last.
    """

    faces: Int[np.ndarray, "f 3"]
    history: Float[np.ndarray, "m v 3"]

    @property
    def vertices(self) -> Float[np.ndarray, "v 3"]:
        """The result."""
        return self.history[-1]


def fit_silhouettes(
    masks: Float[Array, "b h w"],
    cameras: PerspectiveCamera,
    *,
    level: int = 4,
    steps: int = 400,
    learning_rate: float = 0.02,
    frames: int = 40,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> Fit:
    """Deforms a sphere until its silhouettes are the given ones, see the top.

    Args:
        masks: coverage in [0, 1] of one object.
        cameras: that saw it, leading axis b.
        level: of the icosphere.
        steps: of Adam.
        learning_rate: world units a step.
        frames: how many states to keep, evenly over the steps.
        report: called with step and loss for every kept state.

    Returns:
        The mesh.
    """
    import optax  # Not needed to render.

    sphere, faces = icosphere(level)
    start, smoothing = jnp.asarray(_START * sphere, jnp.float32), jnp.asarray(_smoothing(faces), jnp.float32)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps, 0.1), b2=0.99)
    pairs, num_views = edge_face_pairs(faces), masks.shape[0]

    def loss_of(offset, sigma):
        vertices = start + jnp.matmul(smoothing, offset, precision=jax.lax.Precision.HIGHEST)
        many = jnp.broadcast_to(vertices, (num_views, *vertices.shape))
        coverage = soft_coverage(cameras.project(many), faces, masks.shape[1:], sigma)
        normals = face_normals(vertices[None], faces)[0]
        bending = jnp.mean(1.0 - jnp.sum(normals[pairs[:, 0]] * normals[pairs[:, 1]], axis=-1))
        return jnp.mean(1.0 - soft_iou(coverage, masks)) + _BENDING * bending, vertices

    @jax.jit
    def update(offset, state, sigma):
        (loss, vertices), gradient = jax.value_and_grad(loss_of, has_aux=True)(offset, sigma)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(offset, change), state, loss, vertices

    offset, history = jnp.zeros_like(start), []
    state = optimizer.init(offset)
    kept = set(np.linspace(0, steps, min(frames, steps + 1)).round().astype(int).tolist())
    for step in range(steps + 1):
        sigma = _SIGMAS[0] * (_SIGMAS[1] / _SIGMAS[0]) ** (step / max(steps, 1))
        offset, state, loss, vertices = update(offset, state, sigma)
        if step in kept:
            history.append(np.asarray(vertices))
            report(step, float(loss))
    return Fit(faces, np.stack(history))


def soft_iou(first: Float[Array, "b h w"], second: Float[Array, "b h w"]) -> Float[jax.Array, " b"]:
    """Intersection over union of coverages in [0, 1]: `sum a b / sum (a + b - a b)`."""
    both = first * second
    return jnp.sum(both, (1, 2)) / jnp.sum(first + second - both, (1, 2))


def _smoothing(faces: np.ndarray) -> np.ndarray:
    """`(I + s L)^-1` with the graph Laplacian L of a closed mesh."""
    count = faces.max() + 1
    first, second = unique_edges(faces).T
    matrix = np.eye(count)
    matrix[first, second] = matrix[second, first] = -_SMOOTHNESS
    np.add.at(matrix, (first, first), _SMOOTHNESS)
    np.add.at(matrix, (second, second), _SMOOTHNESS)
    return np.linalg.inv(matrix)


def masks_of(
    vertices: Float[Array, "v 3"], faces: Int[np.ndarray, "f 3"], cameras: PerspectiveCamera, size: int
) -> Float[jax.Array, "b size size"]:
    """Square silhouettes: the share of 4 x 4 samples in each pixel that see a face."""
    seen = _look(_repeated(vertices, faces, cameras), cameras, 4 * size)[0] >= 0
    return seen.reshape(-1, size, 4, size, 4).mean((2, 4))


def seen_points(
    vertices: Float[Array, "v 3"], faces: Int[np.ndarray, "f 3"], cameras: PerspectiveCamera, size: int = 96
) -> Float[np.ndarray, "m 3"]:
    """Points of the surface that the pixels of some views see."""
    face_id, points = _look(_repeated(vertices, faces, cameras), cameras, size)
    return np.asarray(points)[np.asarray(face_id) >= 0]


def _repeated(vertices: Array, faces: np.ndarray, cameras: PerspectiveCamera) -> Mesh:
    count = cameras.translation.shape[0]
    return Mesh(jnp.broadcast_to(jnp.asarray(vertices, jnp.float32), (count, *vertices.shape)), faces)


@functools.partial(jax.jit, static_argnames="size")
def _look(mesh: Mesh, cameras: PerspectiveCamera, size: int) -> tuple[jax.Array, jax.Array]:
    """Nearest faces of square pictures, and the points that they are seen at."""
    fragments = rasterize(cameras.project(mesh.vertices), mesh.faces, (size, size))
    return fragments.face_id, interpolate(fragments, mesh.vertices, mesh.faces)


def chamfer(first: Float[np.ndarray, "m 3"], second: Float[np.ndarray, "n 3"]) -> float:
    """Mean distance from a point of one set to the nearest of the other, mean of both ways, world units."""
    from scipy.spatial import cKDTree  # ty: ignore[missing-module-member]  # Not needed to render.

    return float(0.5 * (cKDTree(second).query(first)[0].mean() + cKDTree(first).query(second)[0].mean()))


def draw(
    vertices: Float[Array, "b v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: PerspectiveCamera,
    size: int,
    colours: Float[Array, "v 3"] | None = None,
) -> UInt8[np.ndarray, "b size size 3"]:
    """Square pictures in the light of a lamp above the camera; clay where no colours are given.

    Args:
        vertices: one shape for each camera.
        faces: of all of them.
        cameras: leading axis b.
        size: side of a picture in pixels; each is the mean of 2 x 2 samples.
        colours: of the vertices, in [0, 1].

    Returns:
        Pictures on white.
    """
    clay = np.array([0.61, 0.72, 0.90])
    colours = np.broadcast_to(clay if colours is None else colours, vertices.shape)
    mesh = Mesh(jnp.asarray(vertices, jnp.float32), faces)
    samples = np.asarray(_lit(mesh, cameras, jnp.asarray(colours, jnp.float32), 2 * size))
    samples = samples.reshape(-1, size, 2, size, 2, 3).mean((2, 4))
    return (255 * np.clip(samples, 0, 1) + 0.5).astype(np.uint8)


@functools.partial(jax.jit, static_argnames="size")
def _lit(mesh: Mesh, cameras: PerspectiveCamera, colours: jax.Array, size: int) -> jax.Array:
    count = colours.shape[0]
    lamp = cameras.position_world + jnp.array([[0.0, 1.5, 0.0]])
    light = DirectionalLight(lamp, jnp.full((count, 3), 0.75), jnp.full((count, 3), 0.4))
    return render(mesh, cameras, (size, size), texture=VertexColours(colours), light=light, blending="antialias").rgb


def ring(count: int, shift_rad: float = 0.0) -> PerspectiveCamera:
    """Cameras all around, in turn from below, from the side and from above."""
    index = jnp.arange(count)
    elevation = jnp.deg2rad(jnp.array([-25.0, 10.0, 45.0]))[index % 3]
    return orbit(NMR_DISTANCE, elevation, index * (2.0 * jnp.pi / count) + shift_rad, _FOV_Y_RAD)


def read_mesh(path: str) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """A mesh file of any kind that trimesh reads, moved and scaled into the sphere of radius 0.5.

    Raises:
        ValueError: nothing to draw in the file.
    """
    import trimesh  # Not needed to render.

    mesh = trimesh.load(path, force="mesh", process=False)
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise ValueError(f"--mesh={path} has no faces; give a file with a triangle mesh")
    vertices = np.asarray(mesh.vertices, np.float64)
    vertices = vertices - 0.5 * (vertices.min(0) + vertices.max(0))
    return 0.5 * vertices / np.linalg.norm(vertices, axis=1).max(), np.asarray(mesh.faces, np.int32)


def film(target: tuple, fit: Fit, size: int = 150) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The target beside the fit on its way, in one turn of the camera; then one more quarter with the result."""
    from PIL import Image, ImageDraw, ImageFont  # Not needed to render.

    vertices, faces, colours = target
    shapes = np.concatenate([fit.history, np.repeat(fit.history[-1:], max(len(fit.history) // 4, 1), axis=0)])
    azimuth = 0.6 + jnp.arange(len(shapes)) * (2.0 * jnp.pi / len(shapes))
    cameras = orbit(NMR_DISTANCE, 0.3, azimuth, 0.40)
    left = draw(np.broadcast_to(vertices, (len(shapes), *vertices.shape)), faces, cameras, size, colours)
    right = draw(shapes, fit.faces, cameras, size)
    font, frames = ImageFont.load_default(12), []
    for pair in np.concatenate([left, right], axis=2):
        picture = Image.fromarray(pair)
        for column, label in enumerate(("target", "fit to its silhouettes")):
            place = ((column + 0.5) * size, size - 4)
            ImageDraw.Draw(picture).text(place, label, fill=(90, 90, 90), font=font, anchor="ms")
        frames.append(np.asarray(picture))
    return frames


def write_gif(path: Path, frames: list[UInt8[np.ndarray, "h w 3"]], seconds: float = 0.12) -> None:
    """An endless GIF of 128 colours."""
    from PIL import Image  # Not needed to render.

    # One palette for all, from the middle and the last frame: colours that changed would flicker.
    palette = Image.fromarray(np.concatenate([frames[len(frames) // 2], frames[-1]])).quantize(128)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    options = dict(save_all=True, append_images=pictures[1:], duration=int(1000 * seconds), loop=0)
    _write(path, lambda partial: pictures[0].save(partial, format="GIF", **options))


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """A Wavefront OBJ file."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in faces + 1]
    _write(path, lambda partial: partial.write_text("\n".join(lines) + "\n"))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """A file as a whole or not at all: written beside its place and renamed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def scores(target: tuple, vertices: Array, faces: Array, views: int, size: int) -> dict[str, float]:
    """What a shape is worth beside the target: silhouettes that were fitted, silhouettes that were not, distance."""
    values, others = {}, ring(views, shift_rad=0.2)
    for name, cameras in (("fitted views", ring(views)), ("other views", others)):
        both = (masks_of(*shape, cameras, size) for shape in (target[:2], (vertices, faces)))
        values[f"silhouette IoU, {name}"] = float(jnp.mean(soft_iou(*both)))
    values["Chamfer distance"] = chamfer(seen_points(*target[:2], others), seen_points(vertices, faces, others))
    return values


def parse() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(prog="python -m render.demo", description="Fits a sphere to silhouettes.")
    parser.add_argument("--output", default="out", help="folder for demo.gif and fit.obj")
    parser.add_argument("--mesh", help="target, any file that trimesh reads; default: a cow")
    numbers = (
        ("steps", 400, "of Adam"),
        ("views", 16, "silhouettes"),
        ("size", 96, "their side in pixels"),
        ("level", 4, "of the icosphere: 10 * 4^level + 2 vertices"),
        ("frames", 32, "states that the film shows on the way"),
    )
    for name, default, text in numbers:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    return parser.parse_args()


def main() -> None:
    """Flags in, files and numbers out."""
    flags, began = parse(), time.perf_counter()
    target = (*read_mesh(flags.mesh), None) if flags.mesh else cow()
    cameras = ring(flags.views)
    masks = masks_of(*target[:2], cameras, flags.size)

    def report(step: int, loss: float) -> None:
        print(f"\rstep {step}/{flags.steps}  loss {loss:.3f}", end="", flush=True)

    fit = fit_silhouettes(masks, cameras, level=flags.level, steps=flags.steps, frames=flags.frames, report=report)
    shapes = fit.history[0], fit.vertices
    before, after = (scores(target, shape, fit.faces, flags.views, flags.size) for shape in shapes)
    print("\n" + "\n".join(f"{name:30s} {before[name]:.4f} -> {after[name]:.4f}" for name in before))
    output = Path(flags.output)
    output.mkdir(parents=True, exist_ok=True)
    write_gif(output / "demo.gif", film(target, fit))
    write_obj(output / "fit.obj", fit.vertices, fit.faces)
    print(f"wrote {output}/demo.gif and {output}/fit.obj in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
