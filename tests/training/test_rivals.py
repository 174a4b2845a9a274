"""Each rival of configs/baselines.py trains on pictures: every parameter that it has is moved by its own losses."""

import jax
import numpy as np
import pytest

from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.training.checks import check_config, check_data
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from configs.baselines import RIVALS, get_config


def _config(rival: str, data_root):
    """On the ellipsoids of these tests, which have two key points."""
    config = get_config(f"{rival},size=tiny")
    config.data.source, config.data.root = "prepared", str(data_root)
    config.model.num_keypoints = 2 if config.model.num_keypoints else 0
    config.optimizer.name = "adamw"
    config.render.blending = "hard"  # the quickest to compile; every rule has gradients for all that it draws
    return config


def _learned(state):
    """What training moves; of a table of cameras how far any of them went, in each of its six numbers."""
    cameras = () if state.multiplex is None else tuple(np.abs(state.multiplex.motion).max(axis=(0, 1)))
    return jax.device_get(state.params), cameras


@pytest.mark.parametrize("rival", RIVALS)
def test_every_parameter_moves(rival, data_root):
    config = _config(rival, data_root)
    layout = make_layout(config, jax.devices()[:1])
    check_config(config, layout)
    program, source = make_program(config, layout), DataSource(data_root, "train", config.data)
    check_data(source, config)
    batches = make_batches(source, config.data, batch_size=config.batch_size, seed=0)
    state = program.start(len(source))
    before = _learned(state)
    # Nothing moves in the first turn, in which the rate is 0, and in the second only what heads that start at zero let.
    # A field has two of them, one behind the other, and where phases take turns each of them needs its own.
    turns, told = (3 if len(program.phases) == 1 else 7), set()
    for turn in range(turns):
        stage, batch = program.stages[-1], jax.device_put(next(batches), layout.by_batch)
        state, metrics = program.step(stage, turn)(state, batch, program.values[stage.name])
        assert np.isfinite(metrics["loss"]) and not metrics["skipped"]
        told |= set(metrics)
    assert {f"loss/{name}" for name in config.stage[stage.name].losses} < told
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(_learned(state)))
    assert not [jax.tree_util.keystr(path) for (path, old), new in pairs if np.array_equal(old, new)]


def test_what_sets_them_apart(data_root):
    cmr, dibr, ucmr, unicorn, _ = (_config(rival, data_root) for rival in RIVALS)
    assert cmr.model.shape.symmetric and cmr.model.texture.kind == "flow" and not cmr.render.colour_moves_shape
    assert cmr.data.num_target_views == 1 and cmr.model.num_keypoints and cmr.model.camera.predict
    assert dibr.data.num_target_views == 2 and dibr.model.light == "harmonics" and not dibr.model.num_keypoints
    assert (dibr.render.blending, dibr.render.falloff) == ("hard", "exponential")
    assert ucmr.model.camera.kind == "multiplex" and not ucmr.model.num_keypoints and not ucmr.model.camera.predict
    used = {stage: (ucmr.stage[stage].cameras, ucmr.stage[stage].peakiness) for stage, _ in ucmr.stages}
    assert used == {"cameras": (0, 0.0), "multiplex": (0, 20.0), "joint": (4, 20.0), "camera": (4, 20.0)}
    assert ucmr.stage.cameras.trainable == ("multiplex",) and "texture" in ucmr.stage.multiplex.trainable
    full = {kind: get_config(f"ucmr,kind={kind}").model.camera for kind in ("bird", "car")}
    assert {kind: (c.azimuths, c.elevations) for kind, c in full.items()} == {"bird": (8, 5), "car": (8, 1)}
    assert unicorn.model.shape.kind == "field" and unicorn.model.camera.kind == "candidates"
    assert unicorn.render.compare == "picture"
    masks = {kind: get_config(f"unicorn,data=cub,masks={kind}") for kind in ("none", "given")}
    assert {c.render.blending for c in masks.values()} == {"layered"}
    assert [c.model.background.kind for c in masks.values()] == ["picture", "none"]
    assert [c.data.target_masked for c in masks.values()] == [False, True]
    assert [{"bce_iou", "iou", "mask_mse"} & set(c.stage.joint.losses) for c in masks.values()] == [set(), {"bce_iou"}]
    codes = [(stage.shape_code, stage.texture_code, stage.background_code) for stage in _stages(masks["none"])]
    assert codes == [(0, 2, 4), (0, 2, 4), (2, 8, 8), (8, 32, 32), (-1, -1, -1)]
    assert ["neighbour" in stage.losses for stage in _stages(masks["none"])] == [False, False, True, True, True]
    assert [stage.mean_texture for stage in _stages(masks["none"])] == [0.2, 0.2, 0.2, 0.2, 0.0]


def _stages(config):
    return [config.stage[name] for name, _ in config.stages]


def test_the_released_code_of_ast():
    config = get_config("ast_released,data=cub_ast")
    model, stages = config.model, _stages(config)
    assert (model.encoder.name, model.norm_order, model.shape.head) == ("unet", "post", "field")
    assert model.texture.kind == "map_transformer" and model.camera.kind == "candidates" and model.saliency
    assert not config.data.input_masked and config.data.image_size == 64 and not model.shape.mean_shape
    assert [(s.shape_code, s.texture_code) for s in stages] == [(0, 2), (0, 2), (2, 8), (8, 32), (32, 32)]
    assert [(s.scale, s.mean_texture) for s in stages] == [(False, 0.2), *[(True, 0.2)] * 2, *[(True, 0.0)] * 2]
    assert sum(steps for _, steps in config.stages) == 2400
    assert ["neighbour" in s.losses for s in stages] == [False, False, True, True, True]
    terms = set(config.stage.joint.losses)
    assert {"masked_perceptual", "intermediate_masked_perceptual", "saliency", "uniform_pose"} < terms
    assert "l1" not in terms
