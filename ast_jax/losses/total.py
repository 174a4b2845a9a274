"""The weighted sum of all terms of a stage; what a term is says `ast_jax.losses.term`."""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import ast_jax.losses as losses
from ast_jax.batch import Batch
from ast_jax.losses.term import CAMERA, CANDIDATES, NEIGHBOURS, TEXTURE, LossInputs, Seen, Term
from ast_jax.prediction import Prediction

# Terms that are live, with their weights.
Weighted = Sequence[tuple[Term, float | Float[Array, ""]]]

# Below this difference the losses through two cameras are the same.
_TINY = 1e-12


def _find_terms() -> dict[str, Term]:
    """Those of every file of this folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(losses.__path__) if module.name != "total")
    modules = [importlib.import_module(f"{losses.__name__}.{name}") for name in names]
    found = [term for module in modules for term in getattr(module, "TERMS", ())]
    terms = {term.name: term for term in found}
    if len(terms) < len(found):
        raise ValueError(f"two loss terms have one name: {sorted(term.name for term in found)}.")
    return terms


TERMS = _find_terms()


def total_loss(
    prediction: Prediction, batch: Batch, weights: dict[str, float | Float[Array, ""]], inputs: LossInputs
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Weighted sum over the terms, mean over the batch.

    Args:
      prediction: what the model gave.
      batch: the supervising views.
      weights: term -> weight.
      inputs: see `LossInputs`.

    Returns:
      the loss, and every term unweighted under ``loss/<name>``.

    Raises:
      ValueError: a term that does not exist, or one that this model or data set cannot give.
    """
    terms = _live_terms(weights, inputs)
    if prediction.camera is None:
        values = _means(terms, prediction, batch, batch.camera, inputs)
    else:
        values = _with_candidates(terms, prediction, batch, inputs)
    loss = sum(weights[name] * value for name, value in values.items())
    return loss, {f"loss/{name}": value for name, value in values.items()}


def multiplex_loss(
    prediction: Prediction, batch: Batch, weights: dict[str, float | Float[Array, ""]], inputs: LossInputs
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]], Float[Array, "b k"]]:
    """The expected loss over the cameras of a multiplex, all of which move with the shape.

    ``sum_k p_k L_k`` with ``p = softmax(-peakiness (L - min L) / (max L - min L))`` over the cameras of a picture;
    ``L_k`` is the weighted sum of the terms that look through camera k. All other terms count once.

    Args:
      prediction: what the model gave, and in ``camera`` the cameras of the multiplex.
      batch: its first supervising view is compared, and ``input_camera`` is what terms on cameras compare with.
      weights: term -> weight.
      inputs: see `LossInputs`.

    Returns:
      the loss, every term unweighted under ``loss/<name>``, and ``L_k``, without a gradient.

    Raises:
      ValueError: as `total_loss`.

    Source: Goel et al., U-CMR, ECCV 2020. That no gradient goes through ``p`` is our choice.
    """
    terms = _live_terms(weights, inputs)
    shape = prediction.camera.translation.shape[:2]
    seen = _seen(terms, prediction, _first_view(batch, shape[1]), prediction.camera, inputs)
    values = {term.name: term.function(seen) for term, _ in terms}
    views = {name: value.reshape(shape) for name, value in values.items() if value.size == np.prod(shape)}
    scores = jax.lax.stop_gradient(sum((weights[name] * value for name, value in views.items()), jnp.zeros(shape)))
    low, high = (bound(scores, axis=1, keepdims=True) for bound in (jnp.min, jnp.max))
    share = jax.nn.softmax(-inputs.peakiness * (scores - low) / jnp.maximum(high - low, _TINY))
    means = {
        name: (views[name] * share).sum(1).mean() if name in views else value.mean() for name, value in values.items()
    }
    loss = sum(weights[name] * value for name, value in means.items())
    return loss, {f"loss/{name}": value for name, value in means.items()}, scores


def _live_terms(weights: dict, inputs: LossInputs) -> Weighted:
    """With their weights."""
    unknown = set(weights) - set(TERMS)
    if unknown:
        raise ValueError(f"unknown loss terms {sorted(unknown)}; there are {', '.join(TERMS)}.")
    live = [term for name, term in TERMS.items() if name in weights and inputs.phase in term.phases]
    return [
        (term, weights[term.name]) for term in live if term.needs is not NEIGHBOURS or inputs.neighbours is not None
    ]


def _seen(terms: Weighted, prediction: Prediction, batch: Batch, camera, inputs: LossInputs) -> Seen:
    with_colour = any(term.needs is TEXTURE for term, _ in terms)
    return Seen(prediction, batch, camera, inputs, with_colour, tuple(terms))


def _means(terms: Weighted, *seen) -> dict[str, Float[Array, ""]]:
    seen = _seen(terms, *seen)
    return {term.name: term.function(seen).mean() for term, _ in terms}


def _with_candidates(
    terms: Weighted, prediction: Prediction, batch: Batch, inputs: LossInputs
) -> dict[str, Float[Array, ""]]:
    """Unknown camera, as in the released AST code and Unicorn: alternate between pose and shape.

    The pose phase renders every candidate with the shape held still and weights the losses with the candidates'
    probabilities; the shape phase renders the most probable candidate, held still. No camera is known, so no term
    compares the predicted one with it.
    """
    terms = [pair for pair in terms if pair[0].needs is not CAMERA]
    probs = jax.nn.softmax(prediction.camera_logits)
    if inputs.phase != "pose":
        best = jnp.argmax(prediction.camera_logits, axis=1)
        camera = jax.tree.map(lambda x: jax.vmap(lambda row, i: row[i][None])(x, best), prediction.camera)
        return _means(terms, prediction, _first_view(batch, 1), jax.lax.stop_gradient(camera), inputs)
    still = replace(
        prediction,
        vertices=jax.lax.stop_gradient(prediction.vertices),
        texture=jax.lax.stop_gradient(prediction.texture),
        light=jax.lax.stop_gradient(prediction.light),
        background=jax.lax.stop_gradient(prediction.background),
    )
    seen = _seen(terms, still, _first_view(batch, probs.shape[1]), prediction.camera, inputs)
    values = {term: term.function(seen) for term, _ in terms}
    return {
        term.name: value if term.needs is CANDIDATES else (value.reshape(probs.shape) * probs).sum(1).mean()
        for term, value in values.items()
    }


def _first_view(batch: Batch, count: int) -> Batch:
    """The first view of every object, ``count`` times."""
    names = ("target_images", "target_masks", "keypoints_ndc")
    return replace(batch, **{name: jnp.repeat(getattr(batch, name)[:, :1], count, axis=1) for name in names})
