import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ast_jax.data.pipeline import make_batches
from ast_jax.process.ownership import is_owned
from ast_jax.reports.probe import probe
from ast_jax.training import loop, validation
from ast_jax.training.checkpoint import load_model
from ast_jax.training.loop import train
from ast_jax.training.monitoring.metrics import read_metrics
from ast_jax.training.program import make_program
from ast_jax.training.run_config import load_config
from ast_jax.training.sharding import make_layout
from ast_jax.training.workdir import owning_run
from tests.files.test_writing import full_disk
from tests.training.stopped import stopped_at_first_save


@pytest.fixture
def one():
    return dict(devices=jax.devices()[:1])


@pytest.fixture
def four_steps(config):
    """A config whose program several tests take: the second of them finds it in the cache."""
    config.stages, config.optimizer.ema_decay = (("shape", 4),), 0.9
    return config


def _losses(workdir) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(workdir)}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(config, one, tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    config.stages, config.model.texture.kind = (("shape", 4),), "none"
    assert train(config, straight, **one) == 4

    with stopped_at_first_save():
        train(config, stopped, **one)
    assert train(config, stopped, **one) == 4
    assert _losses(stopped) == pytest.approx(_losses(straight), rel=1e-5)

    with pytest.raises(ValueError, match="batch_size was 8, is 16"):
        changed = config.copy_and_resolve_references()
        changed.batch_size = 16
        train(changed, stopped, **one)


def test_a_run_leaves_files_to_open(four_steps, one, tmp_path, caplog):
    config = four_steps
    config.eval_every = 4
    with caplog.at_level(logging.INFO, logger="absl"):
        train(config, tmp_path, profile_steps="1:3", **one)
    said = [record.getMessage() for record in caplog.records]
    for words in ("shape step, shape: compiled in", "img/s", "4 training objects"):
        assert any(words in line for line in said), words
    model, loaded = load_model(tmp_path)
    assert loaded.to_json() == load_config(tmp_path).to_json() == config.to_json()
    image = np.zeros((1, 32, 32, 3), np.float32)
    assert np.isfinite(model(image).vertices).all()
    start = json.loads((tmp_path / "starts.jsonl").read_text())
    assert start["step"] == 0 and start["versions"]["jax"] == jax.__version__ and start["command"]
    assert "encoder" in (tmp_path / "parameters.md").read_text()
    assert (tmp_path / "figures" / "preview.png").is_file() and list((tmp_path / "profile").rglob("*.xplane.pb"))
    line = read_metrics(tmp_path)[-1]
    assert {"validation/loss/iou", "loss/iou", "images_per_second", "data_wait_share"} <= line.keys()
    use = json.loads(next(path for path in probe(tmp_path) if path.suffix == ".json").read_text())["use"]
    # Four steps teach the coarse shape, which reads the summary, to differ from picture to picture.
    assert set(use) == {"tokens", "summary", "maps", "gathered picture"}
    assert use["gathered picture"]["iou_3d"]["mean"] == 0.0 != use["gathered picture"]["psnr_overlap"]["mean"]


def test_the_best_on_the_validation_split_is_kept_beside_the_newest(four_steps, one, tmp_path, monkeypatch):
    config = four_steps
    scores = iter([0.5, 0.2, 0.4, 0.3])
    monkeypatch.setattr(loop.Validation, "__call__", lambda *_: {"validation/loss/iou": next(scores)})
    monkeypatch.setattr(loop.Monitor, "validated", lambda *_: None)
    config.eval_every, config.checkpoint_every, config.keep_checkpoints = 1, 1, 1
    train(config, tmp_path, **one)
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [2, 4]
    best = tmp_path / "checkpoints" / "best"
    best, newest = (jax.tree.leaves(_params(load_model(path)[0])) for path in (best, tmp_path))
    assert any(not np.array_equal(a, b) for a, b in zip(best, newest))
    with pytest.raises(ValueError, match="no such checkpoint; there are 2, 4, and best"):
        load_model(tmp_path / "checkpoints" / "3")


def _params(model):
    from flax import nnx

    return nnx.to_pure_dict(nnx.state(model))


def test_the_validation_split_is_measured_from_starts_that_are_right(config, data_root, monkeypatch):
    config.eval_every, config.stage.shape.wrong_starts = 1, 0.5
    program = make_program(config, make_layout(config, jax.devices()[:1]))
    stage, told = program.stages[0], []

    def make_loss(*args, **options):
        def loss(params, batch, step, values):
            told.append(values.wrong_starts)
            return 0.0, ({"loss": jnp.zeros(())}, None)

        return loss

    monkeypatch.setattr(validation, "make_loss", make_loss)
    settings = dict(layout=program.layout, shardings=program.shardings)
    validated = validation.Validation(program.graphdef, config, data_root, **settings)
    assert validated(program.first_state, stage, program.values[stage.name]) == {"validation/loss": 0.0}
    assert told == [None] and program.values[stage.name].wrong_starts == 0.5


def test_samples_that_are_not_finite_are_skipped_and_three_stop_the_run(four_steps, one, tmp_path, monkeypatch):
    """A NaN in one batch costs that step alone; in all, the run stops, names the samples and keeps its state."""
    config = four_steps
    config.checkpoint_every = 100
    broken: set[int] = set()

    def batches(*args, **options):
        for number, batch in enumerate(make_batches(*args, **options)):
            if number in broken:
                batch.target_masks[:] = np.nan
            yield batch

    monkeypatch.setattr(loop, "make_batches", batches)
    broken.add(1)
    assert train(config, tmp_path / "one", **one) == 4
    lines = read_metrics(tmp_path / "one")
    assert [line["skipped"] for line in lines] == [0, 1, 0, 0] and lines[-1]["skipped_steps"] == 1
    assert all(np.isfinite(lines[i]["loss"]) for i in (0, 2, 3))

    broken.update((2, 3))
    named = r"\d+ \(ellipsoid-\d\)"
    with pytest.raises(RuntimeError, match=rf"3 steps in a row.*step 1: {named}(, {named}){{7}}; step 2: .*step 3: "):
        train(config, tmp_path / "three", **one)
    model, _ = load_model(tmp_path / "three")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(_params(model)))


