"""Pictures and gradients of every mode and backend beside brute force in float64.

    python -m benchmarks.gpu --parts=correctness

The oracle is `tests.render.reference`. Gradients are compared along random directions with its central differences. A
wrong result ends the process with an exit code, so that the page says so.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from benchmarks.gpu.backends import available_backends
from benchmarks.gpu.options import is_tiny, say, seconds_left
from render import Mesh, VertexColours, icosphere, orbit, render, soft_coverage
from tests.render import reference

_SIGMA, _GAMMA, _CUTOFF, _SKY = 2e-3, 3e-3, 1e-10, (0.2, 0.5, 0.9)
_MODES = ("softmax", "layered", "hard", "antialias")
# Of colours in [0, 1]; of gradients relative to their size. nvdiffrast moves vertices to a grid of 1/16 pixel.
_TOLERANCE = {"picture": 1e-3, "gradient": 1e-3}
_COARSE = {"picture": 0.25, "gradient": 0.1}
_STEP, _MOVES = 2e-6, 3


class Trial(NamedTuple):
    """A small scene in float64.

    Attributes:
        points: `[v, 3]`.
        faces: `[f, 3]`.
        colours: `[v, 3]`.
        image_size: height and width in pixels.
    """

    points: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    image_size: tuple[int, int]

    @property
    def name(self) -> str:
        """Faces and pixels."""
        return f"{len(self.faces)} faces, {'x'.join(map(str, self.image_size))}"

    @property
    def weights(self) -> np.ndarray:
        """`[h, w, 4]` of rgb and alpha in the number that is differentiated."""
        return np.random.default_rng(1).normal(size=(*self.image_size, 4))


def main(argv: list[str]) -> None:
    """Flags in, table out."""
    del argv
    say("| backend | mode | scene | picture | at most | gradient | at most | |")
    say("| --- | --- | --- | ---: | ---: | ---: | ---: | --- |")
    wrong = left_out = 0
    for backend, mode, trial in _trials(is_tiny()):
        if seconds_left() < 5:
            left_out += 1
            continue
        wrong += not _compare(backend, mode, trial)
    wrong += not _many_chunks(is_tiny())
    if left_out:
        say(f"\n{left_out} rows were left out: the time is up.")
    if wrong:
        sys.exit(f"{wrong} rows differ from the reference by more than they may")


def _trials(tiny: bool) -> Iterator[tuple[str, str, Trial]]:
    backends = available_backends(say)
    # A trial is about the comparison: tests hold every mode to the same oracle.
    modes = ("layered",) if tiny else _MODES
    for level, size in ((0, (11, 15)),) if tiny else ((0, (11, 15)), (1, (24, 24))):
        for backend in backends:
            for mode in modes:
                if backend == "xla" or mode in ("hard", "antialias"):
                    yield backend, mode, make_trial(level, size)


def make_trial(level: int, image_size: tuple[int, int]) -> Trial:
    """A bumpy icosphere with coloured vertices."""
    rng, (points, faces) = np.random.default_rng(0), icosphere(level)
    # What float32 holds exactly, so that both sides see the same scene.
    points = (0.5 * points + 0.06 * rng.normal(size=points.shape)).astype(np.float32).astype(np.float64)
    colours = rng.random(points.shape).astype(np.float32).astype(np.float64)
    return Trial(points, faces, colours, image_size)


def _compare(backend: str, mode: str, trial: Trial) -> bool:
    limits = _TOLERANCE if backend == "xla" else _COARSE
    single = [jnp.asarray(part, jnp.float32) for part in (trial.points, trial.colours)]

    def number(points, colours):
        picture = draw(backend, mode, trial, points, colours)
        return (picture * jnp.asarray(trial.weights, jnp.float32)).sum(), picture

    gradients, picture = jax.jit(jax.grad(number, argnums=(0, 1), has_aux=True))(*single)
    by_definition = define(mode, trial, trial.points, trial.colours)
    errors = {
        "picture": float(np.abs(np.asarray(picture) - by_definition).max()),
        "gradient": _gradient_error(mode, trial, gradients),
    }
    good = all(errors[name] <= limits[name] for name in limits)  # False where one is not a number
    cells = " | ".join(f"{errors[name]:.1e} | {limits[name]:.0e}" for name in limits)
    say(f"| {backend} | {mode} | {trial.name} | {cells} | {'' if good else '**wrong**'} |")
    return good


def draw(backend: str, mode: str, trial: Trial, points: jax.Array, colours: jax.Array) -> jax.Array:
    """`[h, w, 4]` rgb and alpha by the renderer."""
    picture = render(
        Mesh(points[None], trial.faces), _camera(), trial.image_size, texture=VertexColours(colours[None]),
        blending=mode, background=_SKY, sigma=_SIGMA, gamma=_GAMMA, cutoff=_CUTOFF, backend=backend,
    )  # fmt: skip
    return jnp.concatenate([picture.rgb[0], picture.alpha[0][..., None]], axis=-1)


def define(mode: str, trial: Trial, points: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """`[h, w, 4]` rgb and alpha by brute force."""
    faces, size, sky, clip = trial.faces, trial.image_size, np.array(_SKY), _project(points)
    scene, soft = (clip, faces, size), dict(sigma=_SIGMA, cutoff=_CUTOFF)

    def colour(index, weights):
        return weights @ colours[faces[index]]

    if mode == "antialias":
        picture, face_id, depth = reference.painted(*scene, colour, sky)
        return reference.antialias(picture, face_id, depth, clip, faces)
    if mode == "softmax":
        rgb = reference.softmax(*scene, colour, near=0.1, far=100.0, gamma=_GAMMA, background=sky, **soft)
        alpha = reference.coverage(*scene, **soft)
    else:
        rgb, alpha = getattr(reference, mode)(*scene, colour, background=sky, **soft)
    return np.concatenate([rgb, alpha[..., None]], axis=-1)


def _camera():
    return orbit(*(np.full(1, value) for value in (2.7, 0.4, 1.3, 0.55)))


def _project(points: np.ndarray) -> np.ndarray:
    camera = _camera()
    rotation, translation, focal = (
        np.asarray(part[0], np.float64) for part in (camera.rotation, camera.translation, camera.focal)
    )
    view = points @ rotation.T + translation
    return np.concatenate([view[:, :2] * focal, 0 * view[:, 2:], -view[:, 2:]], axis=1)


def _gradient_error(mode: str, trial: Trial, gradients: tuple[jax.Array, jax.Array]) -> float:
    """Of the derivatives along random moves, relative to their size, by vertices or by colours: the greater one."""
    rng, errors = np.random.default_rng(2), []
    for which, gradient in enumerate(gradients):
        found, wanted = [], []
        for _ in range(_MOVES):
            move = rng.normal(size=gradient.shape)
            found.append((np.asarray(gradient, np.float64) * move).sum())
            values = []
            for step in (-2, -1, 1, 2):
                parts = [trial.points, trial.colours]
                parts[which] = parts[which] + step * _STEP * move
                values.append((define(mode, trial, *parts) * trial.weights).sum())
            # Central differences of fourth order.
            wanted.append((8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * _STEP))
        errors.append(np.linalg.norm(np.subtract(found, wanted)) / np.linalg.norm(wanted))
    return float(max(errors))


def _many_chunks(tiny: bool) -> bool:
    """Silhouettes of so many copies of a scene that the work list has several chunks on an accelerator."""
    trial, copies = make_trial(1, (24, 24)), 4 if tiny else 256
    points = jnp.broadcast_to(jnp.asarray(trial.points, jnp.float32), (copies, *trial.points.shape))
    camera = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (copies, *leaf.shape[1:])), _camera())

    def silhouettes(points):
        return soft_coverage(camera.project(points), trial.faces, trial.image_size, _SIGMA, cutoff=_CUTOFF)

    by_definition = reference.coverage(_project(trial.points), trial.faces, trial.image_size, _SIGMA, _CUTOFF)
    error = float(np.abs(np.asarray(jax.jit(silhouettes)(points)) - by_definition).max())
    limit = _TOLERANCE["picture"]
    good = error <= limit
    name = f"{copies} x {trial.name}"
    say(f"| xla | silhouette | {name} | {error:.1e} | {limit:.0e} | | | {'' if good else '**wrong**'} |")
    return good


if __name__ == "__main__":
    app.run(main)
