import pytest

from ast_jax.config import base_config
from ast_jax.training.stages import make_stages, stage_at, total_steps


def _config(**changes):
    config = base_config()
    with config.unlocked():
        config.update(changes)
    return config


def test_stages_follow_each_other():
    stages = make_stages(_config(stages=(("shape", 3), ("joint", 2))))
    assert [stage_at(stages, step).name for step in range(5)] == ["shape"] * 3 + ["joint"] * 2
    assert total_steps(stages) == 5


def test_an_empty_stage_is_skipped():
    stages = make_stages(_config(stages=(("shape", 0), ("joint", 2))))
    assert stage_at(stages, 0).name == "joint"


def test_terms_of_weight_zero_are_not_computed():
    config = _config()
    config.stage.shape.losses.iou = 0.0
    assert "iou" not in dict(make_stages(config)[0].losses)


def test_wrong_stages_are_named():
    with pytest.raises(ValueError, match="did you mean .shape."):
        make_stages(_config(stages=(("shapes", 3),)))
    with pytest.raises(ValueError, match="0 or more"):
        make_stages(_config(stages=(("shape", -3),)))
    config = _config()
    config.stage.shape.trainable = ("encoder", "shpae")
    with pytest.raises(ValueError, match="shpae"):
        make_stages(config)
    with pytest.raises(ValueError, match="behind the last stage"):
        stage_at(make_stages(_config()), 10**9)


def test_the_coarse_stage_takes_no_steps_of_synthesis():
    config = _config(stages=(("coarse", 2), ("shape", 1), ("joint", 1)))
    assert [stage.synthesis for stage in make_stages(config)] == [False, True, True]


def test_losses_of_a_stage_are_its_own():
    config = base_config()
    config.stage.shape.losses.iou = 0.5
    assert config.stage.coarse.losses.iou == config.stage.joint.losses.iou == 1.0
