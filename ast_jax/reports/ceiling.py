"""``launch.evaluate --ceiling``: how well this mesh, fitted to all views of each held-out object, can do at all."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.datasets.sources import data_root
from ast_jax.evaluation.evidence import measure_answers
from ast_jax.evaluation.protocols.freeshapes import evenly_spaced_views
from ast_jax.evaluation.results import summarize
from ast_jax.evaluation.tables import format_table
from ast_jax.files.writing import write_texts
from ast_jax.losses import iou_loss, laplacian_loss, normal_consistency_loss
from ast_jax.model.shape import QueryLayout, query_layout, spread
from ast_jax.model.template import sphere, template_vertices
from ast_jax.prediction import Prediction
from ast_jax.training.checkpoint import find_run
from ast_jax.training.run_config import load_config
from render import Camera, soft_coverage

_OBJECTS = 8  # at once: one program, and memory for their views alone
STEPS = 400
_RATE = 1e-2
_SIGMAS = (1e-3, 2e-5)  # squared NDC, from wide to narrow
_NAME = "this mesh, fitted to all views"


def measure_ceiling(checkpoint: str | Path) -> list[Path]:
    """Fit the mesh of a run to every view of its held-out objects, with the true cameras, and measure it.

    What a network with these queries, these views and this resolution may reach when it knows everything. A fit that
    stops early is a lower bound.

    Args:
      checkpoint: folder of the run, or of a checkpoint in it; its weights are not used.

    Returns:
      the files written, in ``evaluation/ceiling`` of the run.

    Raises:
      ValueError: there is no run, or its data set is gone, or has no 3D truth or no cameras.
    """
    workdir, _ = find_run(checkpoint)
    config = load_config(workdir)
    source = DataSource(data_root(config.data), config.evaluation.split, config.data)
    if source.truth(0).occupancy is None or source.camera_kind == "unknown":
        raise ValueError(f"--ceiling: {source.root} has no 3D truth or no cameras to fit with.")
    shape = config.model.shape
    layout = query_layout(shape.query_level, shape.level, shape.symmetric)
    ball = sphere(shape.level)
    template = template_vertices(shape.level, shape.radius, shape.axes).astype(np.float32)
    fit = make_fit(layout, template, ball.faces, config.stage.shape.losses)
    fitted = [np.asarray(fit(*_views(source, rows))) for rows in _chunks(len(source.ids))]
    views = [evenly_spaced_views(int(n), config.evaluation.num_views) for n in np.diff(source.first_sample)]
    shapes = np.repeat(np.concatenate(fitted)[: len(source.ids)], config.evaluation.num_views, axis=0)
    rows = {_NAME: measure_answers(Prediction(shapes, ball.faces), source, views)}
    table = format_table(rows)
    print(table, flush=True)
    files = {"metrics.json": json.dumps(summarize(rows[_NAME]), indent=1) + "\n", "table.md": table + "\n"}
    return write_texts(workdir / "evaluation" / "ceiling", files)


def _chunks(count: int) -> list[list[int]]:
    """Objects in groups of one size; the last object fills up the last group."""
    return [[min(i + k, count - 1) for k in range(_OBJECTS)] for i in range(0, count, _OBJECTS)]


def _views(source: DataSource, rows: list[int]) -> tuple[Camera, Float[np.ndarray, "o s h w"]]:
    """Cameras and masks of all views of some objects; of objects with more views than another the first ones."""
    count = int(np.diff(source.first_sample).min())
    batches = [evaluation_batch(source, k, list(range(count))) for k in rows]
    camera = jax.tree.map(lambda *leaves: np.stack([leaf[:, 0] for leaf in leaves]), *[b.camera for b in batches])
    return camera, np.stack([batch.target_masks[:, 0] for batch in batches])


def make_fit(
    layout: QueryLayout,
    template: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    weights: dict[str, float],
    steps: int = STEPS,
) -> Callable[[Camera, Float[np.ndarray, "o s h w"]], Float[jax.Array, "o v 3"]]:
    """Descent on the silhouettes of all views: ``iou + laplacian + normal``, Adam, sigma from wide to narrow.

    Args:
      layout: the queries whose displacements move the mesh.
      template: vertices to start from, world space.
      faces: of the mesh.
      weights: ``laplacian`` and ``normal``, of these terms; 0 for one that is missing.
      steps: how many.

    Returns:
      a compiled function of cameras with leading axes ``[o, s]`` and masks, coverage in [0, 1]: the fitted vertices.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, steps, 0.05))
    move = lambda offset: jnp.asarray(template)[None] + spread(layout, offset)  # noqa: E731

    def loss(offset, camera, targets, sigma):
        vertices, views = move(offset), len(targets) // len(offset)
        drawn = soft_coverage(camera.project(jnp.repeat(vertices, views, axis=0)), faces, targets.shape[1:], sigma)
        silhouette = iou_loss(drawn, targets).reshape(-1, views).mean(1)
        smooth = weights.get("laplacian", 0.0) * laplacian_loss(vertices, faces)
        smooth = smooth + weights.get("normal", 0.0) * normal_consistency_loss(vertices, faces)
        return (silhouette + smooth).sum()

    @jax.jit
    def fit(camera, masks):
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), camera)
        targets = masks.reshape(-1, *masks.shape[2:])

        def step(i, carry):
            offset, state = carry
            gradient = jax.grad(loss)(offset, flat, targets, _SIGMAS[0] * (_SIGMAS[1] / _SIGMAS[0]) ** (i / steps))
            update, state = optimizer.update(gradient, state)
            return optax.apply_updates(offset, update), state

        offset = jnp.zeros((len(masks), len(layout.positions), 3), jnp.float32)
        return move(jax.lax.fori_loop(0, steps, step, (offset, optimizer.init(offset)))[0])

    return fit
