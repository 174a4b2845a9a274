"""What a trained model reads: its answers when one kind of evidence is another object's, in the same view."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.evaluation.camera_error import rotation_errors_deg
from ast_jax.evaluation.metrics.viewpoints import measure_rotations
from ast_jax.evaluation.paired import paired_difference
from ast_jax.evaluation.protocols.base import Item
from ast_jax.evaluation.protocols.freeshapes import evenly_spaced_views, freeshapes
from ast_jax.evaluation.results import Evaluation
from ast_jax.evaluation.tables import COLUMNS
from ast_jax.prediction import Prediction

# Pictures, those of other objects in the same view, name of the evidence that is taken from these -> answers.
PredictWith = Callable[[np.ndarray, np.ndarray, str], Prediction]

NOTHING = "nothing"
METRICS = ("iou_3d", "iou_front", "iou_hidden", "mask_iou_seen", "psnr_overlap", "camera_error_deg")
_BATCH = 16  # pictures
_NUM_POINTS = 1000  # surface scores are not asked for; the protocol samples them all the same


def evaluate_probe(
    predict_with: PredictWith,
    evidence: Sequence[str],
    source: DataSource,
    num_views: int,
) -> dict[str, Evaluation]:
    """The model as it is, and with each kind of evidence taken from the next object of the split.

    Args:
      predict_with: the model.
      evidence: names of what can be exchanged.
      source: the split; its objects have the same views.
      num_views: input views per object, evenly spaced.

    Returns:
      ``NOTHING`` and every evidence -> the metrics of ``METRICS`` that the model has.

    Raises:
      ValueError: fewer than two objects: there is no other one.
    """
    if len(source.ids) < 2:
        raise ValueError(f"--probe: {source.root} has {len(source.ids)} object in the split, the probe needs two.")
    views = [evenly_spaced_views(int(n), num_views) for n in np.diff(source.first_sample)]
    pictures = np.stack([evaluation_batch(source, k, chosen).image for k, chosen in enumerate(views)])
    others = np.roll(pictures, -1, axis=0)
    return {
        name: measure_answers(_answers(predict_with, name, pictures, others), source, views)
        for name in (NOTHING, *evidence)
    }


def _answers(predict_with: PredictWith, name: str, pictures, others) -> Prediction:
    """Answers to all pictures, object after object."""
    flat = [x.reshape(-1, *x.shape[2:]) for x in (pictures, others)]
    count = len(flat[0])
    padded = [np.concatenate([x, np.repeat(x[:1], -count % _BATCH, axis=0)]) for x in flat]
    starts = range(0, len(padded[0]), _BATCH)
    parts = [jax.device_get(predict_with(*(x[i : i + _BATCH] for x in padded), name)) for i in starts]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def measure_answers(answers: Prediction, source: DataSource, views: list[list[int]]) -> Evaluation:
    """Score answers that are there already.

    Args:
      answers: one per view that was seen, object after object.
      source: the split.
      views: of each object, as many everywhere.

    Returns:
      the metrics of ``METRICS`` that can be had.
    """
    protocol, each = freeshapes(len(views[0]), _NUM_POINTS), len(views[0])

    def one(k: int) -> dict:
        ours = answers[k * each : (k + 1) * each]
        item = Item(source, k, tuple(views[k]), ours, source.truth(k))
        row, cameras = protocol.measure(item), measure_rotations(item)
        if cameras:
            row["camera_error_deg"] = rotation_errors_deg(cameras["rotation"], cameras["true_rotation"]).mean()
        return row

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(one, range(len(source.ids))))
    names = [name for name in METRICS if name in rows[0]]
    values = {name: np.array([row[name] for row in rows]) for name in names}
    weights = {name: (~np.isnan(x)).astype(float) for name, x in values.items() if np.isnan(x).any()}
    return Evaluation(tuple(source.ids), values, weights)


def evidence_use(rows: dict[str, Evaluation]) -> dict[str, dict[str, dict[str, float]]]:
    """What each evidence is worth: the metric with it less the metric with another object's, paired over objects.

    Args:
      rows: of `evaluate_probe`.

    Returns:
      evidence -> metric -> ``mean``, ``low``, ``high`` (95 %), ``larger``: objects that lose by the exchange, and
      ``objects``.
    """
    whole = rows[NOTHING].metrics
    return {
        name: {metric: vars(paired_difference([whole[metric]], [row.metrics[metric]])) for metric in row.metrics}
        for name, row in rows.items()
        if name != NOTHING
    }


def format_use(use: dict[str, dict[str, dict[str, float]]], rows: dict[str, Evaluation]) -> str:
    """A Markdown table: the model as it is in the first row, then what it loses by each exchange."""
    names = list(rows[NOTHING].metrics)
    digits = [COLUMNS[name][1] for name in names]
    lines = [["of another object", *(COLUMNS[name][0] for name in names)], ["---", *["---:"] * len(names)]]
    lines.append([NOTHING, *(f"{rows[NOTHING].mean(name):.{d}f}" for name, d in zip(names, digits))])
    for evidence, metrics in use.items():
        lines.append([evidence, *(_loss(metrics[name], d) for name, d in zip(names, digits))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _loss(worth: dict[str, float], digits: int) -> str:
    """What the score changes by when the evidence is taken away."""
    mean, low, high = (f"{0.0 - worth[name]:+.{digits}f}" for name in ("mean", "high", "low"))
    return f"{mean} [{low}, {high}]"
