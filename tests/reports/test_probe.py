"""A learned part that could be fed with another picture at no cost is told."""

import pytest
from flax import nnx

from ast_jax.model import Model
from ast_jax.reports.probe import unread
from configs.quickstart import get_config

EVIDENCE = ("tokens", "summary", "maps", "gathered picture", "coverage")


def _model(**changes) -> Model:
    config = get_config("tiny,shape=transformer").model
    for key, value in changes.items():
        setattr(config.shape, key, value)
    return nnx.eval_shape(lambda: Model(config, rngs=nnx.Rngs(0)))


def _use(**low) -> dict:
    """Every evidence is read, but for those with another lower end of the interval."""
    low = {name: low.get(name.split()[0], 0.1) for name in EVIDENCE}
    return {name: {metric: {"low": low[name]} for metric in ("iou_3d", "psnr_overlap")} for name in EVIDENCE}


def test_a_model_that_reads_its_evidence_passes():
    assert unread(_model(), _use()) == []
    assert unread(_model(kind="mlp", synthesis="learned"), _use()) == []


# A trained model lost 0.001 with an interval that began at 0.0004, over 1,200 pictures.
@pytest.mark.parametrize("low", [0.0, 0.0004, -0.001, float("nan")])
def test_a_transformer_whose_tokens_can_be_swapped_at_no_cost_fails(low):
    assert unread(_model(), _use(tokens=low)) == ["Shape Transformer (tokens)"]


def test_what_a_model_does_not_have_is_not_blamed():
    use = _use(coverage=0.0, maps=0.0)
    texture = "Texture Transformer (maps)"
    assert unread(_model(), use) == [texture]
    assert unread(_model(kind="mlp", synthesis="fit"), use) == ["steps of synthesis (coverage)", texture]
    expected = ["steps of synthesis (coverage)", "learned steps of synthesis (maps)", texture]
    assert unread(_model(kind="mlp", synthesis="learned"), use) == expected
    assert unread(_model(kind="mlp"), _use(tokens=0.0)) == []