def test_weights_of_another_run_are_taken_where_they_fit(four_steps, one, tmp_path, caplog):
    config = four_steps
    train(config, tmp_path / "first", **one)
    config.init_from = str(tmp_path / "first")
    config.model.texture.texels = 3  # other shapes in the texture branch alone
    config.optimizer.learning_rate = 0.0  # what was taken stays as it is
    with caplog.at_level(logging.INFO, logger="absl"):
        train(config, tmp_path / "second", **one)
    said = [record.getMessage() for record in caplog.records]
    assert any("arrays taken" in line for line in said)
    assert any("stays as initialised: texture.mean" in line for line in said)
    first, second = (_params(load_model(tmp_path / name)[0]) for name in ("first", "second"))
    jax.tree.map(np.testing.assert_array_equal, first["shape"], second["shape"])


def test_what_is_missing_is_said(config, one, tmp_path):
    with pytest.raises(ValueError, match="not a training run"):
        load_model(tmp_path / "nowhere")
    config.data.root = str(tmp_path / "nothing")
    with pytest.raises(ValueError, match="prepare_data"):
        train(config, tmp_path / "run", **one)
    config.batch_size = 6
    config.accumulate_steps = 4
    with pytest.raises(ValueError, match="batch_size=6.*accumulate_steps=4"):
        train(config, tmp_path / "run", **one)
    config.precision.compute = "float16"
    with pytest.raises(ValueError, match="float32, bfloat16"):
        train(config, tmp_path / "run", **one)


def test_a_full_disk_at_any_moment_costs_nothing(config, one, tmp_path):
    """The file that is in the way is that of the owner, the config, the weights; then there is room again."""
    config.stages, config.model.texture.kind, config.checkpoint_every = (("shape", 2),), "none", 1
    config.stage.shape.losses = {"iou": 1.0}
    assert train(config, tmp_path / "straight", **one) == 2
    for largest_file in (100, 2_000, 20_000):
        with full_disk(largest_file), pytest.raises((OSError, RuntimeError)):
            train(config, tmp_path / "full", **one)
        assert not list((tmp_path / "full").rglob("*.partial")) and not is_owned(tmp_path / "full")
    assert train(config, tmp_path / "full", **one) == 2
    assert _losses(tmp_path / "full") == pytest.approx(_losses(tmp_path / "straight"), rel=1e-5)


def test_a_config_that_was_cut_short_says_what_to_do(config, one, tmp_path):
    for text in ("", '{"seed": ', "[1]", "null"):
        (tmp_path / "config.json").write_text(text)
        for read in (lambda: train(config, tmp_path, **one), lambda: load_config(tmp_path)):
            with pytest.raises(ValueError, match="config.json: empty or not whole .*Remove it and run the command"):
                read()


def test_a_run_that_lost_its_folder_writes_nothing_more(config, one, tmp_path, monkeypatch):
    config.stages, config.model.texture.kind = (("shape", 2),), "none"
    config.stage.shape.losses = {"iou": 1.0}
    monkeypatch.setattr(loop.Monitor, "finish", lambda self: (tmp_path / "owner.json").unlink())
    with pytest.raises(RuntimeError, match="was taken over by somebody"):
        train(config, tmp_path, **one)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_line_that_a_crash_cut_is_gone_once_a_run_begins(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    with owning_run(tmp_path):
        assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'
