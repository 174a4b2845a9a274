"""``launch.evaluate --probe``: which parts of the picture's encoding a trained model reads, and what they are worth."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from ast_jax.compile_options import quick_options
from ast_jax.data.pipeline import DataSource
from ast_jax.datasets.sources import data_root
from ast_jax.evaluation.evidence import PredictWith, evaluate_probe, evidence_use, format_use
from ast_jax.evaluation.results import summarize
from ast_jax.files.writing import write_texts
from ast_jax.model import Model
from ast_jax.model.textures import FlowTexture, ProjectedTexture, TextureTransformer
from ast_jax.training.checkpoint import find_run, load_model

_NOTE = (
    "Each row: what the scores change by when that evidence is taken from another object in the same view; mean over\n"
    "held-out objects, 95 % bootstrap interval over objects, paired. What can be exchanged at no cost is not read."
)
# What a picture is to each branch: tokens of the shape decoder, the vector of the coarse shape and of the cameras, the
# maps that steps of synthesis and texture queries read, and the picture whose colours these take.
EVIDENCE = {
    "tokens": "tokens",
    "summary": "summary",
    "features": "maps",
    "image": "gathered picture",
    "coverage": "coverage",
}
_KEYS = {label: name for name, label in EVIDENCE.items()}
# Learned part -> what it is there to read, and the score that another object's must cost.
READERS = {
    "Shape Transformer": ("tokens", "iou_3d"),
    "steps of synthesis": ("coverage", "iou_3d"),
    "learned steps of synthesis": ("maps", "iou_3d"),
    "Texture Transformer": ("maps", "psnr_overlap"),
    "colours of the picture": ("gathered picture", "psnr_overlap"),
}
# Less than this is no cost: over a thousand pictures an interval can leave out 0 by a thousandth.
LEAST = {"iou_3d": 0.005, "psnr_overlap": 0.05}
CHANNELS = {"image": slice(0, 3), "coverage": slice(3, 4)}


def probe(checkpoint: str | Path) -> list[Path]:
    """Measure the use of evidence on the held-out objects of a run.

    Args:
      checkpoint: folder of the run, for its newest, or of a checkpoint in it, or ``.../checkpoints/best``.

    Returns:
      the files written, in ``evaluation/probe`` of the run.

    Raises:
      ValueError: there is no run or no checkpoint, or its data set is gone or has no 3D truth.
    """
    model, config = load_model(checkpoint)
    workdir, _ = find_run(checkpoint)
    source = DataSource(data_root(config.data), config.evaluation.split, config.data)
    if source.truth(0).occupancy is None:
        raise ValueError(f"--probe: {source.root} has no 3D truth to measure with.")
    names = [label for name, label in EVIDENCE.items() if name in _live_evidence(model)]
    rows = evaluate_probe(make_probe(model), names, source, config.evaluation.num_views)
    use = evidence_use(rows)
    idle = unread(model, use)
    text = f"{format_use(use, rows)}\n\n{_NOTE}\n"
    if idle:
        text += f"\nNOT READ, as another object's does as well: {'; '.join(idle)}.\n"
    print(text, flush=True)
    numbers = {"use": use, "not_read": idle, "scores": {name: summarize(row) for name, row in rows.items()}}
    files = {"metrics.json": json.dumps(numbers, indent=1) + "\n", "table.md": text}
    return write_texts(workdir / "evaluation" / "probe", files)


def make_probe(model: Model) -> PredictWith:
    """The model, compiled once for each evidence that is exchanged."""
    graphdef, params = nnx.split(model)

    @functools.partial(jax.jit, static_argnames="exchanged", compiler_options=quick_options())
    def predict(params, image, other, exchanged):
        merged = nnx.merge(graphdef, params)
        encoding, shown = merged.encode(image), image
        if exchanged in encoding._fields:
            theirs, names = merged.encode(other), ("summary", "mirrored") if exchanged == "summary" else (exchanged,)
            encoding = encoding._replace(**{name: getattr(theirs, name) for name in names})
        if exchanged in CHANNELS:
            channels = CHANNELS[exchanged]
            shown = image.at[..., channels].set(other[..., channels])
        return merged.answer(shown, encoding)

    return lambda image, other, label: predict(params, jnp.asarray(image), jnp.asarray(other), _KEYS.get(label, label))


def unread(model: Model, use: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The parts of a model that could be fed with another picture at no cost: the interval reaches ``LEAST``.

    Args:
      model: its structure counts.
      use: of `evidence_use`.

    Returns:
      "part (evidence)" of each, in the order of ``READERS``.
    """
    idle = []
    for part in _readers(model):
        evidence, metric = READERS[part]
        # Without a score, as without colours, nothing is shown either way.
        worth = use[evidence].get(metric)
        if worth is not None and not worth["low"] > LEAST[metric]:
            idle.append(f"{part} ({evidence})")
    return idle


def _readers(model: Model) -> list[str]:
    """Which of ``READERS`` this model has, in their order."""
    shape, texture = model.shape, model.texture
    draws = shape.synthesis is not None
    has = {
        "Shape Transformer": shape.decoder is not None,
        "steps of synthesis": draws,
        "learned steps of synthesis": draws and shape.synthesis.network is not None,
        "Texture Transformer": isinstance(texture, TextureTransformer),
        "colours of the picture": isinstance(texture, TextureTransformer | ProjectedTexture | FlowTexture),
    }
    return [part for part in READERS if has[part]]


def _live_evidence(model: Model) -> set[str]:
    """What some branch of this model takes in at all."""
    readers = _readers(model)
    return {_KEYS[READERS[part][0]] for part in readers} | {"summary"}
